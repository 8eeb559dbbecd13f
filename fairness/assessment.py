"""Is a model fair: every protected group against a reference, the largest gaps, criteria, and what may be said of them.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> sex = np.repeat(["f", "m"], 500)
>>> y = rng.integers(0, 2, 1000)
>>> score = np.clip(rng.normal(0.35 + 0.3 * y - 0.15 * (sex == "f"), 0.2), 0, 1)
>>> found = assess({"y": y, "p": score, "sex": sex}, protected=["sex"], label="y", score="p", within=0.3)
>>> found.gaps.filter(metric="recall").select("lowest", "finding").row(0)
('sex=f', 'flagged')
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.adjust import benjamini_hochberg
from evalkit.errors import ConfigError, UsageError, listing, nearest
from evalkit.evaluate import evaluate
from evalkit.fairness import sentences
from evalkit.fairness.conditional import conditional
from evalkit.fairness.criteria_table import criteria_measures
from evalkit.fairness.disparities import REFERENCES, Reference, disparities
from evalkit.fairness.families import control_set, slice_sets
from evalkit.fairness.gap_table import Within, gaps
from evalkit.fairness.measure import Measure, table
from evalkit.fairness.membership import Membership, with_membership
from evalkit.fairness.pairwise import Rates
from evalkit.fairness.pool import pooled
from evalkit.metric import Metric
from evalkit.metrics import find
from evalkit.results import Result
from evalkit.slicing.spec import SliceSet, parse

if TYPE_CHECKING:
    import polars as pl

MIN_ROWS = 30
DEFAULT_METRICS: Mapping[str, tuple[str, ...]] = {
    "scores": ("roc_auc",),
    "probabilities": ("brier_score", "log_loss", "calibration_ratio"),
    "decisions": (
        "positive_prediction_rate",
        "recall",
        "false_positive_rate",
        "precision",
        "false_omission_rate",
        "accuracy",
    ),
    "regression": ("mean_error", "mae", "rmse"),
}


@dataclass(frozen=True)
class Asked:
    """What was asked of an assessment.

    Attributes:
        protected: the attributes and their crosses.
        control: the cross of features that groups are compared within; None without one.
        reference: what groups are compared with.
        metrics: names of the metrics; None: those of the result.
        within: how large gaps may be.
        level: confidence of intervals that hold together.
        min_rows: groups with a smaller support are in no gap.
        pool_below: groups with fewer rows were pooled.
        rates: the intervals of differences of rates.
        permutations: of tests that groups are alike; 0: by chi-square and Wald's test.
        seed: of permutations and draws.
        criteria: whether criteria beside the gaps of metrics are computed.
    """

    protected: tuple[SliceSet, ...]
    control: SliceSet | None
    reference: Reference
    metrics: tuple[str, ...] | None
    within: Within
    level: float
    min_rows: int
    pool_below: int
    rates: Rates = "newcombe"
    permutations: int = 0
    seed: int = 0
    criteria: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Returns what was asked as plain values, that `assess_result` takes."""
        return {
            "protected": [_plain_set(s) for s in self.protected],
            "control": [] if self.control is None else [_plain_set(self.control)],
            "reference": self.reference if isinstance(self.reference, str) else dict(self.reference),
            "metrics": None if self.metrics is None else list(self.metrics),
            "within": dict(self.within) if isinstance(self.within, Mapping) else self.within,
            "level": self.level,
            "min_rows": self.min_rows,
            "pool_below": self.pool_below,
            "rates": self.rates,
            "permutations": self.permutations,
            "seed": self.seed,
            "criteria": self.criteria,
        }


def _plain_set(of: SliceSet) -> list[str]:
    return [str(dimension) for dimension in of.dimensions]


@dataclass(frozen=True)
class Assessment:
    """What is known of the fairness of a model, or of several; tables are made when they are first asked for.

    Attributes:
        result: of the models.
        asked: what was asked.
        title: of its part of a report.
        about: what a reader of that part must know.
    """

    result: Result
    asked: Asked
    title: str = "Fairness"
    about: str = ""

    @property
    def _shared(self) -> dict[str, Any]:
        asked = self.asked
        names = None if asked.metrics is None else list(asked.metrics)
        control = [] if asked.control is None else [asked.control]
        shared = {"level": asked.level, "min_rows": asked.min_rows, "rates": asked.rates}
        return {"control": control, "metrics": names, **shared}

    @functools.cached_property
    def groups(self) -> pl.DataFrame:
        """Each group against its reference; see `evalkit.fairness.disparities.disparities`."""
        return disparities(self.result, list(self.asked.protected), reference=self.asked.reference, **self._shared)

    @functools.cached_property
    def gaps(self) -> pl.DataFrame:
        """The largest gap of every attribute in every metric; see `evalkit.fairness.gap_table.gaps`."""
        asked = self.asked
        return gaps(
            self.result,
            list(asked.protected),
            within=asked.within,
            permutations=asked.permutations,
            seed=asked.seed,
            **self._shared,
        )

    @functools.cached_property
    def _criteria(self) -> dict[str, tuple[list[Measure], list[str]]]:
        """The criteria of each model, and what could not be computed."""
        asked = self.asked
        if not asked.criteria:
            return {model: ([], []) for model in self.result.models}
        shared: dict[str, Any] = {
            "control": self._shared["control"],
            "reference": asked.reference,
            "level": asked.level,
            "min_rows": asked.min_rows,
            "rates": asked.rates,
            "seed": asked.seed,
        }
        protected = list(asked.protected)
        return {e.model: criteria_measures(e, protected, **shared) for e in self.result.evaluations}

    @functools.cached_property
    def criteria(self) -> pl.DataFrame:
        """Criteria of fairness, what needs no threshold, and trade-offs, in the columns of results.

        `fair` is the value of perfect fairness, `q_value` over the model's criteria.
        """
        import polars as pl

        found = [table(measures, model) for model, (measures, _) in self._criteria.items()]
        return pl.concat(
            frame.with_columns(pl.Series("q_value", benjamini_hochberg(frame["p_value"].to_numpy()))) for frame in found
        )

    @functools.cached_property
    def conditional(self) -> pl.DataFrame | None:
        """Each group's difference to its reference over all levels of the control features; None without any.

        See `evalkit.fairness.conditional.conditional`.
        """
        asked = self.asked
        if asked.control is None or asked.reference in ("overall", "rest"):
            return None
        names = None if asked.metrics is None else list(asked.metrics)
        shared: dict[str, Any] = {"reference": asked.reference, "metrics": names, "level": asked.level}
        return conditional(self.result, list(asked.protected), [asked.control], **shared)

    @property
    def not_computed(self) -> list[str]:
        """What could not be computed, and why."""
        return list(dict.fromkeys(why for _, left in self._criteria.values() for why in left))

    def to_polars(self) -> pl.DataFrame:
        """Returns everything in one table, in the columns of results and comparisons.

        Gaps are metrics of their own, such as `recall_difference@across=race`, and so are criteria.
        """
        import polars as pl

        of_gaps = (table(_of_gaps(self.gaps.filter(model=model)), model) for model in self.result.models)
        return pl.concat([self.groups.drop("across", "reference"), *of_gaps, self.criteria], how="diagonal_relaxed")

    def findings(self) -> list[str]:
        """Returns what is shown, certified or not known, a sentence each, the most certain first."""
        return sentences.findings(self.gaps, several=len(self.result.models) > 1)

    def to_markdown(self) -> str:
        """Returns a section for people, such as a model card takes up."""
        return sentences.section(self)

    def to_dict(self) -> dict[str, Any]:
        """Returns findings, gaps, groups and criteria as plain values; NaN is None."""
        return {
            "asked": self.asked.to_dict(),
            "findings": self.findings(),
            "gaps": _plain(self.gaps),
            "groups": _plain(self.groups),
            "criteria": _plain(self.criteria),
            "conditional": [] if self.conditional is None else _plain(self.conditional),
            "not_computed": self.not_computed,
        }

    def to_json(self) -> str:
        """Returns `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)


def assess(
    data: Any,
    *,
    protected: Any = (),
    label: str | None = None,
    labels: Mapping[str, str] | None = None,
    score: str | None = None,
    prediction: str | None = None,
    reference: Reference = "largest",
    control: Any = (),
    membership: Membership | None = None,
    metrics: Sequence[str | Metric] | None = None,
    within: Within = None,
    level: float = 0.95,
    min_rows: int = MIN_ROWS,
    pool_below: int = 0,
    rates: Rates = "newcombe",
    permutations: int = 0,
    seed: int = 0,
    criteria: bool = True,
    slices: Any = (),
    **more: Any,
) -> Assessment:
    """Assesses the fairness of one model's predictions.

    Args:
        data: as `ek.evaluate` takes it.
        protected: attributes, and lists of them for crosses, as slices: `["sex", "race", ["sex", "race"]]`.
        label: the column of labels.
        labels: instead several, the same outputs being judged against each.
        score: the column of scores.
        prediction: the column of decisions, or of predicted numbers.
        reference: what groups are compared with: `largest`, `best`, `overall`, `rest`, or groups by attribute.
        control: features that groups are compared within.
        membership: attributes that are known as probabilities: by attribute, each group's column.
        metrics: names; None: selection, error and calibration rates, as far as the data have them.
        within: how large a gap may be, in every metric or by its name: such gaps are certified.
        level: confidence of intervals that hold for all groups of an attribute together.
        min_rows: groups with a smaller support, such as few positives for recall, are in no gap.
        pool_below: groups with fewer rows are one group, `other`.
        rates: the intervals of differences of rates, `newcombe` or `miettinen-nurminen`.
        permutations: how many permutations within each metric's denominator test that groups are alike; 0: chi-square
            for rates, Wald's test for other metrics.
        seed: of permutations and draws.
        criteria: whether criteria beside the gaps of metrics are computed.
        slices: further slices of the result.
        more: what else `ek.evaluate` takes, such as `unit`, `weight`, `model`, `costs`, `name`.

    Raises:
        UsageError: the call, a setting or the data are wrong; one sentence says what.
    """
    sets, levels = parse(protected), control_set(control)
    known_as_probabilities = parse(list(membership or {}))
    if not sets and not known_as_probabilities:
        raise ConfigError("Name the protected attributes, such as protected=['sex', 'race'].")
    _check_control(sets, levels)
    columns = {"score": score, "prediction": prediction}
    asked = {**columns, **more, "level": level}
    asked |= {"label": label} if labels is None else {"labels": labels, "label": label}
    of_metrics: Any = DEFAULT_METRICS if metrics is None else list(metrics)
    wanted = [*slice_sets(sets, [levels] if levels else ()), *parse(slices)] if sets else parse(slices)
    if membership:
        if labels is not None or more.get("model") is not None:
            raise UsageError("Membership as probabilities goes with one label and columns of outputs.")
        result = with_membership(data, membership, control=levels, slices=wanted, metrics=of_metrics, **asked)
    else:
        result = evaluate(data, slices=list(dict.fromkeys(wanted)), metrics=of_metrics, **asked)
    return assess_result(
        result,
        protected=[*sets, *known_as_probabilities],
        metrics=None if metrics is None else [m.name if isinstance(m, Metric) else find(m).name for m in metrics],
        reference=reference,
        control=[levels] if levels else (),
        within=within,
        level=level,
        min_rows=min_rows,
        pool_below=pool_below,
        rates=rates,
        permutations=permutations,
        seed=seed,
        criteria=criteria,
    )


def assess_result(
    result: Result,
    *,
    protected: Any,
    reference: Reference = "largest",
    control: Any = (),
    metrics: Sequence[str] | None = None,
    within: Within = None,
    level: float = 0.95,
    min_rows: int = MIN_ROWS,
    pool_below: int = 0,
    rates: Rates = "newcombe",
    permutations: int = 0,
    seed: int = 0,
    criteria: bool = True,
    title: str = "Fairness",
    about: str = "",
) -> Assessment:
    """Assesses the fairness of models that were evaluated, with slices by the protected attributes; see `assess`.

    Args:
        result: of the models.
        protected: as of `assess`, and so the other settings.
        reference: what groups are compared with.
        control: features that groups are compared within; slices must cross them with the attributes.
        metrics: names of the result's metrics.
        within: how large gaps may be.
        level: confidence of intervals.
        min_rows: groups with a smaller support are in no gap.
        pool_below: groups with fewer rows are one group.
        rates: the intervals of differences of rates.
        permutations: of tests that groups are alike.
        seed: of permutations and draws.
        criteria: whether criteria are computed.
        title: of its part of a report.
        about: what a reader of that part must know.

    Raises:
        ConfigError: a setting cannot hold.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, such as 0.95; not {level!r}.")
    sets = tuple(parse(protected))
    if pool_below:
        result = pooled(result, list(sets), pool_below, control)
    names = None if metrics is None else tuple(metrics)
    for name, number in (("permutations", permutations), ("min_rows", min_rows)):
        if number < 0:
            raise ConfigError(f"{name} is at least 0, not {number}.")
    _check_reference(reference, sets)
    _check_control(sets, control_set(control))
    asked = Asked(
        sets,
        control_set(control),
        reference,
        names,
        within,
        level,
        min_rows,
        pool_below,
        rates,
        permutations,
        seed,
        criteria,
    )
    return Assessment(result, asked, title, about)


def _check_control(protected: Sequence[SliceSet], control: SliceSet | None) -> None:
    """Raises ConfigError where an attribute is its own control feature, which leaves one group in each level."""
    twice = [d for s in protected for d in s.dimensions if control is not None and d in control.dimensions]
    if twice:
        raise ConfigError(f'"{twice[0]}" is both protected and a control feature; leave it out of one.')


def _check_reference(reference: Reference, protected: Sequence[SliceSet]) -> None:
    """Raises ConfigError for a reference that stands for no group of any attribute."""
    if isinstance(reference, str):
        if reference not in REFERENCES:
            hint = nearest(reference, REFERENCES)
            raise ConfigError(f'No reference "{reference}".{hint} Use {listing(REFERENCES)}.')
        return
    columns = list(dict.fromkeys(d.name for s in protected for d in s.dimensions))
    for name in reference:
        if name not in columns:
            raise ConfigError(
                f'reference names "{name}", which is no protected attribute.{nearest(name, columns)} '
                f"Attributes: {listing(columns)}."
            )


def _of_gaps(frame: pl.DataFrame) -> list[Measure]:
    """Returns gaps as numbers of the results table."""
    found = []
    for row in frame.iter_rows(named=True):
        shared = {
            "across": row["across"],
            "level": tuple((pair["column"], pair["value"]) for pair in row["slice_key"]),
            "confidence": row["level"],
            "method": row["method"],
            "p_value": row["p_value"],
            "rows": row["rows"],
            "support": row["support"],
            "status": row["status"],
            "approximate": row["approximate"],
            "note": "; ".join(part for part in (row["finding"], row["note"]) if part),
        }
        name, at, parameters = row["metric"].partition("@")
        for kind, fair in (("difference", 0.0), ("ratio", 1.0)):
            ends = ("value", "low", "high") if kind == "difference" else ("ratio", "ratio_low", "ratio_high")
            value, low, high = (row[end] for end in ends)
            found.append(
                Measure(f"{name}_{kind}{at}{parameters}", value=value, low=low, high=high, fair=fair, **shared)
            )
    return found


def _plain(frame: pl.DataFrame) -> list[dict[str, Any]]:
    import polars as pl

    return (
        frame.with_columns(pl.col(pl.Float64).fill_nan(None))
        .with_columns(pl.when(pl.col(pl.Float64).is_infinite()).then(None).otherwise(pl.col(pl.Float64)).name.keep())
        .to_dicts()
    )
