"""A part: ROC, precision-recall and calibration curves of slices laid over one another."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import polars as pl

from evalkit.curves import histogram
from evalkit.errors import ConfigError
from evalkit.reports.one_slice import entries
from evalkit.reports.part import Part, render
from evalkit.reports.slices import groups
from evalkit.reports.thin import spaced, thinned
from evalkit.results import Evaluation, Plan, Result
from evalkit.show import number
from evalkit.sums import ScoreSums

LEAST_OF_A_CLASS = 50
MOST_POINTS = 200
MOST_CURVES = 200


def curves(result: Result) -> Part:
    """Returns the part that draws curves of the overall rows and of the slices that are large enough."""
    evaluations = [e for e in result.evaluations if e.model in result.models and _scores(e) is not None]
    title = "Curves"
    if not evaluations:
        return Part("curves", title, render("curves.html", available=False))
    margins = {e.model: histogram(e) for e in evaluations}
    shown, left_out = _chosen(result, evaluations, margins)
    points = {e.model: _of_model(e, margins[e.model], shown) for e in evaluations}
    sets = [{"name": g.label, "slices": kept} for g in groups(result) if (kept := [s for s in g.slices if s in shown])]
    below = max(e.settings.suppress_below for e in evaluations)
    return Part(
        "curves",
        title,
        render(
            "curves.html",
            available=True,
            models=[e.model for e in evaluations],
            without=[model for model in result.models if model not in margins],
            left_out=left_out,
            least=LEAST_OF_A_CLASS,
            below=below,
            most=MOST_POINTS,
            binned=any(sums.bins is not None for sums in margins.values()),
            clustered=any(e.settings.clustered for e in evaluations),
        ),
        {"groups": sets, "models": [e.model for e in evaluations], "points": points},
    )


def _scores(evaluation: Evaluation) -> ScoreSums | None:
    sums = evaluation.sums.get("score_histogram")
    return sums if isinstance(sums, ScoreSums) else None


def _chosen(
    result: Result, evaluations: list[Evaluation], margins: dict[str, ScoreSums]
) -> tuple[set[str], dict[str, list[str]]]:
    """Returns the slices to draw, and by reason those that are not."""
    in_table = dict.fromkeys(result.slices)
    size: dict[str, int] = {}
    rarer: dict[str, int] = {}
    for e in evaluations:
        sums = margins[e.model]
        by_class = [np.bincount(sums.slices, weights=sums.count[:, k], minlength=sums.size) for k in (0, 1)]
        for text, negatives, positives in zip(e.plan.texts, *by_class, strict=True):
            size[text] = max(size.get(text, 0), int(negatives + positives))
            rarer[text] = max(rarer.get(text, 0), int(min(negatives, positives)))
    hidden = set(result.to_polars().filter(pl.col("status") == "suppressed")["slice"])
    slices = [text for text in in_table if text != "overall"]
    enough = [text for text in slices if text not in hidden and rarer.get(text, 0) >= LEAST_OF_A_CLASS]
    room = max(MOST_CURVES // len(evaluations), 10)
    largest = sorted(enough, key=lambda text: -size[text])[:room]
    drawn = {*largest, *(["overall"] if "overall" in in_table and rarer.get("overall", 0) else [])}
    reasons = {
        "few": [text for text in slices if text not in hidden and text not in enough],
        "room": [text for text in enough if text not in drawn],
        "suppressed": [text for text in slices if text in hidden],
    }
    return drawn, {why: texts for why, texts in reasons.items() if texts}


def _of_model(evaluation: Evaluation, margin: ScoreSums, shown: set[str]) -> dict[str, Any]:
    """Returns the curves of one model by slice."""
    offsets = list(accumulate(map(len, evaluation.plan.keys), initial=0))
    found: dict[str, Any] = {}
    for start, slice_set, keys in zip(offsets, evaluation.plan.slice_sets, evaluation.plan.keys, strict=False):
        for index, key in enumerate(keys):
            text = evaluation.plan.texts[start + index]
            if text not in shown or text in found:
                continue
            one = entries(margin, start + index)
            if min(one.count.sum(0)):
                alone = replace(evaluation, plan=Plan((slice_set,), ((key,),)), sums={"score_histogram": one})
                found[text] = _of_slice(Result((alone,)), text, one, evaluation.settings.suppress_below)
    return found


def _of_slice(result: Result, text: str, sums: ScoreSums, below: int) -> dict[str, Any]:
    rows = np.concatenate([[0], sums.count.sum(1)[::-1].cumsum()])
    places = spaced(rows, below) if below > 1 else np.arange(len(rows))
    return {
        "rows": int(rows[-1]),
        "positives": int(sums.count[:, 1].sum()),
        "roc": _points(result.curve("roc", text), "false_positive_rate", "recall", places),
        "precision_recall": _points(result.curve("precision_recall", text), "recall", "precision", places[1:]),
        "calibration": _calibration(result, text, below),
    }


def _points(curve: pl.DataFrame, across: str, up: str, places: Any) -> dict[str, Any]:
    x, y, threshold = (curve[name].to_numpy()[places] for name in (across, up, "threshold"))
    finite = np.isfinite(x) & np.isfinite(y)
    x, y, threshold = x[finite], y[finite], threshold[finite]
    kept = thinned(x, y, MOST_POINTS)
    return {"x": _short(x[kept]), "y": _short(y[kept]), "threshold": [number(float(t)) for t in threshold[kept]]}


def _calibration(result: Result, text: str, below: int) -> dict[str, Any] | None:
    """Returns the bins of the score that hold enough rows to be shown; None for scores that are no probabilities."""
    try:
        bins = result.curve("calibration", text)
    except ConfigError:
        return None
    bins = bins.filter(pl.col("rows") >= below)
    columns = {"x": "mean_score", "y": "prevalence", "low": "low", "high": "high"}
    return {**{key: _short(bins[name].to_numpy()) for key, name in columns.items()}, "rows": bins["rows"].to_list()}


def _short(values: Any) -> list[float | None]:
    return [round(float(v), 4) if np.isfinite(v) else None for v in values]
