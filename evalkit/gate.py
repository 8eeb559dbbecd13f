"""May it ship? Rules on values and on differences to a baseline, decided with their uncertainty.

>>> import evalkit as ek
>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> y = rng.integers(0, 2, 500)
>>> old, new = rng.normal(size=500) + y, rng.normal(size=500) + 2 * y
>>> comparison = ek.compare({"y": y, "old": old, "new": new}, label="y", baseline="old", candidate="new",
...                         metrics=["roc_auc"])
>>> verdict = ek.gate(comparison, [{"metric": "roc_auc", "delta": 0}])
>>> verdict.outcome, verdict.exit_code
('pass', 0)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from evalkit.comparison import Comparison
from evalkit.config_errors import sentence
from evalkit.errors import ConfigError, UsageError, listing, nearest
from evalkit.gates import ledger as gates_ledger
from evalkit.gates.decide import Asked, decided
from evalkit.gates.questions import NO_BASELINE, Run, meant, of_rule
from evalkit.gates.rules import RULE_SETTINGS, Bounds, Disparity, GateSettings, RuleError, WaiverSettings, check
from evalkit.gates.verdict import Outcome, RuleOutcome, Verdict, Waiver
from evalkit.pairing import Pair, pair, same_outputs
from evalkit.results import Evaluation, Result, load
from evalkit.yaml_lines import Place, line_of, read

Rules = str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]] | GateSettings


def gate(
    result: Result | Comparison | str | Path,
    rules: Rules,
    *,
    baseline: str | Result | Path | None = None,
    candidate: str | None = None,
    waivers: Sequence[Mapping[str, Any]] = (),
    ledger: str | Path | None = None,
) -> Verdict:
    """Decides whether a candidate may ship.

    Args:
        result: a comparison, a result, or the folder of one.
        rules: a YAML file with `gate:` or `rules:`, or the same as a mapping or list; see docs/gate.md.
        baseline: of a result: the name of a model in it, or another result or folder; None: a comparison's baseline,
            else none.
        candidate: the model's name; needed where there are several.
        waivers: further overrides: mappings with rule, who, why and until.
        ledger: a file that counts the gates these data have decided, to which this one is added; None: not counted.

    Raises:
        ConfigError: a rule cannot hold, or an override has expired.
        UsageError: the candidate or the baseline is not there.
    """
    settings, lines, file = loaded(rules)
    more = [_validated(WaiverSettings, dict(waiver), {}, "waivers") for waiver in waivers]
    settings = settings.model_copy(update={"waivers": [*settings.waivers, *more]})
    of, lined_up = _chosen(result, baseline, candidate)
    checked(settings, of, lines, file)
    names = [meant(name, of) for name in settings.metrics]
    run = Run(of, lined_up, tuple(dict.fromkeys(name for name in names if name is not None)))
    found = _with_lines(outcomes(settings, run), lines)
    overrides = {w.rule: Waiver(w.rule, w.who, w.why, w.until) for w in settings.waivers}
    verdict = Verdict(
        candidate=of.model,
        baseline=None if lined_up is None else lined_up.baseline.model,
        rules=tuple(replace(o, waiver=overrides.get(o.name)) if o.outcome != "pass" else o for o in found),
        alpha=settings.alpha,
        source=of.source,
        rows=of.n,
        fingerprint=gates_ledger.fingerprint(of),
        paired=lined_up is None or lined_up.how != "none",
        notes=() if lined_up is None else lined_up.notes,
        file=file,
        versions=_versions(),
    )
    return verdict if ledger is None else counted(verdict, Path(ledger))


def counted(verdict: Verdict, file: Path) -> Verdict:
    """Returns the verdict with the number of gates its data have decided, this one noted among them."""
    before = gates_ledger.used(verdict.fingerprint, file)
    gates_ledger.note(verdict.fingerprint, verdict.candidate, verdict.outcome, file)
    return replace(verdict, times_used=before + 1)


def _versions() -> dict[str, Any]:
    import jax
    import numpy as np

    import evalkit

    return {"evalkit": evalkit.__version__, "jax": jax.__version__, "numpy": np.__version__}


# --- rules ---


def loaded(rules: Rules) -> tuple[GateSettings, dict[Place, int], str]:
    """Returns the settings of a gate, the line of each key, and the file's name; the last two empty without a file.

    Raises:
        ConfigError: the file cannot be read, or a setting does not exist or cannot hold.
    """
    if isinstance(rules, GateSettings):
        return rules, {}, ""
    if isinstance(rules, str | Path):
        return _of_file(Path(rules))
    if not isinstance(rules, Mapping | Sequence):
        raise ConfigError(f"Rules are a file, a mapping or a list of mappings, not {type(rules).__name__}.")
    raw: Any = dict(rules) if isinstance(rules, Mapping) else {"rules": list(rules)}
    raw = raw["gate"] if set(raw) == {"gate"} else raw
    return _validated(GateSettings, raw, {}, "rules"), {}, ""


def _of_file(path: Path) -> tuple[GateSettings, dict[Place, int], str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}; `evalkit gate init --from RUN` writes one.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {path}: {error}") from error
    raw, lines = read(text, str(path))
    if not isinstance(raw, Mapping) or not ({"gate", "rules"} & set(raw)):
        raise ConfigError(f"{path}: no rules here; write `gate:` and under it `rules:`.")
    inside = raw.get("gate") if "gate" in raw else raw
    if "gate" in raw:
        lines = {place[1:]: line for place, line in lines.items() if place[:1] == ("gate",)}
    return _validated(GateSettings, inside, lines, str(path)), lines, str(path)


_Model = TypeVar("_Model", bound=BaseModel)


def _validated(model: type[_Model], raw: Any, lines: dict[Place, int], file: str) -> _Model:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(sentence(error, raw, lines, file, choices)) from None


def choices(place: Place) -> list[str]:
    """Returns the settings that may stand at a place inside `gate:`."""
    names = [part for part in place if isinstance(part, str)]
    inner: dict[str, type[BaseModel]] = {"waivers": WaiverSettings, "disparity": Disparity}
    if names and names[-1] == "rules":
        return list(RULE_SETTINGS)
    return list((inner.get(names[-1], Bounds) if names else GateSettings).model_fields)


def checked(settings: GateSettings, of: Evaluation, lines: dict[Place, int], file: str) -> None:
    """Raises ConfigError for a rule that cannot hold on an evaluation's slices, with file and line where there are."""
    try:
        check(settings, of.plan.slice_sets)
    except RuleError as error:
        raise ConfigError(located(error, lines, file)) from None


def located(error: RuleError, lines: dict[Place, int], file: str) -> str:
    """Returns what is wrong with a rule, after its file and line."""
    if not file:
        return str(error)
    return f"{file}:{line_of((error.part, error.index), lines)}: {error.message}"


def _with_lines(found: Sequence[RuleOutcome], lines: dict[Place, int]) -> list[RuleOutcome]:
    return [replace(o, line=lines.get(("rules", index), 0)) for index, o in enumerate(found)]


def outcomes(settings: GateSettings, run: Run) -> list[RuleOutcome]:
    """Returns the outcome of each rule of a gate, waivers left aside."""
    asked = []
    for rule in settings.rules:
        questions = of_rule(rule, run)
        asked.append(Asked(rule, (), questions) if isinstance(questions, str) else Asked(rule, tuple(questions)))
    missing: Outcome = {"fail": "fail", "skip": "skipped", "pass": "pass"}[settings.on_missing_baseline]  # type: ignore[assignment]
    found = decided(asked, run, settings.alpha)
    return [replace(o, outcome=missing) if o.why == NO_BASELINE else o for o in found]


# --- models ---


def _chosen(result: Any, baseline: Any, candidate: str | None) -> tuple[Evaluation, Pair | None]:
    """Returns the candidate's evaluation, and the pair with the baseline where there is one."""
    if isinstance(result, str | Path):
        before = _compared_before(Path(result))
        result = load(result, rows=True)
        baseline = before.get("baseline") if baseline is None else baseline
        if candidate is None and len(before.get("candidates", ())) == 1:
            candidate = before["candidates"][0]
    if isinstance(result, Comparison):
        if baseline is not None and baseline != result.baseline:
            raise UsageError(f"The comparison's baseline is {result.baseline}, not {baseline}.")
        chosen = result.pair(candidate)
        return chosen.candidate, chosen
    if not isinstance(result, Result):
        raise UsageError(f"A gate takes a result, a comparison or a folder of one, not {type(result).__name__}.")
    known = {e.model: e for e in result.evaluations}
    base = _baseline(known, baseline)
    others = [name for name, e in known.items() if e is not base]
    if candidate is None and len(others) > 1:
        raise UsageError(f"Name the candidate; there are: {listing(others)}.")
    if candidate is not None and candidate not in known:
        raise UsageError(f'No model "{candidate}" here.{nearest(candidate, known)} There are: {listing(known)}.')
    if not others:
        raise UsageError("There is no candidate besides the baseline.")
    of = known[candidate or others[0]]
    if base is None:
        return of, None
    if of is base:
        raise UsageError(f"{of.model} is both candidate and baseline.")
    if same_outputs(base, of):
        raise UsageError(
            f"{base.model} and {of.model} have the same outputs on every row: they are one model under two names."
        )
    lined_up = pair(base, of)
    return (of if of.plan == lined_up.plan else lined_up.candidate), lined_up


def _compared_before(folder: Path) -> dict[str, Any]:
    """Returns what a folder of results says of the comparison it holds; empty where it holds none."""
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(run.get("comparison") or {})


def _baseline(known: Mapping[str, Evaluation], baseline: Any) -> Evaluation | None:
    if baseline is None:
        return None
    if isinstance(baseline, str) and baseline in known:
        return known[baseline]
    if isinstance(baseline, Result) or (Path(baseline) / "sums" / "plan.json").exists():
        other = baseline if isinstance(baseline, Result) else load(baseline, rows=True)
        if len(other.evaluations) != 1:
            raise UsageError(
                f"The baseline's results hold several models: {listing(e.model for e in other.evaluations)}."
            )
        return other.evaluations[0]
    raise UsageError(f'No model "{baseline}" here.{nearest(str(baseline), known)} There are: {listing(known)}.')
