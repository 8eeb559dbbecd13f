"""What `evalkit gate` does: a verdict printed, written, and returned as an exit code."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from evalkit.compare_job import is_results
from evalkit.config import Compare, Config, load
from evalkit.console import Format, Steps, out, progress, say
from evalkit.errors import ConfigError, OutputError, listing
from evalkit.exit_codes import hush
from evalkit.job import evaluated, one_or_many, require_free, require_report, tell_written
from evalkit.money import COST_METRICS

if TYPE_CHECKING:
    from evalkit.comparison import Comparison
    from evalkit.gates.verdict import Verdict
    from evalkit.results import Result

_STEPS = 14
RULES_FILES = ("gate.yaml", "evalkit.yaml")


@dataclass(frozen=True)
class Asked:
    """What the command line says of a gate.

    Attributes:
        config: the file of settings and rules; None: gate.yaml or evalkit.yaml, whichever is there.
        data: the folder of a result, or files to evaluate; by default those of the settings.
        baseline: a model, column, folder, prior or majority; None: that of the settings or of the results.
        candidate: a model; None likewise.
        ledger: the file that counts gates; `off` for none; None: in the user's cache folder.
        out: the folder of the verdict.
        report: whether it holds report.html; None: where its extra is installed.
        overwrite: whether that folder is replaced.
        check: whether only the settings are checked.
    """

    config: str | None = None
    data: Sequence[str] = ()
    baseline: str | None = None
    candidate: str | None = None
    ledger: str | None = None
    out: str | None = None
    report: bool | None = None
    overwrite: bool = False
    check: bool = False


def run(asked: Asked, *, form: Format, quiet: bool) -> int:
    """Decides, prints and writes a verdict and returns its exit code: 0 passed, 1 blocked, 3 insufficient evidence.

    Raises:
        UsageError: settings, rules, data or folder are wrong.
    """
    if asked.check:
        return _check(asked, quiet=quiet)
    file, config = _settings(asked)
    folder = asked.out or config.out
    if folder is not None:
        _require_other(Path(folder), config)
        require_free(Path(folder), overwrite=asked.overwrite)
        require_report(asked.report)
    if not config.cache:
        os.environ["EVALKIT_CACHE"] = "off"
    with progress(_STEPS, quiet=quiet) as said:
        step = _Unheard(said)
        result, comparison, candidate = _models(asked, config, step)
        step("deciding")
        verdict = decided(file, result, comparison, candidate, asked.ledger)
        if folder is not None:
            from evalkit.storage import save_verdict

            step(f"writing {folder}")
            save_verdict(
                verdict,
                folder,
                result=result,
                comparison=comparison,
                overwrite=asked.overwrite,
                report=asked.report if asked.report is not None else config.report,
            )
    try:
        show(verdict, form)
        sys.stdout.flush()
    except BrokenPipeError:  # a reader that is gone is no pass
        hush(sys.stdout)
    if folder is not None:
        tell = functools.partial(tell_written, report=asked.report, quiet=quiet)
        _though_nobody_reads(tell)(Path(folder))
    return verdict.exit_code


_Said = TypeVar("_Said")


def _though_nobody_reads(tell: Callable[[_Said], object]) -> Callable[[_Said], None]:
    """Returns what tells of a step, and goes on where the reader of stderr is gone: that must not look like a pass."""

    def told(what: _Said) -> None:
        try:
            tell(what)
        except BrokenPipeError:
            hush(sys.stderr)

    return told


class _Unheard(Steps):
    """Steps that go on where nobody reads what is said of them."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def __call__(self, step: str) -> None:
        _though_nobody_reads(self._steps)(step)

    def detail(self, text: str) -> None:
        """Says how far the step is."""
        _though_nobody_reads(self._steps.detail)(text)


def _require_other(folder: Path, config: Config) -> None:
    """Raises where the verdict would replace the results that it judges."""
    read = [one_or_many(config), None if config.compare is None else config.compare.baseline]
    folders = [Path(each) for each in read if isinstance(each, str) and Path(each).is_dir()]
    if folder.exists() and any(each.samefile(folder) for each in folders):
        raise OutputError(f"{folder} holds the results that are judged; name another folder with --out.")


def _check(asked: Asked, *, quiet: bool) -> int:
    """Reads settings without deciding anything; every file that is named, or else the one that would be used."""
    named = [*([asked.config] if asked.config else []), *asked.data]
    for file in map(Path, named or [str(rules_file(None))]):
        rules = load(file).gate
        told = "no rules" if rules is None else f"{len(rules.rules)} rules, all of them possible"
        say(f"{file}: {told}.", quiet=quiet)
    return 0


def show(verdict: Verdict, form: Format) -> None:
    """Prints a verdict, and tells GitHub Actions of it where it runs there."""
    from evalkit.gates import text, verdict_json, write

    if form is Format.json:
        out(verdict_json.of(verdict).rstrip("\n"))
    else:
        text.show(verdict)
    for line in write.to_github(verdict):
        out(line)


def decided(
    file: Path, result: Result, comparison: Comparison | None, candidate: str | None, ledger: str | None
) -> Verdict:
    """Returns the verdict of the rules in a file, counted in the ledger unless that is off."""
    from evalkit.gate import counted, gate
    from evalkit.gates.ledger import default_file

    verdict = gate(result if comparison is None else comparison, file, candidate=candidate)
    place = default_file() if ledger is None else None if ledger == "off" else Path(ledger)
    return verdict if place is None else counted(verdict, place)


def rules_file(named: str | None) -> Path:
    """Returns the file that holds the rules: the one named, else gate.yaml or evalkit.yaml.

    Raises:
        ConfigError: none is named and none is there.
    """
    found = [Path(name) for name in RULES_FILES if Path(name).exists()]
    if named is None and not found:
        raise ConfigError(f"Name the rules: --config FILE. There is no {listing(RULES_FILES)} here.")
    return found[0] if named is None else Path(named)


def _settings(asked: Asked) -> tuple[Path, Config]:
    """Returns the file that holds the rules, and its settings."""
    file = rules_file(asked.config)
    config = load(file)
    if config.gate is None:
        raise ConfigError(f"{file}: no rules here; write `gate:` and under it `rules:`.")
    if asked.data:
        config = config.model_copy(update={"data": list(asked.data)})
    before = config.compare or Compare()
    named: dict[str, Any] = {"baseline": asked.baseline or before.baseline}
    if asked.candidate:
        named["candidates"] = [asked.candidate]
    return file, config.model_copy(update={"compare": before.model_copy(update=named)})


def _models(asked: Asked, config: Config, step: Steps) -> tuple[Result, Comparison | None, str | None]:
    """Returns the models' results, the comparison with a baseline where there is one, and the candidate's name."""
    data = one_or_many(config)
    if data is None:
        raise ConfigError("Name the folder of a result, or data: in the settings.")
    if isinstance(data, str) and (Path(data) / "verdict.json").exists() and not is_results(data):
        raise ConfigError(f"{data} holds a verdict, not results: name the folder of an evaluation or a comparison.")
    if is_results(data):
        return _of_results(data, config, step)
    if config.compare is not None and config.compare.baseline is not None:
        from evalkit.compare_job import compared

        baseline = config.compare.baseline
        several = [] if config.models is None else [m.title for m in config.evaluated() if m.title != baseline]
        _require_one(config.compare.candidates or several)
        comparison = compared(_with_metrics(config), step)
        return comparison.result, comparison, asked.candidate
    models = config.evaluated()
    if asked.candidate:
        models = [m for m in models if m.title == asked.candidate]
    if len(models) != 1:
        raise ConfigError("Name the candidate: --candidate MODEL.")
    return evaluated(_with_metrics(config), models, step), None, None


def _with_metrics(config: Config) -> Config:
    """Adds the metrics that rules are on to those that are evaluated, where these are named."""
    if config.metrics is None or config.gate is None:
        return config
    costs = () if config.costs is None else COST_METRICS
    asked = [name for name in config.gate.metrics if name not in costs]
    return config.model_copy(update={"metrics": list(dict.fromkeys([*config.metrics, *asked]))})


def _of_results(folder: str, config: Config, step: Steps) -> tuple[Result, Comparison | None, str | None]:
    from evalkit.compare import compare
    from evalkit.results import load as load_result

    step(f"reading {folder}")
    result = load_result(folder, rows=True)
    named = config.compare or Compare()
    before = _compared_before(Path(folder))
    baseline = named.baseline or before.get("baseline")
    candidates = named.candidates or before.get("candidates")
    if baseline is None:
        if len(result.models) > 1 and not candidates:
            raise ConfigError(f"{folder} holds several models: name the --candidate, and its --baseline.")
        return result if not candidates else result.of(candidates[0]), None, candidates[0] if candidates else None
    _require_one(candidates or [name for name in result.models if name != baseline])
    comparison = compare(result, baseline=baseline, candidate=candidates)
    return comparison.result, comparison, candidates[0] if candidates else None


def _require_one(candidates: Sequence[str]) -> None:
    if len(candidates) > 1:
        raise ConfigError(f"Name the candidate with --candidate: {listing(candidates)}.")


def _compared_before(folder: Path) -> dict[str, Any]:
    """Returns what a folder of results says of the comparison it holds; empty where it holds none."""
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(run.get("comparison") or {})
