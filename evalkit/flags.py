"""The flags of `evalkit evaluate` and `evalkit compare`, and how they override the settings of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.config import Config
    from evalkit.console import Format


def evaluate_job(
    file: str | None,
    data: Sequence[str],
    flags: Mapping[str, Any],
    *,
    overwrite: bool,
    form: Format,
    quiet: bool,
    resume: bool = False,
    explain: bool = False,
) -> None:
    """Evaluates what the flags and the settings' file ask for; what stands after `--` are options of the engine."""
    from evalkit import job

    first = next((place for place, word in enumerate(data) if word.startswith("--")), len(data))
    config = settings(None if file is None else Path(file), data[:first], flags, quiet=quiet)
    if explain:
        job.explain(config, quiet=quiet, options=data[first:])
    else:
        job.run(config, overwrite=overwrite, form=form, quiet=quiet, resume=resume, options=data[first:])


def compare_job(
    file: str | None,
    data: Sequence[str],
    flags: Mapping[str, Any],
    compared: Mapping[str, Any],
    *,
    overwrite: bool,
    form: Format,
    quiet: bool,
) -> None:
    """Compares what the flags and the settings' file ask for."""
    from evalkit import compare_job as job
    from evalkit.config import Compare

    if len(data) == 1 and job.is_results(data[0]):
        _refuse_flags_of_rows(flags)
    config = settings(None if file is None else Path(file), data, flags, quiet=quiet)
    given = {name: value for name, value in compared.items() if value is not None and value != []}
    if given.get("margin", 0) < 0:
        from evalkit.errors import ConfigError

        raise ConfigError(f"--margin is at least 0, not {given['margin']:g}.")
    asked = (config.compare or Compare()).model_copy(update=given)
    job.run(config.model_copy(update={"compare": asked}), overwrite=overwrite, form=form, quiet=quiet)


def fairness_job(
    file: str | None,
    data: Sequence[str],
    flags: Mapping[str, Any],
    asked: Mapping[str, Any],
    *,
    overwrite: bool,
    form: Format,
    quiet: bool,
) -> None:
    """Assesses fairness as the flags and the settings' file ask for."""
    from evalkit import fairness_job as job

    config = settings(None if file is None else Path(file), data, flags, quiet=quiet)
    config = config.model_copy(update={"fairness": job.from_flags(asked, config.fairness)})
    job.run(config, overwrite=overwrite, form=form, quiet=quiet)


_OF_WRITING = ("cache", "out", "report")


def _refuse_flags_of_rows(flags: Mapping[str, Any]) -> None:
    """Raises ConfigError for flags that results, which were evaluated before, cannot follow."""
    from evalkit.errors import ConfigError, listing

    words = {"metrics": "metric", "slices": "slice"}
    asked = [name for name, value in flags.items() if value not in (None, []) and name not in _OF_WRITING]
    if asked:
        flagged = listing(f"--{words.get(name, name).replace('_', '-')}" for name in asked)
        raise ConfigError(f"Results are compared as they were evaluated: leave out {flagged}, or name the data.")


def settings(file: Path | None, data: Sequence[str], flags: Mapping[str, Any], *, quiet: bool) -> Config:
    """Returns the settings of a file, if there is one, with those of the flags in their place.

    Without a file and without data, `evalkit.yaml` is read where it exists.

    Args:
        file: the settings' file.
        data: files or globs to evaluate.
        flags: by name, None or empty where not given.
        quiet: whether it is left unsaid that a file was found.

    Raises:
        ConfigError: the file or a combination of flags is wrong.
    """
    from evalkit.config import DEFAULT_FILE, Config, load
    from evalkit.console import say

    if file is None and not data and Path(DEFAULT_FILE).exists():
        file = Path(DEFAULT_FILE)
        say(f"Settings from {file}", quiet=quiet)
    config = Config() if file is None else load(file)
    given = {name: value for name, value in flags.items() if value is not None and value != []}
    if data:
        given["data"] = list(data)
    if "labels" in given:
        given |= {"labels": named_columns(given["labels"], "--labels"), "label": None}
    elif "label" in given:
        given["labels"] = None
    if given.get("workers", 1) < 1:
        from evalkit.errors import ConfigError

        raise ConfigError(f"--workers is at least 1, not {given['workers']}.")
    return config.model_copy(update=_bootstrap(_models(given, config), config))


def named_columns(written: Sequence[str], flag: str, form: str = "NAME=COLUMN, such as need=ill") -> dict[str, str]:
    """Returns what stands after the equals sign by what stands before it.

    >>> named_columns(["cost=dear", "need=ill"], "--labels")
    {'cost': 'dear', 'need': 'ill'}
    """
    from evalkit.errors import ConfigError

    found: dict[str, str] = {}
    for item in written:
        name, equals, column = item.partition("=")
        if not (name and equals and column):
            raise ConfigError(f'{flag} takes {form}, not "{item}".')
        found[name] = column
    return found


def _models(given: dict[str, Any], config: Config) -> dict[str, Any]:
    """Turns repeated scores or predictions into models; any of them replaces all of the file's."""
    from evalkit.config import Model
    from evalkit.errors import ConfigError

    scores, predictions, names = (given.pop(flag, []) for flag in ("score", "prediction", "name"))
    if not scores and not predictions:
        if names and (len(names) > 1 or config.models):
            raise ConfigError("--name names the models that --score or --prediction give.")
        return {**given, **({"name": names[0]} if names else {})}
    if len(scores) + len(predictions) > 2 and scores and predictions:
        raise ConfigError("Several models with scores and predictions: list them under models: in evalkit.yaml.")
    several = len(scores) > 1 or len(predictions) > 1
    count = max(len(scores), len(predictions))
    if names and len(names) != count:
        raise ConfigError(f"--name is given {len(names)} times for {count} models; name all or none.")
    if not several:
        alone = {"score": scores[0] if scores else None, "prediction": predictions[0] if predictions else None}
        return {**given, **alone, "name": names[0] if names else None, "models": None}
    role, columns = ("score", scores) if scores else ("prediction", predictions)
    titles = names or [None] * count
    models = [Model(name=title, **{role: column}) for title, column in zip(titles, columns, strict=True)]
    return {**given, "models": models, "score": None, "prediction": None, "name": None}


def _bootstrap(given: dict[str, Any], config: Config) -> dict[str, Any]:
    from evalkit.config import Bootstrap, Intervals
    from evalkit.errors import ConfigError

    n, seed = given.pop("bootstrap", None), given.pop("seed", None)
    if n is None and seed is None:
        return given
    before = config.intervals.bootstrap if isinstance(config.intervals, Intervals) else None
    if n is None and before is None:
        raise ConfigError("--seed is for a bootstrap: add --bootstrap N.")
    draws = (before or Bootstrap()).model_copy(update={k: v for k, v in (("n", n), ("seed", seed)) if v is not None})
    return {**given, "intervals": Intervals(bootstrap=draws)}
