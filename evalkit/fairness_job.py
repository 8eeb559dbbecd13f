"""What `evalkit fairness` does: groups of people compared, printed and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.config import Config, Fairness
from evalkit.console import Format, out, progress, say, table
from evalkit.errors import ConfigError
from evalkit.job import after, data_of, engine_of, prepare, settings, tell_written

if TYPE_CHECKING:
    from evalkit.comparison import Comparison
    from evalkit.fairness.assessment import Assessment
    from evalkit.results import Result

_STEPS = 6
_MOST_GROUPS = 30


def run(config: Config, *, overwrite: bool, form: Format, quiet: bool) -> None:
    """Assesses the fairness of every model of the settings, writes and prints what is known.

    Raises:
        UsageError: settings, data or folder are wrong.
    """
    _check(config)
    folder = prepare(config, overwrite=overwrite)
    asked = config.fairness or Fairness()
    with progress(_STEPS * len(config.evaluated()), quiet=quiet) as step:
        comparison, told = None, ""
        if asked.mitigate is None:
            assessment = assessed(config, step)
        else:
            assessment, comparison, told = _mitigated(config, asked, step)
        step("comparing groups")
        shown = view(assessment, form, comparison)
        if folder is not None:
            step(f"writing {folder}")
            _written(assessment, comparison, folder, overwrite=overwrite, report=config.report)
    if told:
        say(told, quiet=quiet)
    shown()
    if folder is not None:
        tell_written(folder, report=config.report, quiet=quiet)


def _check(config: Config) -> None:
    asked = config.fairness or Fairness()
    if config.data is None:
        raise ConfigError(
            "Name the data: `evalkit fairness data.parquet --label y --score p --protected sex`, or data: in "
            "evalkit.yaml."
        )
    if not asked.protected and not asked.membership:
        raise ConfigError(
            "Name the protected attributes: --protected COLUMN, or protected: under fairness: in evalkit.yaml."
        )
    if config.label is None and config.labels is None:
        raise ConfigError("Name the column of labels: --label COLUMN, or label: in evalkit.yaml.")
    if any(model.score is None and model.prediction is None for model in config.evaluated()):
        raise ConfigError("Name the column of scores (--score COLUMN) or of predictions (--prediction COLUMN).")


def assessed(config: Config, step: Callable[[str], None]) -> Assessment:
    """Returns the assessment that settings ask for, of all models together."""
    from evalkit.fairness.assessment import assess, assess_result

    asked = config.fairness or Fairness()
    shared = settings(config)
    slices = shared.pop("slices")
    label = {"label": shared.pop("label")} if config.labels is None else {"labels": config.labels}
    options = _options(asked, shared.pop("level"))
    shared.pop("label", None), shared.pop("min_rows"), shared.pop("metrics")
    result: Result | None = None
    made: Assessment | None = None
    for model in config.evaluated():
        made = assess(
            data_of(config),
            **label,
            score=model.score,
            prediction=model.prediction,
            name=model.title,
            membership=asked.membership,
            metrics=asked.metrics or config.metrics,
            slices=slices,
            engine=engine_of(config),
            progress=after(step, f" {model.title}"),
            protected=asked.protected,
            **options,
            **shared,
        )
        result = made.result if result is None else result | made.result
    if made is None or result is None:
        raise ConfigError("models is empty.")
    if len(result.evaluations) == len(made.result.evaluations):
        return made
    protected = [*asked.protected, *(asked.membership or {})]
    return assess_result(result, protected=protected, **{**options, "pool_below": 0})


def _options(asked: Fairness, level: float) -> dict[str, Any]:
    """Returns the settings that every assessment takes."""
    names = {"reference", "control", "within", "min_rows", "pool_below", "rates", "permutations", "seed", "criteria"}
    return {**{name: getattr(asked, name) for name in names}, "level": level}


def _mitigated(config: Config, asked: Fairness, step: Callable[[str], None]) -> tuple[Assessment, Comparison, str]:
    """Returns a mitigated model of fairlearn beside the original, both judged on rows that neither was fitted to."""
    from evalkit.fairness.assessment import DEFAULT_METRICS, assess_result
    from evalkit.fairness.families import slice_sets
    from evalkit.fairness.thresholds.mitigate import mitigated

    models = config.evaluated()
    if len(models) > 1 or models[0].score is None or config.label is None or config.weight is not None:
        raise ConfigError("--mitigate takes one model's --score and one --label, and no weights.")
    if asked.mitigate is None or not asked.protected:
        raise ConfigError("--mitigate needs --protected, the attribute whose groups are equalized.")
    if asked.control or asked.membership:
        raise ConfigError("--mitigate equalizes all rows: leave out control and membership.")
    step("mitigating")
    found = mitigated(
        data_of(config),
        label=config.label,
        protected=[asked.protected[0]],
        score=models[0].score,
        constraint=asked.mitigate,
        unit=config.unit,
        id=config.id,
        positive=config.positive,
        drop_invalid=config.drop_invalid,
        seed=asked.seed,
    )
    step("evaluating both")
    names = list(asked.metrics or config.metrics or DEFAULT_METRICS["decisions"])
    comparison = found.compare(metrics=names, slices=slice_sets(asked.protected), level=config.level)
    assessment = assess_result(comparison.result, protected=asked.protected, **_options(asked, config.level))
    told = (
        f"Mitigated by fairlearn's {found.method} under {found.constraint} across {found.protected}: fitted to "
        f"{found.fitted_rows:,} rows, judged on the other {found.rows.height:,}."
    )
    return assessment, comparison, told


def view(assessment: Assessment, form: Format, comparison: Comparison | None = None) -> Callable[[], None]:
    """Computes what is shown of an assessment and returns what prints it; first what a mitigation changes."""
    from evalkit.compare_view import view as of_comparison
    from evalkit.fairness import sentences

    if form is Format.json:
        text = assessment.to_json()
        return lambda: out(text)
    several = len(assessment.result.models) > 1
    gaps = assessment.gaps.to_dicts()
    groups = _groups(assessment, several)
    too_few = sentences.too_few(assessment.gaps)
    changed = None if comparison is None else of_comparison(comparison, form)

    def show() -> None:
        if changed is not None:
            changed()
            out("")
        table(_headers(several), [_line(row, several) for row in gaps])
        groups()
        if too_few:
            out(f"\n{too_few}")

    return show


def _groups(assessment: Assessment, several: bool) -> Callable[[], None]:
    """Returns what prints the groups that are shown to differ from their reference."""
    import polars as pl

    from evalkit.show import interval, number

    alpha = 1 - assessment.asked.level
    words = f"from their reference (p < {alpha:.2g}, adjusted for its attribute's groups)"
    shown = assessment.groups.filter(pl.col("p_adjusted").is_not_nan() & (pl.col("p_adjusted") < alpha))
    rows = shown.sort("p_adjusted", maintain_order=True).to_dicts()
    lines = [
        [
            *([row["model"]] if several else []),
            row["slice"],
            row["metric"],
            number(row["candidate"]),
            f"{number(row['baseline'])} {row['reference']}",
            f"{row['delta']:+.4f} {interval(row['delta_low'], row['delta_high'])}",
            number(row["p_adjusted"]),
        ]
        for row in rows[:_MOST_GROUPS]
    ]
    more = len(rows) - len(lines)

    def show() -> None:
        if not lines:
            out(f"\nNo groups are shown to differ {words}.")
            return
        out(f"\nGroups shown to differ {words}:")
        table([*(["model"] if several else []), "group", "metric", "value", "reference", "difference", "p"], lines)
        if more:
            out(f"... {more:,} more")

    return show


def _headers(several: bool) -> list[str]:
    return [*(["model"] if several else []), "across", "metric", "lowest", "highest", "gap", "q", "finding"]


def _line(row: Mapping[str, Any], several: bool) -> list[str]:
    from evalkit.show import interval, number

    across = row["across"] if row["slice"] == "overall" else f"{row['across']} within {row['slice']}"
    ends = [f"{number(row[f'{end}_value'])} {row[end]}".strip() if row[end] else "" for end in ("lowest", "highest")]
    gap = f"{number(row['value'])} {interval(row['low'], row['high'])}" if row["status"] == "ok" else ""
    q = number(row["q_value"]) if row["status"] == "ok" else ""
    return [*([row["model"]] if several else []), across, row["metric"], *ends, gap, q, row["finding"]]


def _written(
    assessment: Assessment, comparison: Comparison | None, folder: Path, *, overwrite: bool, report: bool | None
) -> None:
    from evalkit.storage import save

    save(
        assessment.result,
        folder,
        overwrite=overwrite,
        report=report,
        extra={"command": "fairness"},
        comparison=comparison,
        assessment=assessment,
    )


def from_flags(flags: Mapping[str, Any], of_file: Fairness | None) -> Fairness:
    """Returns the settings of fairness with those of flags in their place.

    Args:
        flags: `protected`, `reference`, `control`, `membership`, `metrics`, `within`, `min_rows`, `pool_below`, as
            written; None or empty where not given.
        of_file: the settings of a file.

    Raises:
        ConfigError: a flag cannot be read.
    """
    given = {name: value for name, value in flags.items() if value is not None and value != []}
    for name, read in (("reference", _reference), ("membership", _membership), ("within", _within)):
        if name in given:
            given[name] = read(given[name])
    for name in ("min_rows", "pool_below", "permutations", "seed"):
        if given.get(name, 0) < 0:
            raise ConfigError(f"--{name.replace('_', '-')} is at least 0, not {given[name]}.")
    return (of_file or Fairness()).model_copy(update=given)


def _reference(written: Sequence[str]) -> str | dict[str, str]:
    """Reads `largest`, or `race=white` for each attribute.

    >>> _reference(["best"]), _reference(["race=white", "sex=male"])
    ('best', {'race': 'white', 'sex': 'male'})
    """
    from evalkit.errors import listing, nearest
    from evalkit.fairness.disparities import REFERENCES
    from evalkit.flags import named_columns

    if any("=" in item for item in written):
        return named_columns(written, "--reference", "ATTRIBUTE=GROUP, such as race=white")
    if len(written) > 1 or written[0] not in REFERENCES:
        hint = nearest(written[0], REFERENCES)
        raise ConfigError(f'--reference is one of {listing(REFERENCES)}, or ATTRIBUTE=GROUP, not "{written[0]}".{hint}')
    return written[0]


def _membership(written: Sequence[str]) -> dict[str, dict[str, str]]:
    """Reads `race=white:p_white,black:p_black`.

    >>> _membership(["race=white:p_white,black:p_black"])
    {'race': {'white': 'p_white', 'black': 'p_black'}}
    """
    found: dict[str, dict[str, str]] = {}
    for item in written:
        attribute, _, groups = item.partition("=")
        pairs = [pair.partition(":") for pair in groups.split(",")]
        if not attribute or not all(group and column for group, _, column in pairs):
            raise ConfigError(f'--membership takes ATTRIBUTE=GROUP:COLUMN,GROUP:COLUMN, not "{item}".')
        found[attribute] = {group: column for group, _, column in pairs}
    return found


def _within(written: Sequence[str]) -> float | dict[str, float]:
    """Reads a number, or one for each metric.

    >>> _within(["0.05"]), _within(["recall=0.05", "roc_auc=.1"])
    (0.05, {'recall': 0.05, 'roc_auc': 0.1})
    """
    limits: dict[str, float] = {}
    for item in written:
        name, _, number = item.rpartition("=")
        try:
            limits[name] = float(number)
        except ValueError:
            limits[name] = -1.0
        if not 0 < limits[name] < float("inf"):
            raise ConfigError(f'--within takes a number above 0, or METRIC=NUMBER, not "{item}".')
    if "" in limits and len(limits) > 1:
        raise ConfigError("--within takes one number for every metric, or METRIC=NUMBER for each, not both.")
    return limits.get("", limits)
