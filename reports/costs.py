"""The part of costs: what decisions cost in money, and how that depends on the threshold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from evalkit.cost_curves import cost_curve, cost_difference
from evalkit.errors import ConfigError
from evalkit.metric import Metric
from evalkit.money import amount, is_cost, unit_of
from evalkit.reports.measures import measures
from evalkit.reports.one_slice import alone
from evalkit.reports.part import Part, render
from evalkit.reports.slices import groups
from evalkit.results import Evaluation, Result
from evalkit.statistic import Parameter
from evalkit.sums import ScoreSums

if TYPE_CHECKING:
    from evalkit.comparison import Comparison
    from evalkit.pairing import Pair

POINTS = 100
MOST_CURVES = 90
MOST_DIFFERENCES = 24
LEAST_ROWS = 50
_OUTCOMES = {"tp": "true positive", "fp": "false positive", "fn": "false negative", "tn": "true negative"}
_HISTOGRAM = "score_histogram"

Costs = tuple[tuple[str, Parameter], ...]


def costly(result: Result) -> bool:
    """Returns whether a metric of cost was evaluated."""
    return bool(_metrics(result))


def costs(result: Result, comparison: Comparison | None = None) -> Part:
    """Returns the part that shows metrics of cost in money, and curves of cost by slice, models over one another.

    Args:
        result: of an evaluation with metrics of cost.
        comparison: of its models; adds the candidates' cost minus the baseline's at each threshold.
    """
    metrics = _metrics(result)
    specs = [costs for costs, _ in Counter(map(_costs, metrics.values())).most_common()]
    evaluations = [e for e in result.evaluations if e.model in result.models]
    settings = evaluations[0].settings
    scored = [e for e in evaluations if isinstance(e.sums.get(_HISTOGRAM), ScoreSums)]
    chosen = _chosen(result, scored, len(specs))
    points = {e.model: _of_model(e, chosen, specs) for e in scored}
    found = set().union(*points.values()) if points else set()
    sets = [{"name": g.label, "slices": kept} for g in groups(result) if (kept := [s for s in g.slices if s in found])]
    return Part(
        "costs",
        "Costs",
        render(
            "costs.html",
            models=result.models,
            scored=[e.model for e in scored],
            metrics=[(measures(result)[name], _row(result, name, metric)) for name, metric in metrics.items()],
            specs=[_words(spec, settings.currency) for spec in specs],
            sets=sets,
            overall="overall" in found,
            unit=_per_row(metrics, settings),
            level=f"{100 * settings.level:.6g}",
            below=settings.suppress_below,
            sliced=bool(groups(result)),
        ),
        {
            "models": [e.model for e in scored],
            "groups": sets,
            "points": points,
            "differences": {} if comparison is None else _differences(comparison, result, chosen, specs),
            "baseline": "" if comparison is None else comparison.baseline,
            "marks": [_threshold(metrics, spec) for spec in specs],
            "money": {name: bool(unit_of(metric, settings)) for name, metric in metrics.items()},
            "currency": settings.currency,
            "unit": _per_row(metrics, settings),
        },
    )


def _metrics(result: Result) -> dict[str, Metric]:
    """Returns the metrics of cost in the table by name."""
    known = {name: metric for e in reversed(result.evaluations) for name, metric in e.metrics}
    return {name: known[name] for name in result.metrics if name in known and is_cost(known[name])}


def _costs(metric: Metric) -> Costs:
    """Returns what its four outcomes cost, and the prevalence and the cap where they are asked for."""
    parameters, names = _bound(metric), (*_OUTCOMES, "prevalence", "cap")
    return tuple((name, parameters[name]) for name in names if parameters.get(name) is not None)


def _bound(metric: Metric) -> dict[str, Parameter]:
    return {**metric.statistic.parameters, **metric.parameters}


def _words(costs: Costs, currency: str) -> str:
    """Writes costs for people: `false positive USD 5.00, false negative: column price`."""
    said = []
    for name, value in costs:
        if name == "prevalence":
            said.append(f"at a prevalence of {value}")
        elif name == "cap":
            said.append(f"capped at {amount(float(value or 0), currency)}")
        elif isinstance(value, str):
            said.append(f"{_OUTCOMES[name]}: column {value}")
        elif value is not None and float(value) != 0:
            said.append(f"{_OUTCOMES[name]} {amount(float(value), currency)}")
    return ", ".join(said) or "nothing"


def _per_row(metrics: Mapping[str, Metric], settings: Any) -> str:
    """Returns the unit of a mean cost, in words also where no currency is set."""
    units = (unit_of(metric, settings) for metric in metrics.values() if metric.name_of_function == "expected_cost")
    return next(units, "") or f"{settings.currency or 'cost'} per {settings.cost_unit}"


def _threshold(metrics: Mapping[str, Metric], costs: Costs) -> float | None:
    """Returns the threshold at which metrics of these costs decide; None where each row has its own."""
    for metric in metrics.values():
        if _costs(metric) == costs:
            given = _bound(metric)
            return None if given.get("bayes") else float(given.get("threshold") or 0.5)
    return None


def _row(result: Result, name: str, metric: Metric) -> list[dict[str, str]]:
    """Returns a metric of all rows, in money, model by model."""
    table = result.to_polars().filter(pl.col("slice") == "overall", pl.col("metric") == name)
    settings = result.evaluations[0].settings
    money = bool(unit_of(metric, settings))
    by_model = {row["model"]: row for row in table.iter_rows(named=True)}
    return [_cell(by_model.get(model), money, settings.currency) for model in result.models]


def _cell(row: dict[str, Any] | None, money: bool, currency: str) -> dict[str, str]:
    from evalkit.show import number

    if row is None or row["value"] is None or np.isnan(row["value"]):
        return {"value": "-" if row is None else row["status"].replace("_", " "), "interval": "", "note": ""}

    def write(value: float, unit: str = "") -> str:
        return amount(value, unit) if money else number(value)

    ends = "" if row["low"] is None or np.isnan(row["low"]) else f"[{write(row['low'])}, {write(row['high'])}]"
    return {"value": write(row["value"], currency), "interval": ends, "note": row["note"] or ""}


# --- curves ---


def _chosen(result: Result, scored: list[Evaluation], specs: int) -> set[str]:
    """Returns overall and the largest slices, as many as keep the page small; of suppressed ones none."""
    table = result.to_polars()
    hidden = set(table.filter(pl.col("status") == "suppressed")["slice"])
    rows = dict(table.group_by("slice").agg(pl.col("rows").max()).iter_rows())
    least = max([LEAST_ROWS, *(e.settings.suppress_below for e in scored)])
    enough = [s for s in result.slices if s not in hidden and s != "overall" and (rows[s] or 0) >= least]
    room = max(MOST_CURVES // max(len(scored) * specs, 1), 5)
    drawn = {*sorted(enough, key=lambda s: -rows[s])[:room]}
    return drawn | ({"overall"} & set(result.slices))


def _of_model(evaluation: Evaluation, chosen: set[str], specs: list[Costs]) -> dict[str, Any]:
    """Returns the curves of one model by slice."""
    statistics = {m.statistic for _, m in evaluation.metrics if is_cost(m)}
    beside = [s.companion() for s in statistics]
    identities = {_HISTOGRAM, *(s.identity for s in statistics), *(s.identity for s in beside if s is not None)}
    return {
        text: {
            "cost": [_cost(one, text, spec) for spec in specs],
            "benefit": _columns(one, "net_benefit", text, ("threshold", "model", "low", "high", "treat_all")),
            "lines": _columns(one, "cost_lines", text, ("probability_cost", "normalized_cost")),
        }
        for text, one in alone(evaluation, chosen, identities)
    }


def _cost(evaluation: Evaluation, text: str, spec: Costs) -> dict[str, Any] | None:
    """Returns cost by threshold with the share called positive; profit is its negative by that share."""
    return _columns(
        evaluation, "profit", text, ("positive_prediction_rate", "threshold", "profit", "low", "high"), dict(spec)
    )


def _columns(
    evaluation: Evaluation, kind: str, text: str, names: tuple[str, ...], given: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """Returns a curve's columns; None where this model or slice has no such curve."""
    try:
        frame = cost_curve(Result((evaluation,)), kind, text, points=POINTS, **(given or {}))
    except ConfigError:
        return None
    return {name: [_short(value) for value in frame[name]] for name in names}


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None


# --- a candidate against the baseline ---


def _differences(
    comparison: Comparison, result: Result, chosen: set[str], specs: list[Costs]
) -> dict[str, dict[str, list[Any]]]:
    """Returns by candidate and slice the cost minus the baseline's, where rows are paired and may be told of."""
    pairs = [p for p in comparison.pairs if p.candidate.model in result.models and _may_tell(p)]
    found: dict[str, dict[str, list[Any]]] = {}
    room = MOST_DIFFERENCES // max(len(pairs) * len(specs), 1)
    for pair in pairs:
        texts = [text for text in pair.plan.texts if text in chosen][: max(room, 1)]
        members = _members(pair)
        found[pair.candidate.model] = {
            text: [_difference(pair, members[text], spec) for spec in specs] for text in dict.fromkeys(texts)
        }
    return found


def _may_tell(pair: Pair) -> bool:
    """Returns whether rows are paired and scored, and no small group is suppressed."""
    both = (pair.baseline, pair.candidate)
    scored = all(e.rows is not None and e.rows.rows.score is not None for e in both)
    private = any(e.settings.suppress_below > 1 or any(e.plan.hidden) for e in both)
    return pair.how == "rows" and scored and not private


def _members(pair: Pair) -> dict[str, Any]:
    """Returns the rows of each slice."""
    found: dict[str, Any] = {}
    for members in pair.members:
        inside = np.flatnonzero(members.slices >= 0)
        inside = inside[np.argsort(members.slices[inside], kind="stable")]
        slices = members.slices[inside]
        rows = inside if members.rows is None else members.rows[inside]
        for index in np.unique(slices):
            part = slice(*np.searchsorted(slices, [index, index + 1]))
            found.setdefault(pair.plan.texts[index], rows[part])
    return found


def _difference(pair: Pair, place: Any, spec: Costs) -> dict[str, Any] | None:
    if any(name == "prevalence" for name, _ in spec) or pair.candidate.rows is None or pair.baseline.rows is None:
        return None
    mine, theirs = pair.candidate.rows.rows, pair.baseline.rows.rows
    cap: Any = dict(spec).get("cap")
    given: dict[str, Any] = {
        name: mine.columns.get(value) if isinstance(value, str) else value for name, value in spec if name != "cap"
    }
    if cap is not None:
        given = {name: value if value is None else np.clip(value, -cap, cap) for name, value in given.items()}
    if mine.label is None or mine.score is None or theirs.score is None or any(v is None for v in given.values()):
        return None
    shared: dict[str, Any] = {
        name: value[place] if isinstance(value, np.ndarray) else value for name, value in given.items()
    }
    shared["weight"] = None if mine.weight is None else mine.weight[place]
    shared["group"] = mine.group[place] if pair.candidate.settings.clustered and mine.group is not None else None
    shared["level"] = pair.candidate.settings.level
    frame = cost_difference(mine.label[place], theirs.score[place], mine.score[place], **shared)
    names = ("threshold", "difference", "low", "high", "low_all", "high_all")
    return {name: [_short(value) for value in frame[name]] for name in names}
