"""Where the right answers come from: for every metric a function of rows.

By scikit-learn, SciPy, statsmodels or by hand. An oracle sees the rows and the metric's parameters and answers NaN
where the metric is undefined. scikit-learn answers 0 or 1 or warns in some of these cases; `_where` states them.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import optimize, special, stats
from sklearn import metrics as sk

import evalkit as ek
from evalkit.metrics import catalog
from evalkit.results import Plan

Floats = NDArray[np.float64]
Source = Literal["scikit-learn", "SciPy", "statsmodels", "by hand"]


@dataclass(frozen=True)
class Rows:
    """What an oracle sees; no row has weight 0.

    Attributes:
        label: [rows] 0 and 1, or numbers.
        output: [rows] scores in their own dtype, or predicted numbers.
        weight: [rows] float64.
        column: [rows] float64, another column.
    """

    label: NDArray[Any]
    output: NDArray[Any]
    weight: Floats
    column: Floats

    @property
    def score(self) -> Floats:
        """The scores in 64 bits."""
        return self.output.astype(np.float64)

    @property
    def both_classes(self) -> bool:
        """Whether there are positives and negatives."""
        return bool((self.label == 1).any() and (self.label == 0).any())

    def share(self, values: Any) -> float:
        """The weighted mean."""
        return float(np.average(np.asarray(values, dtype=np.float64), weights=self.weight))


class Oracle(NamedTuple):
    """A function of rows and parameters, and whose answer it is."""

    source: Source
    function: Callable[..., float]

    def __call__(self, rows: Rows, **parameters: Any) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(self.function(rows, **parameters))


# --- decisions ---


class Decisions(NamedTuple):
    """Weighted counts of a confusion matrix, and the arguments that scikit-learn takes."""

    arguments: tuple[NDArray[Any], NDArray[Any]]
    weight: Floats
    tn: float
    fp: float
    fn: float
    tp: float


def decide(rows: Rows, threshold: float | None = None, strict: bool = False) -> Decisions:
    """Applies a threshold in the scores' own dtype; one half where none is given."""
    bound = rows.output.dtype.type(0.5 if threshold is None else threshold)
    decided = (rows.output > bound if strict else rows.output >= bound).astype(np.int8)
    matrix = sk.confusion_matrix(rows.label, decided, labels=[0, 1], sample_weight=rows.weight)
    return Decisions((rows.label, decided), rows.weight, *(float(v) for v in matrix.ravel()))


def _decided(function: Callable[..., float], **fixed: Any) -> Oracle:
    """An oracle that scikit-learn computes from labels and decisions."""

    def oracle(rows: Rows, *, threshold: float | None = None, strict: bool = False, **parameters: Any) -> float:
        d = decide(rows, threshold, strict)
        return function(*d.arguments, sample_weight=d.weight, **fixed, **parameters)

    return Oracle("scikit-learn", oracle)


def _where(defined: Callable[[Decisions], bool], function: Callable[..., float], **fixed: Any) -> Oracle:
    """The same, undefined where scikit-learn substitutes a number or takes a mean of what there is."""
    inner = _decided(function, **fixed).function

    def oracle(rows: Rows, *, threshold: float | None = None, strict: bool = False, **parameters: Any) -> float:
        if not defined(decide(rows, threshold, strict)):
            return math.nan
        return inner(rows, threshold=threshold, strict=strict, **parameters)

    return Oracle("scikit-learn", oracle)


def _counted(function: Callable[[Decisions], float], source: Source = "scikit-learn") -> Oracle:
    """An oracle by hand from scikit-learn's confusion matrix."""

    def oracle(rows: Rows, *, threshold: float | None = None, strict: bool = False) -> float:
        return function(decide(rows, threshold, strict))

    return Oracle(source, oracle)


def _over(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def _labels_differ(d: Decisions) -> bool:
    return min(d.tp + d.fn, d.tn + d.fp) > 0


def _all_margins(d: Decisions) -> bool:
    return _labels_differ(d) and min(d.tp + d.fp, d.tn + d.fn) > 0


def _any_positive(d: Decisions) -> bool:
    return d.tp + d.fp + d.fn > 0


def _likelihood(index: int, *arguments: Any, **weights: Any) -> float:
    return float(sk.class_likelihood_ratios(*arguments, **weights)[index])


def _positive_likelihood(*arguments: Any, **weights: Any) -> float:
    return _likelihood(0, *arguments, **weights)


def _negative_likelihood(*arguments: Any, **weights: Any) -> float:
    return _likelihood(1, *arguments, **weights)


def _fbeta(*arguments: Any, beta: float = 1.0, **weights: Any) -> float:
    return float(sk.fbeta_score(*arguments, beta=beta, **{"zero_division": np.nan, **weights}))


# --- scores ---


def _roc_auc(rows: Rows) -> float:
    return sk.roc_auc_score(rows.label, rows.output, sample_weight=rows.weight) if rows.both_classes else math.nan


def _average_precision(rows: Rows) -> float:
    if not (rows.label == 1).any():
        return math.nan
    return float(sk.average_precision_score(rows.label, rows.output, sample_weight=rows.weight))


def _trade_offs(rows: Rows) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and threshold at each distinct score."""
    precision, recall, threshold = sk.precision_recall_curve(rows.label, rows.output, sample_weight=rows.weight)
    return precision[:-1], recall[:-1], threshold


def _best(values: Floats, reached: NDArray[np.bool_]) -> float:
    return float(values[reached].max()) if reached.any() else math.nan


def _least(bound: float) -> float:
    return bound * (1 - 1e-12)


def _recall_at_precision(rows: Rows, *, precision: float = 0.9) -> float:
    if not (rows.label == 1).any():
        return math.nan
    precisions, recalls, _ = _trade_offs(rows)
    return _best(recalls, precisions >= _least(precision))


def _precision_at_recall(rows: Rows, *, recall: float = 0.8) -> float:
    if not (rows.label == 1).any():
        return math.nan
    precisions, recalls, _ = _trade_offs(rows)
    return _best(precisions, recalls >= _least(recall))


def _threshold_at_recall(rows: Rows, *, recall: float = 0.8) -> float:
    if not (rows.label == 1).any():
        return math.nan
    _, recalls, thresholds = _trade_offs(rows)
    return _best(thresholds.astype(np.float64), recalls >= _least(recall))


def _rates(rows: Rows) -> tuple[Floats, Floats]:
    false, true, _ = sk.roc_curve(rows.label, rows.output, sample_weight=rows.weight, drop_intermediate=False)
    return false, true


def _sensitivity_at_specificity(rows: Rows, *, specificity: float = 0.9) -> float:
    if not rows.both_classes:
        return math.nan
    false, true = _rates(rows)
    return _best(true, 1 - false >= _least(specificity))


def _kolmogorov_smirnov(rows: Rows) -> float:
    if not rows.both_classes:
        return math.nan
    if np.ptp(rows.weight) == 0:
        positives, negatives = (rows.score[rows.label == label] for label in (1, 0))
        return float(stats.ks_2samp(positives, negatives, method="asymp").statistic)
    false, true = _rates(rows)
    return float(np.abs(true - false).max())


# --- calibration ---


def _binned(rows: Rows, bins: int) -> list[tuple[float, float, float]]:
    """The share of the weight, the mean label and the mean score of each bin that holds rows."""
    index = np.minimum((rows.score * bins).astype(int), bins - 1)
    parts = [index == b for b in np.unique(index)]
    whole = rows.weight.sum()
    return [
        (
            float(rows.weight[p].sum() / whole),
            float(np.average(rows.label[p], weights=rows.weight[p])),
            float(np.average(rows.score[p], weights=rows.weight[p])),
        )
        for p in parts
    ]


def _expected_calibration_error(rows: Rows, *, bins: int = 10) -> float:
    return sum(share * abs(label - score) for share, label, score in _binned(rows, bins))


def _maximum_calibration_error(rows: Rows, *, bins: int = 10) -> float:
    return max(abs(label - score) for _, label, score in _binned(rows, bins))


def _brier_reliability(rows: Rows, *, bins: int = 10) -> float:
    return sum(share * (label - score) ** 2 for share, label, score in _binned(rows, bins))


def _brier_resolution(rows: Rows, *, bins: int = 10) -> float:
    mean = rows.share(rows.label)
    return sum(share * (label - mean) ** 2 for share, label, _ in _binned(rows, bins))


def _brier_uncertainty(rows: Rows) -> float:
    mean = rows.share(rows.label)
    return mean * (1 - mean)


def _log_odds(rows: Rows) -> Floats:
    result: Floats = special.logit(np.clip(rows.score, 2.0**-52, 1 - 2.0**-52))
    return result


def fits(rows: Rows) -> bool:
    """Whether the likelihood of a logistic regression on the scores has a maximum: the classes overlap."""
    if not rows.both_classes:
        return False
    x = _log_odds(rows)
    negatives, positives = x[rows.label == 0], x[rows.label == 1]
    return bool(negatives.max() > positives.min() and positives.max() > negatives.min())


def _calibration_slope(rows: Rows) -> float:
    if not fits(rows):
        return math.nan
    design = np.column_stack([np.ones(len(rows.label)), _log_odds(rows)])
    model = sm.GLM(rows.label.astype(float), design, family=sm.families.Binomial(), freq_weights=rows.weight)
    return float(model.fit(maxiter=200, tol=1e-14).params[1])


def _calibration_intercept(rows: Rows) -> float:
    if not rows.both_classes:
        return math.nan
    x = _log_odds(rows)

    def excess(shift: float) -> float:
        missed = np.where(rows.label == 1, special.expit(-x - shift), -special.expit(x + shift))
        return float((rows.weight * missed).sum())

    return float(optimize.brentq(excess, -120, 120, xtol=1e-13))


def rounding_of_the_intercept(rows: Rows, shift: float) -> float:
    """How far rounding moves the root of the excess of labels, which is nearly flat where all odds are long."""
    p = special.expit(_log_odds(rows) + shift)
    slope = float((rows.weight * p * (1 - p)).sum())
    return 1e-15 * float(rows.weight.sum()) / max(slope, 1e-300)


def _running(rows: Rows) -> tuple[float, float]:
    """Range of the running sum of label - score over distinct scores, and its standard deviation under calibration."""
    difference = rows.weight * (rows.label - rows.score)
    path = [0.0, *(float(difference[rows.score <= score].sum()) for score in np.unique(rows.score))]
    spread = math.sqrt(float((rows.weight**2 * rows.score * (1 - rows.score)).sum()))
    return max(path) - min(path), spread


def _cumulative_calibration_error(rows: Rows) -> float:
    return _running(rows)[0] / float(rows.weight.sum())


def _calibration_p_value(rows: Rows) -> float:
    """Integrates Feller's density of the range of a Brownian motion, 8 sum (-1)^(k-1) k^2 phi(k x)."""
    width, spread = _running(rows)
    if spread == 0:
        return math.nan
    x = width / spread
    k = np.arange(1, 2001)
    return 1.0 if x < 0.05 else float(np.clip(8 * np.sum((-1.0) ** (k - 1) * k * stats.norm.sf(k * x)), 0, 1))


# --- probabilities and columns ---


def _log_loss(rows: Rows) -> float:
    epsilon = float(np.finfo(rows.output.dtype).eps)
    inside = np.clip(rows.score, epsilon, 1 - epsilon)
    return sk.log_loss(rows.label, inside, sample_weight=rows.weight, labels=[0, 1])


def _brier_score(rows: Rows) -> float:
    return float(sk.brier_score_loss(rows.label, rows.score, sample_weight=rows.weight, pos_label=1))


def _calibration_ratio(rows: Rows) -> float:
    return _over(rows.share(rows.label), rows.share(rows.score))


def _column_mean(rows: Rows, *, column: str | None = None) -> float:
    return 1.0 if column is None else rows.share(rows.column)


def _column_total(rows: Rows, *, column: str | None = None) -> float:
    values = np.ones(len(rows.weight)) if column is None else rows.column
    return math.fsum(values * rows.weight)


# --- costs ---


def _costs(
    rows: Rows,
    tp: float | str = 0,
    fp: float | str = 1,
    fn: float | str = 1,
    tn: float | str = 0,
    threshold: float | None = None,
    strict: bool = False,
    bayes: bool = False,
    cap: float = math.inf,
) -> tuple[Floats, Floats, Floats]:
    """What each row costs as decided, if never and if always decided positive."""
    cost, never, always = np.zeros((3, len(rows.label)))
    bound = rows.output.dtype.type(0.5 if threshold is None else threshold)
    for i, (label, output) in enumerate(zip(rows.label, rows.output, strict=True)):
        of = {
            key: float(rows.column[i] if isinstance(value, str) else value)
            for key, value in {"tp": tp, "fp": fp, "fn": fn, "tn": tn}.items()
        }
        p = float(output)
        called = output > bound if strict else output >= bound
        if bayes:
            called = p * (of["fn"] - of["tp"]) >= (1 - p) * (of["fp"] - of["tn"])
        of = {key: min(max(value, -cap), cap) for key, value in of.items()}
        always[i], never[i] = (of["tp"], of["fn"]) if label == 1 else (of["fp"], of["tn"])
        cost[i] = always[i] if called else never[i]
    return cost, never, always


def _at_prevalence(rows: Rows, values: Floats, prevalence: float | None) -> float:
    if prevalence is None:
        return rows.share(values)
    if not rows.both_classes:
        return math.nan
    of_class = [np.average(values[rows.label == y], weights=rows.weight[rows.label == y]) for y in (0, 1)]
    return float((1 - prevalence) * of_class[0] + prevalence * of_class[1])


def _expected_cost(rows: Rows, *, prevalence: float | None = None, **costs: Any) -> float:
    return _at_prevalence(rows, _costs(rows, **costs)[0], prevalence)


def _saved(rows: Rows, versus: str, costs: Any) -> Floats:
    cost, never, always = _costs(rows, **costs)
    return (never if versus == "never" else always) - cost


def _cost_saved(rows: Rows, *, prevalence: float | None = None, versus: str = "never", **costs: Any) -> float:
    return _at_prevalence(rows, _saved(rows, versus, costs), prevalence)


def _value_per_positive(rows: Rows, *, versus: str = "never", **costs: Any) -> float:
    saved = math.fsum(_saved(rows, versus, costs) * rows.weight)
    return saved / float(rows.weight[rows.label == 1].sum()) if (rows.label == 1).any() else math.nan


def _normalized_cost(rows: Rows, *, prevalence: float | None = None, **costs: Any) -> float:
    cost, never, always = (_at_prevalence(rows, values, prevalence) for values in _costs(rows, **costs))
    return cost / min(never, always) if min(never, always) > 0 else math.nan


# --- regression ---


def _numbers(function: Callable[..., float], defined: Callable[[Rows], bool] | None = None) -> Oracle:
    """An oracle that scikit-learn computes from labels and predicted numbers."""

    def oracle(rows: Rows, **parameters: Any) -> float:
        if defined is not None and not defined(rows):
            return math.nan
        return function(rows.label, rows.output, sample_weight=rows.weight, **parameters)

    return Oracle("scikit-learn", oracle)


def _capped(function: Callable[..., float]) -> Oracle:
    """The same of errors cut off at `cap`."""

    def oracle(rows: Rows, *, cap: float | None = None) -> float:
        error = rows.output - rows.label
        error = error if cap is None else np.clip(error, -cap, cap)
        return function(np.zeros(len(error)), error, sample_weight=rows.weight)

    return Oracle("scikit-learn", oracle)


def _mean_error(rows: Rows, *, cap: float | None = None) -> float:
    error = rows.output - rows.label
    return rows.share(error if cap is None else np.clip(error, -cap, cap))


def _labels_vary(rows: Rows) -> bool:
    return bool(np.ptp(rows.label) > 0)


def _smape(rows: Rows) -> float:
    both = np.abs(rows.label) + np.abs(rows.output)
    return rows.share(np.where(both == 0, 0.0, 2 * np.abs(rows.output - rows.label) / np.where(both == 0, 1, both)))


def _huber(rows: Rows, *, delta: float = 1.0) -> float:
    return rows.share(special.huber(delta, rows.output - rows.label))


def _pearson(rows: Rows) -> float:
    if not _labels_vary(rows) or np.ptp(rows.output) == 0:
        return math.nan
    if np.ptp(rows.weight) == 0:
        return float(stats.pearsonr(rows.label, rows.output).statistic)
    label, output = (v - rows.share(v) for v in (rows.label, rows.output))
    return rows.share(label * output) / math.sqrt(rows.share(label**2) * rows.share(output**2))


def _pinball(*arguments: Any, alpha: float = 0.5, **weights: Any) -> float:
    return float(sk.mean_pinball_loss(*arguments, alpha=alpha, **weights))


def _tweedie(*arguments: Any, power: float = 1.5, **weights: Any) -> float:
    return float(sk.mean_tweedie_deviance(*arguments, **{"power": power, **weights}))


_NAN: dict[str, Any] = {"zero_division": np.nan}

ORACLES: dict[str, Oracle] = {
    "accuracy": _decided(sk.accuracy_score),
    "average_precision": Oracle("scikit-learn", _average_precision),
    "balanced_accuracy": _where(_labels_differ, sk.balanced_accuracy_score),
    "brier_reliability": Oracle("by hand", _brier_reliability),
    "brier_resolution": Oracle("by hand", _brier_resolution),
    "brier_score": Oracle("scikit-learn", _brier_score),
    "brier_uncertainty": Oracle("by hand", _brier_uncertainty),
    "calibration_intercept": Oracle("SciPy", _calibration_intercept),
    "calibration_p_value": Oracle("SciPy", _calibration_p_value),
    "calibration_ratio": Oracle("by hand", _calibration_ratio),
    "calibration_slope": Oracle("statsmodels", _calibration_slope),
    "cohen_kappa": _where(lambda d: min(d.tp, d.tn) > 0 or d.fp + d.fn > 0, sk.cohen_kappa_score),
    "cost_saved": Oracle("by hand", _cost_saved),
    "count": Oracle("by hand", lambda rows, column=None: len(rows.label)),  # noqa: ARG005
    "cumulative_calibration_error": Oracle("by hand", _cumulative_calibration_error),
    "diagnostic_odds_ratio": _counted(lambda d: _over(d.tp * d.tn, d.fp * d.fn), "by hand"),
    "expected_calibration_error": Oracle("by hand", _expected_calibration_error),
    "expected_cost": Oracle("by hand", _expected_cost),
    "explained_variance": _numbers(sk.explained_variance_score, _labels_vary),
    "f1": _decided(sk.f1_score, **_NAN),
    "false_discovery_rate": _counted(lambda d: _over(d.fp, d.tp + d.fp)),
    "false_negative_rate": _counted(lambda d: _over(d.fn, d.tp + d.fn)),
    "false_omission_rate": _counted(lambda d: _over(d.fn, d.tn + d.fn)),
    "false_positive_rate": _counted(lambda d: _over(d.fp, d.tn + d.fp)),
    "fbeta": _decided(_fbeta),
    "gini": Oracle("scikit-learn", lambda rows: 2 * _roc_auc(rows) - 1),
    "huber_loss": Oracle("SciPy", _huber),
    "informedness": _where(_labels_differ, sk.balanced_accuracy_score, adjusted=True),
    "jaccard": _where(_any_positive, sk.jaccard_score),
    "kolmogorov_smirnov": Oracle("SciPy", _kolmogorov_smirnov),
    "log_loss": Oracle("scikit-learn", _log_loss),
    "mae": _capped(sk.mean_absolute_error),
    "mape": _numbers(sk.mean_absolute_percentage_error),
    "markedness": _counted(lambda d: _over(d.tp, d.tp + d.fp) + _over(d.tn, d.tn + d.fn) - 1, "by hand"),
    "matthews_corrcoef": _where(_all_margins, sk.matthews_corrcoef),
    "maximum_calibration_error": Oracle("by hand", _maximum_calibration_error),
    "mean": Oracle("by hand", _column_mean),
    "mean_error": Oracle("by hand", _mean_error),
    "mean_gamma_deviance": _numbers(sk.mean_gamma_deviance),
    "mean_pinball_loss": _numbers(_pinball),
    "mean_poisson_deviance": _numbers(sk.mean_poisson_deviance),
    "mean_score": Oracle("by hand", lambda rows: rows.share(rows.score)),
    "mean_squared_log_error": _numbers(sk.mean_squared_log_error),
    "mean_tweedie_deviance": _numbers(_tweedie),
    "mse": _capped(sk.mean_squared_error),
    "negative_likelihood_ratio": _where(lambda d: _labels_differ(d) and d.tn > 0, _negative_likelihood),
    "negative_predictive_value": _decided(sk.precision_score, pos_label=0, **_NAN),
    "normalized_cost": Oracle("by hand", _normalized_cost),
    "pearson_r": Oracle("SciPy", _pearson),
    "positive_likelihood_ratio": _where(lambda d: _labels_differ(d) and d.fp > 0, _positive_likelihood),
    "positive_prediction_rate": _counted(lambda d: (d.tp + d.fp) / (d.tn + d.fp + d.fn + d.tp)),
    "precision": _decided(sk.precision_score, **_NAN),
    "precision_at_recall": Oracle("scikit-learn", _precision_at_recall),
    "prevalence": _counted(lambda d: (d.tp + d.fn) / (d.tn + d.fp + d.fn + d.tp)),
    "r2": _numbers(sk.r2_score, _labels_vary),
    "recall": _decided(sk.recall_score, **_NAN),
    "recall_at_precision": Oracle("scikit-learn", _recall_at_precision),
    "rmse": _capped(sk.root_mean_squared_error),
    "roc_auc": Oracle("scikit-learn", _roc_auc),
    "sensitivity_at_specificity": Oracle("scikit-learn", _sensitivity_at_specificity),
    "smape": Oracle("by hand", _smape),
    "specificity": _decided(sk.recall_score, pos_label=0, **_NAN),
    "threshold_at_recall": Oracle("scikit-learn", _threshold_at_recall),
    "total": Oracle("by hand", _column_total),
    "total_cost": Oracle("by hand", lambda rows, **costs: math.fsum(_costs(rows, **costs)[0] * rows.weight)),
    "value_per_positive": Oracle("by hand", _value_per_positive),
}

# --- the demo's data ---

DEMO_SLICES: list[Any] = [
    "sex",
    "race",
    "age=edges(6, 18, 30, 45, 55)",
    "income=quantiles(4)",
    "site",
    ["sex", "race"],
    ["race", "income=quantiles(4)"],
]


@dataclass(frozen=True)
class Agreement:
    """How far evalkit and scikit-learn are apart.

    Attributes:
        slices: how many slices were compared.
        pairs: pairs of a slice and a metric that both define.
        undefined: pairs that neither defines.
        largest_of_counts: largest difference of a metric of counts or ranks.
        largest_of_floats: largest relative difference of a metric that adds floats.
        differently_defined: pairs that one alone defines.
    """

    slices: int
    pairs: int
    undefined: int
    largest_of_counts: float
    largest_of_floats: float
    differently_defined: list[tuple[str, str]]

    def __str__(self) -> str:
        return (
            f"{self.pairs:,} pairs of {self.slices} slices and a metric; largest difference of counts and ranks "
            f"{self.largest_of_counts:.1e}, relative of float sums {self.largest_of_floats:.1e}; "
            f"{self.undefined} undefined in both, {len(self.differently_defined)} in one"
        )


def agreement(scored: pl.DataFrame, model: str) -> Agreement:
    """Compares every slice of the demo and every binary metric that scikit-learn has too."""
    shared = [m for n, m in catalog().items() if m.task == "binary" and ORACLES[n].source == "scikit-learn"]
    result = ek.evaluate(scored, label="label", score=model, metrics=shared, slices=DEMO_SLICES)
    plan = result.evaluations[0].plan
    found = {(row["slice"], row["metric"]): row["value"] for row in result.to_polars().iter_rows(named=True)}
    counts, floats, undefined, differently = [0.0], [0.0], 0, []
    for text, rows in _demo_rows(scored, model, plan):
        for metric in shared:
            ours, theirs = found[text, metric.name], ORACLES[metric.name](rows)
            if math.isnan(ours) or math.isnan(theirs):
                undefined += math.isnan(ours) and math.isnan(theirs)
                differently += [(text, metric.name)] if math.isnan(ours) != math.isnan(theirs) else []
            elif metric.statistic.form == "sums":
                floats.append(abs(ours - theirs) / abs(theirs))
            else:
                counts.append(abs(ours - theirs))
    pairs = len(counts) + len(floats) - 2
    return Agreement(len(plan.slices), pairs, undefined, max(counts), max(floats), differently)


def _demo_rows(scored: pl.DataFrame, model: str, plan: Plan) -> Iterator[tuple[str, Rows]]:
    """Filters the rows of each slice, by its key and the frozen edges of its bins."""
    edges = {d.name: d.argument for s in plan.slice_sets for d in s.dimensions if d.form == "edges"}
    for text, key in zip(plan.texts, plan.slices, strict=True):
        held = scored.filter(_holds(name, value, edges.get(name, ())) for name, value in key) if key else scored
        ones = np.ones(held.height)
        yield text, Rows(held["label"].to_numpy(), held[model].to_numpy(), ones, ones)


def _holds(name: str, value: str | None, edges: tuple[float, ...]) -> pl.Expr:
    if value is None:
        return pl.col(name).is_null()
    if not edges:
        return pl.col(name) == value
    low, high = (float(end) for end in value[1:-1].split(", "))
    return (pl.col(name) >= low) & (pl.col(name) < high)
