"""One of fairlearn's mitigated models beside the original, on rows that neither was fitted to.

What mitigates is fairlearn (`pip install 'evalkit[fairness]'`); here it is fitted to half of the rows, and both models
decide the other half, so that `compare` and disparities judge them alike.

    found = mitigated(data, label="y", score="p", protected="sex", constraint="equalized_odds")
    found.compare(metrics=["accuracy"])          # an ek.compare result, with slices by the groups
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evalkit.compare import compare
from evalkit.comparison import Comparison
from evalkit.errors import ConfigError, DataError, MissingExtra, UsageError, listing, nearest
from evalkit.evaluate import evaluate
from evalkit.fairness.families import across_text, families, slice_sets
from evalkit.fairness.thresholds.criterion import Criterion, rates_of
from evalkit.fairness.thresholds.group_rows import half_of
from evalkit.hashing import hash64
from evalkit.pairing import members_of
from evalkit.results import Evaluation
from evalkit.rows import Columns, units, valid_in_all
from evalkit.slicing.spec import SliceSet, parse
from evalkit.table import read

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

Method = Literal["threshold_optimizer", "exponentiated_gradient", "grid_search"]
METHODS = ("threshold_optimizer", "exponentiated_gradient", "grid_search")

_PARITY = {
    "demographic_parity": ("demographic_parity", "DemographicParity"),
    "equal_opportunity": ("true_positive_rate_parity", "TruePositiveRateParity"),
    "predictive_equality": ("false_positive_rate_parity", "FalsePositiveRateParity"),
    "equalized_odds": ("equalized_odds", "EqualizedOdds"),
}
_OBJECTIVES = {
    "accuracy": "accuracy_score",
    "balanced_accuracy": "balanced_accuracy_score",
    "selection": "selection_rate",
}
_NAMES = ("original", "mitigated")


@dataclass(frozen=True)
class Mitigated:
    """The rows that were held out, decided by the original and by the mitigated model.

    Attributes:
        rows: the data's columns, labels as 0 and 1, and the columns `original` and `mitigated`, decisions as 0 and 1.
        fitted: fairlearn's fitted model.
        method: which mitigation it is.
        constraint: what it equalizes.
        fitted_rows: how many rows it was fitted to.
        label: the column of labels.
        protected: the attributes, crossed where there are several.
        unit: the column of units.
        id: the column of ids.
    """

    rows: pl.DataFrame
    fitted: Any
    method: str
    constraint: str
    fitted_rows: int
    label: str
    protected: SliceSet
    unit: str | None
    id: str | None

    def compare(self, *, metrics: Any = None, slices: Any = (), control: Any = (), **settings: Any) -> Comparison:
        """Returns `ek.compare` of the mitigated model against the original, with slices by the groups.

        `result.pairs[0].baseline` and `.candidate` are the evaluations that disparities are computed of.

        Args:
            metrics: names or metrics of decisions; None: a default set.
            slices: more slices.
            control: features within which groups are compared.
            **settings: more settings of `ek.compare`.
        """
        sets = list(dict.fromkeys([*slice_sets([self.protected], control), *parse(slices)]))
        same = bool((self.rows["original"] == self.rows["mitigated"]).all())
        return compare(
            self.rows,
            label=self.label,
            baseline=_NAMES[0],
            candidate=_NAMES[1],
            output="prediction",
            unit=self.unit,
            id=self.id,
            metrics=metrics,
            slices=sets,
            same_model=same,
            **settings,
        )


class PassThrough:
    """An estimator in scikit-learn's manner whose prediction is the one column that it is given: the score."""

    def fit(self, X: Any, y: Any = None) -> PassThrough:  # noqa: ARG002 - scikit-learn's signature
        """Does nothing."""
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Returns the column, [rows]."""
        return np.asarray(X, np.float64)[:, 0]

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        from sklearn.base import BaseEstimator

        return BaseEstimator().__sklearn_tags__()


def mitigated(
    data: Any,
    *,
    label: str,
    protected: Any,
    score: str | None = None,
    model: Any = None,
    features: Sequence[str] | None = None,
    constraint: Criterion = "demographic_parity",
    method: Method = "threshold_optimizer",
    objective: Literal["accuracy", "balanced_accuracy", "selection"] = "accuracy",
    threshold: float | None = None,
    unit: str | None = None,
    id: str | None = None,  # noqa: A002 - the contract's word
    positive: Any = None,
    drop_invalid: bool = False,
    seed: int = 0,
    **settings: Any,
) -> Mitigated:
    """Fits one of fairlearn's mitigations to half of the rows, and decides the other half with it and the original.

    Args:
        data: as of `evaluate`.
        label: the column of labels.
        protected: the attribute whose groups are equalized; several are crossed.
        score: the column of scores. `threshold_optimizer` takes it as it is.
        model: instead of a score for `threshold_optimizer`, a fitted model; fitted on these rows it flatters both. For
            the other methods an estimator of scikit-learn, which is fitted to the half, once as it is and once under
            the constraint.
        features: the columns that a model reads.
        constraint: the criterion to equalize.
        method: `threshold_optimizer` (other thresholds by group, some decisions drawn; reads the group to decide),
            `exponentiated_gradient` or `grid_search` (other models, which do not read it).
        objective: what `threshold_optimizer` keeps high.
        threshold: from which on the original's score decides positive; None: 0.5, for scores within [0, 1].
        unit: the column of what was sampled; a unit's rows stay in one half.
        id: the column that identifies a row; the halves then do not depend on the order of rows.
        positive: the positive label, where labels are not 0 and 1.
        drop_invalid: whether rows with null, NaN or infinite values are dropped instead of refused.
        seed: fixes the halves and what is drawn.
        **settings: more settings of fairlearn's class, such as grid_size=, tol=, eps=.

    fairlearn's mitigations take no weights of rows.

    Raises:
        MissingExtra: fairlearn is not installed.
        UsageError: a column, a setting or the data are wrong.
    """
    _check(constraint, method, objective, score, model, features)
    sets = parse(protected)
    if not sets:
        raise ConfigError("Name the protected attribute, such as protected='sex'.")
    cross = SliceSet(tuple(dict.fromkeys(d for s in sets for d in s.dimensions)))
    frame = read(data)
    taken = [name for name in _NAMES if name in frame.columns]
    if taken:
        raise ConfigError(f'The data have a column "{taken[0]}", which is what decisions are named: rename it.')
    if drop_invalid:
        frame, _ = valid_in_all(frame, [Columns(label=label, score=score, unit=unit)])
    trains = method != "threshold_optimizer"
    outputs: dict[str, Any] = {"score": score} if score else {"model": model, "features": features}
    if trains and not score:
        outputs = {"score": "__score"}
    [evaluation] = evaluate(
        _with_zeros(frame) if "__score" in outputs.values() else frame,
        label=label,
        unit=unit,
        id=id,
        metrics=["count"],
        slices=[cross],
        positive=positive,
        task="binary",
        keep_rows="always",
        **outputs,
    ).evaluations
    held = _Held.of(evaluation, cross, seed)
    threshold = _threshold(held, score, threshold)
    if trains:
        fitted, original = _reduced(
            held, frame, list(features or ()), model, score, constraint, method, threshold, settings
        )
        decided = _draw(fitted, frame.select(features or ()).filter(~held.fit).to_numpy(), seed)
    else:
        fitted = _optimizer(held, constraint, objective, settings)
        original = held.score >= np.asarray(threshold, held.score.dtype)
        X, groups = held.score[~held.fit, None].astype(np.float64), held.group[~held.fit]
        decided = fitted.predict(X, sensitive_features=groups, random_state=seed)
    import polars as pl

    rows = frame.filter(~held.fit).with_columns(
        pl.Series(label, held.label[~held.fit].astype(np.int8)),
        pl.Series(_NAMES[0], np.asarray(original)[~held.fit].astype(np.int8)),
        pl.Series(_NAMES[1], np.asarray(decided).ravel().astype(np.int8)),
    )
    return Mitigated(rows, fitted, method, constraint, int(held.fit.sum()), label, cross, unit, id)


def _check(constraint: str, method: str, objective: str, score: Any, model: Any, features: Any) -> None:
    rates_of(constraint)
    if method not in METHODS:
        raise ConfigError(f"No mitigation {method!r}.{nearest(str(method), METHODS)} There are: {listing(METHODS)}.")
    if objective not in _OBJECTIVES:
        raise ConfigError(
            f"No objective {objective!r}.{nearest(str(objective), _OBJECTIVES)} There are: {listing(_OBJECTIVES)}."
        )
    if method == "threshold_optimizer":
        if (score is None) == (model is None):
            raise UsageError("threshold_optimizer needs score=, a column, or model= with features=; one of them.")
    elif model is None or not features:
        raise UsageError(f"{method} fits an estimator: give model= and features=.")
    try:
        import fairlearn  # noqa: F401
    except ImportError as error:
        raise MissingExtra("fairlearn", "fairness") from error


def _threshold(held: _Held, score: str | None, threshold: float | None) -> float:
    """Returns the threshold of the original; refuses to guess one for scores that are no probabilities."""
    if threshold is None and score is not None and not ((held.score >= 0) & (held.score <= 1)).all():
        raise ConfigError(
            f'Scores in "{score}" lie outside [0, 1]: say threshold=, from which on the original decides positive.'
        )
    return 0.5 if threshold is None else threshold


def _with_zeros(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return frame.with_columns(pl.lit(0.0).alias("__score"))


@dataclass(frozen=True)
class _Held:
    """The rows as arrays, and which of them are fitted to, [rows]."""

    label: NDArray[np.int64]
    score: NDArray[Any]
    group: NDArray[np.int64]
    fit: NDArray[np.bool_]

    @classmethod
    def of(cls, evaluation: Evaluation, cross: SliceSet, seed: int) -> _Held:
        checked = evaluation.rows
        if checked is None or checked.rows.label is None or checked.rows.score is None:
            raise UsageError("Mitigations need labels, and scores or a model.")
        [family] = families(evaluation, [cross])
        known = int((~family.unknown).sum())
        if known < 2:
            there = "one group" if known else "no group that is known"
            raise DataError(f'There is {there} of "{across_text(cross)}" alone: nothing can be equalized.')
        members = members_of(evaluation)[1]
        if members.rows is not None:
            raise DataError(f'A row is in several groups of "{across_text(cross)}": mitigations need one group each.')
        if (members.slices < 0).any():
            raise DataError(
                f'{int((members.slices < 0).sum()):,} rows are in no group of "{across_text(cross)}": drop them.'
            )
        named = evaluation.settings.columns.unit or evaluation.settings.columns.id
        key = hash64(np.arange(checked.rows.n) if named is None else units(checked.frame[named]))
        label, group = np.asarray(checked.rows.label).astype(np.int64), members.slices - family.places[0]
        fit = ~half_of(key, seed)
        for g in range(len(family.places)):
            if len(np.unique(label[fit & (group == g)])) < 2:
                raise DataError(
                    "A group lacks positives or negatives in the half that is fitted to: pool small groups of "
                    f'"{across_text(cross)}", or leave them out.'
                )
        return cls(label, np.asarray(checked.rows.score), group, fit)


def _optimizer(held: _Held, constraint: str, objective: str, settings: dict[str, Any]) -> Any:
    from fairlearn import postprocessing

    if constraint == "equalized_odds" and objective == "selection":
        raise ConfigError("fairlearn has no objective=selection under equalized_odds: choose accuracy.")
    optimizer: Any = postprocessing.ThresholdOptimizer
    return optimizer(
        estimator=PassThrough(),
        constraints=_PARITY[constraint][0],
        objective=_OBJECTIVES[objective],
        prefit=True,
        predict_method="predict",
        **settings,
    ).fit(held.score[held.fit, None].astype(np.float64), held.label[held.fit], sensitive_features=held.group[held.fit])


def _reduced(
    held: _Held,
    frame: pl.DataFrame,
    features: list[str],
    model: Any,
    score: str | None,
    constraint: str,
    method: str,
    threshold: float,
    settings: dict[str, Any],
) -> tuple[Any, NDArray[Any]]:
    """Returns the model that a reduction fits, and the original's decisions of all rows."""
    from fairlearn import reductions
    from sklearn.base import clone

    X, label = frame.select(features).to_numpy(), held.label
    kind = reductions.ExponentiatedGradient if method == "exponentiated_gradient" else reductions.GridSearch
    copy: Any = clone
    fitted: Any = kind(copy(model), constraints=getattr(reductions, _PARITY[constraint][1])(), **settings)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="fairlearn")  # what newer pandas deprecates
        fitted.fit(X[held.fit], label[held.fit], sensitive_features=held.group[held.fit])
    if score is not None:
        return fitted, held.score >= np.asarray(threshold, held.score.dtype)
    return fitted, copy(model).fit(X[held.fit], label[held.fit]).predict(X)


def _draw(fitted: Any, X: NDArray[Any], seed: int) -> NDArray[Any]:
    random = {"random_state": seed} if "random_state" in inspect.signature(fitted.predict).parameters else {}
    return np.asarray(fitted.predict(X, **random))
