"""Candidate minus baseline at every threshold, in money or net benefit, of the rows of one slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.cost_curves import cost_difference, net_benefit_difference
from evalkit.curves import costs_of
from evalkit.errors import ConfigError, UsageError, listing, nearest
from evalkit.pairing import Pair

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

KINDS = ("cost", "net_benefit")
_OUTCOMES = ("tp", "fp", "fn", "tn")


def curve(pair: Pair, kind: str, slice: str) -> pl.DataFrame:  # noqa: A002 - the table's word
    """Returns the difference of two models' curves; see `Comparison.curve`."""
    if kind not in KINDS:
        raise ConfigError(f'No curve of differences "{kind}".{nearest(kind, KINDS)} Curves: {listing(KINDS)}.')
    mine, theirs = pair.candidate.rows, pair.baseline.rows
    if pair.how != "rows" or mine is None or theirs is None:
        raise UsageError("Curves of differences need the rows of both models, paired.")
    if mine.rows.score is None or theirs.rows.score is None:
        raise UsageError("Curves of differences need the scores of both models.")
    place = _rows_of(pair, slice)
    weight, group = mine.rows.weight, mine.rows.group
    shared: dict[str, Any] = {
        "labels": np.asarray(mine.rows.label)[place],
        "baseline_scores": theirs.rows.score[place],
        "candidate_scores": mine.rows.score[place],
        "weight": None if weight is None else weight[place],
        "group": group[place] if group is not None and pair.candidate.settings.clustered else None,
        "level": pair.candidate.settings.level,
    }
    if kind == "net_benefit":
        return net_benefit_difference(**shared)
    costs = costs_of(pair.candidate)
    if costs is None:
        raise ConfigError('The curve "cost" needs costs: compare with costs=ek.Costs(fn=..., fp=...).')
    columns = mine.rows.columns
    given: dict[str, Any] = {
        name: columns[costs[name]][place] if isinstance(costs[name], str) else costs[name] for name in _OUTCOMES
    }
    cap, prevalence = _cap(pair), costs["prevalence"]
    if cap is not None:
        given = {name: np.clip(cost, -cap, cap) for name, cost in given.items()}
    if prevalence is not None:
        shared["weight"] = _at(prevalence, shared["labels"], shared["weight"])
    return cost_difference(**shared, **given)


def _cap(pair: Pair) -> float | None:
    """Returns what no row of `expected_cost` costs more than."""
    metric = next(m for _, m in pair.candidate.metrics if m.name_of_function == "expected_cost")
    cap = metric.statistic.parameters["cap"]
    return None if cap is None else float(cap)


def _at(prevalence: float, labels: Any, weight: Any) -> Any:
    """Returns weights [rows] under which positives have another share."""
    weights = np.ones(len(labels)) if weight is None else weight
    of_class = np.bincount(labels.astype(np.int64), weights=weights, minlength=2)
    if not of_class.all():
        raise ConfigError("Another prevalence needs positives and negatives in the slice.")
    return weights * (np.array([1 - prevalence, prevalence]) * of_class.sum() / of_class)[labels.astype(np.int64)]


def _rows_of(pair: Pair, text: str) -> NDArray[np.int64]:
    """Returns the rows of a slice."""
    texts = pair.plan.texts
    if text not in texts:
        raise ConfigError(f'No slice "{text}" here.{nearest(text, texts)} There are: {listing(texts, 40)}.')
    found = []
    for members in pair.members:
        held = members.slices == texts.index(text)
        found.append(np.flatnonzero(held) if members.rows is None else members.rows[held])
    return np.concatenate(found)
