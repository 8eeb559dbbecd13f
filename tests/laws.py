"""What every metric must satisfy, stated once; `test_laws.py` applies it to every metric of the catalog.

A law takes a family (the metrics that read one statistic) and a table, and raises AssertionError naming the metric and
the slice that break it. A metric of one's own is held to the same laws:

    family = Family("mine", (my_metric,))
    held_by_slices(family, table)
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from hypothesis import strategies as st
from oracles import ORACLES, Rows, rounding_of_the_intercept

import evalkit as ek
from evalkit.estimate import Estimate, estimate
from evalkit.metric import Metric
from evalkit.metrics import catalog
from evalkit.results import Result

# Metrics are tried with these parameters besides their defaults.
BOUND: Mapping[str, Mapping[str, float | int | bool | str]] = {
    "accuracy": {"threshold": 0.25, "strict": True},
    "cost_saved": {"fn": "x", "bayes": True},
    "expected_cost": {"fn": "x", "tp": -1.5, "prevalence": 0.2},
    "expected_calibration_error": {"bins": 3},
    "fbeta": {"beta": 2.0},
    "huber_loss": {"delta": 0.5},
    "mae": {"cap": 1.5},
    "mean_error": {"cap": 1.5},
    "mean_pinball_loss": {"alpha": 0.9},
    "mean_tweedie_deviance": {"power": 1.2},
    "mse": {"cap": 1.5},
    "normalized_cost": {"fn": 5.0, "tp": 1.0, "fp": 2, "threshold": 0.3, "prevalence": 0.3},
    "precision": {"threshold": 0.3},
    "precision_at_recall": {"recall": 0.5},
    "recall_at_precision": {"precision": 0.6},
    "rmse": {"cap": 1.5},
    "sensitivity_at_specificity": {"specificity": 0.5},
    "threshold_at_recall": {"recall": 0.5},
    "total_cost": {"fp": "x", "tn": -0.5, "cap": 100.0},
    "value_per_positive": {"fn": 10.0, "versus": "always", "strict": True, "threshold": 0.5},
}
# Sums over no rows are 0, and no quotient that could be undefined.
SUMS = {"count", "total", "total_cost"}
# Rows are not weights: the number of rows, and a p-value, which tells their precision.
OF_ROWS = {"count", "calibration_p_value"}
# Found by iterations, so known to their tolerance.
ITERATED = {"calibration_slope", "calibration_intercept"}


@dataclass(frozen=True)
class Family:
    """The metrics that read one statistic."""

    name: str
    metrics: tuple[Metric, ...]

    @property
    def task(self) -> Literal["binary", "regression"]:
        return self.metrics[0].task or "binary"

    @property
    def form(self) -> str:
        return self.metrics[0].statistic.form

    @property
    def exact(self) -> bool:
        """Whether its tables hold numbers that add without rounding.

        A variance of 0 is told from one of 1e-12 by the rounding of values minus a pivot, so constants must be exact.
        """
        return self.name == "moments"

    @property
    def tolerance(self) -> float:
        """How far float sums taken in another order may move a value; relative above 1."""
        return 1e-6 if self.form == "sums" else 1e-9


def _families() -> dict[str, Family]:
    members: dict[str, list[Metric]] = defaultdict(list)
    for name, metric in catalog().items():
        column = "column" in metric.statistic.parameters
        members[metric.statistic.name].append(metric(column="x") if column else metric)
        if name in BOUND:
            members[metric.statistic.name].append(metric(**BOUND[name]))
    return {name: Family(name, tuple(metrics)) for name, metrics in sorted(members.items())}


FAMILIES = _families()

# --- tables ---

_SCORES = [0.0, 1.0, 0.5, 0.25, 0.3, 0.7, 0.1, 0.9, 1e-12, 1 - 1e-12, 1e-5, 1 - 1e-5, 0.499999999, 0.500000001]
_WEIGHTS = [0.0, 0.1, 0.2, 0.5, 1.0, 1.0, 2.0, 3.0]
_NUMBERS = [0.0, 0.1, 0.2, 0.3, -1.0, 1.0, 2.5, -0.5, 7.0, 1000.1, 12345.678]


@st.composite
def tables(draw: st.DrawFn, family: Family, most: int = 24, weights: Iterable[float] = _WEIGHTS) -> pl.DataFrame:
    """Small tables: y, p, w (a weight), s (a slice, null at times), u (a unit), x (another number)."""
    label, output = (_labels(family), _outputs(family))
    row = st.tuples(
        label,
        output,
        st.sampled_from([w for w in weights if not family.exact or w % 0.5 == 0]),
        st.sampled_from(["a", "b", None]),
        st.integers(0, 5),
        st.sampled_from(_NUMBERS),
    )
    rows = draw(st.lists(row, min_size=1, max_size=most))
    if not any(r[2] for r in rows):
        rows[0] = (*rows[0][:2], 1.0, *rows[0][3:])
    narrow = family.task == "binary" and draw(st.booleans())
    schema = {
        "y": pl.Int64 if family.task == "binary" else pl.Float64,
        "p": pl.Float32 if narrow else pl.Float64,
        "w": pl.Float64,
        "s": pl.String,
        "u": pl.Int64,
        "x": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _labels(family: Family) -> st.SearchStrategy[float]:
    if family.task == "binary":
        return st.integers(0, 1)
    return _numbers(family, {"label positive": 0.1, "label not negative": 0.0, "above -1": -0.5})


def _outputs(family: Family) -> st.SearchStrategy[float]:
    if family.task == "binary":
        return st.one_of(st.sampled_from(_SCORES), st.floats(1e-12, 1))
    return _numbers(family, {"prediction positive": 0.1, "above -1": -0.5})


def _numbers(family: Family, lowest: Mapping[str, float]) -> st.SearchStrategy[float]:
    least = max((lowest[need] for need in family.metrics[0].statistic.needs if need in lowest), default=-250.0)
    eighths = st.integers(math.ceil(8 * least), 2000).map(lambda value: value / 8)
    return eighths if family.exact else eighths | st.sampled_from([v for v in _NUMBERS if v >= least])


# --- what is compared ---


class Found(NamedTuple):
    """One metric in one slice."""

    value: float
    rows: int
    variance: float
    gradient: Any
    bound: float


Answers = dict[tuple[str, str], Found]


def evaluate(
    family: Family, table: pl.DataFrame, *, weighted: bool = True, sliced: bool = True, **settings: Any
) -> Result:
    """Evaluates every metric of a family."""
    role: dict[str, Any] = {"score" if family.task == "binary" else "prediction": "p"}
    weight = "w" if weighted else None
    slices = ["s"] if sliced else []
    return ek.evaluate(
        table, label="y", weight=weight, slices=slices, metrics=family.metrics, task=family.task, **role, **settings
    )


def answers(result: Result) -> Answers:
    """Values and gradients by slice and metric, without drawing bootstrap samples."""
    [evaluation] = result.evaluations
    found: Answers = {}
    by_statistic: dict[str, list[tuple[str, Metric]]] = defaultdict(list)
    for name, metric in evaluation.metrics:
        by_statistic[metric.statistic.identity].append((name, metric))
    for identity, named in by_statistic.items():
        sums = evaluation.sums[identity]
        for (name, _), made in zip(named, estimate([m for _, m in named], sums), strict=True):
            for index, text in enumerate(evaluation.plan.texts):
                found[text, name] = _found(made, sums, index)
    return found


def _found(made: Estimate, sums: Any, index: int) -> Found:
    of_entries = hasattr(sums, "keys")
    gradient = made.gradient[sums.margin().slices == index] if of_entries else made.gradient[index]
    return Found(
        float(made.value[index]), int(made.rows[index]), float(made.variance[index]), gradient, float(made.bound[index])
    )


def assert_same(family: Family, ours: Answers, theirs: Answers) -> None:
    """Raises unless every value, and the number of rows, is the same; NaN only with NaN."""
    assert ours.keys() == theirs.keys(), f"slices or metrics differ: {set(ours) ^ set(theirs)}"
    for key, mine in ours.items():
        assert_close(key, mine.value, theirs[key].value, family.tolerance)
        assert mine.rows == theirs[key].rows, f"{key}: {mine.rows} rows, not {theirs[key].rows}"


def assert_same_variance(family: Family, ours: Answers, theirs: Answers) -> None:
    """Raises unless every variance is the same, as far as sums of squares in another order are.

    A maximum is not smooth: where two places tie, rounding decides which of them its variance comes from.
    """
    smooth = {metric.name for metric in family.metrics if metric.kind not in ("none", "bootstrap")}
    for key, mine in ours.items():
        if key[1] not in smooth:
            continue
        other = theirs[key].variance
        within = 1e-7 * max(1.0, abs(mine.value)) ** 2 + 1e-6 * abs(other)
        assert abs(mine.variance - other) <= within, f"{key}: variance {mine.variance} against {other}"


def assert_close(key: Any, mine: float, other: float, tolerance: float) -> None:
    """Raises unless two numbers are equal within a tolerance, relative above 1."""
    assert math.isnan(mine) == math.isnan(other), f"{key}: {mine} against {other}"
    same = mine == other or math.isnan(mine) or abs(mine - other) <= tolerance * max(1.0, abs(other))
    assert same, f"{key}: {mine!r} against {other!r}, off by {abs(mine - other):.1e}"


# --- the laws ---


def held_by_any_order(family: Family, table: pl.DataFrame, seed: int) -> None:
    """The order of the rows does not matter."""
    shuffled = table.sample(fraction=1, shuffle=True, seed=seed)
    assert_same(family, answers(evaluate(family, shuffled)), answers(evaluate(family, table)))


def held_by_any_split(family: Family, table: pl.DataFrame, cuts: tuple[int, int]) -> None:
    """Parts add up to the whole, in any order and grouping."""
    first, second = sorted(1 + cut % (table.height + 1) for cut in cuts)
    parts = [part for part in (table[:first], table[first:second], table[second:]) if part["w"].sum() > 0]
    results = [evaluate(family, part) for part in parts]
    whole = answers(evaluate(family, table))
    assert_same(family, answers(_sum(results)), whole)
    assert_same(family, answers(_sum(results[::-1])), whole)
    if len(results) == 3:
        assert_same(family, answers(results[0] + (results[1] + results[2])), whole)


def _sum(results: list[Result]) -> Result:
    total = results[0]
    for result in results[1:]:
        total = total + result
    return total


def held_by_subtraction(family: Family, table: pl.DataFrame, cut: int) -> None:
    """What was added can be taken away: the counts of rows come back, and values as far as float sums do."""
    size = cut % table.height
    left, right = table[: size + 1], table[size + 1 :]
    if not (left["w"].sum() > 0 and right["w"].sum() > 0):
        return
    a, b = evaluate(family, left), evaluate(family, right)
    before, after = answers(a), answers((a + b) - b)
    for key, found in after.items():
        known = before.get(key)
        assert found.rows == (known.rows if known else 0), f"{key}: {found.rows} rows"
        if family.form != "sums" and known:
            assert_close(key, found.value, known.value, 1e-6)
        if not found.rows and key[1].split("@")[0] not in SUMS:
            assert math.isnan(found.value), f"{key}: {found.value} of no rows"


def held_by_nothing(family: Family, table: pl.DataFrame) -> None:
    """Of no rows everything is undefined, with finite gradients; nothing added changes nothing."""
    result = evaluate(family, table)
    nothing = result - result
    for key, found in answers(nothing).items():
        assert found.rows == 0
        assert np.isfinite(found.gradient).all(), f"{key}: gradient {found.gradient}"
        expected = 0.0 if key[1].split("@")[0] in SUMS else math.nan
        assert_close(key, found.value, expected, 0.0)
    assert_same(family, answers(result + nothing), answers(result))
    assert_same(family, answers(nothing + result), answers(result))


def held_by_slices(family: Family, table: pl.DataFrame) -> None:
    """A slice is what filtering the rows first would have given: values, rows, statuses, variances."""
    sliced = answers(evaluate(family, table))
    for value in table["s"].unique():
        rows = table.filter(pl.col("s").eq_missing(value))
        text = f"s={'null' if value is None else value}"
        mine = {("overall", name): found for (slice_, name), found in sliced.items() if slice_ == text}
        if rows["w"].sum() == 0:
            assert not mine, f"{text} holds no rows"
            continue
        alone = answers(evaluate(family, rows, sliced=False))
        assert_same(family, mine, alone)
        assert_same_variance(family, mine, alone)


def held_by_repetition(family: Family, table: pl.DataFrame) -> None:
    """An integer weight k gives the value of the row k times, though not its precision."""
    repeated = table.select(pl.all().repeat_by(pl.col("w").cast(pl.UInt32)).explode(empty_as_null=False))
    once, often = answers(evaluate(family, table)), answers(evaluate(family, repeated, weighted=False))
    for key, found in once.items():
        if key[1].split("@")[0] not in OF_ROWS:
            assert_close(key, found.value, often[key].value, family.tolerance)


def held_by_weightless_rows(family: Family, table: pl.DataFrame) -> None:
    """A row of weight 0 changes nothing."""
    bare = table.filter(pl.col("w") > 0)
    extended = pl.concat([table, bare.with_columns(w=pl.lit(0.0))]).sample(fraction=1, shuffle=True, seed=0)
    assert_same(family, answers(evaluate(family, extended)), answers(evaluate(family, bare)))


def held_by_equal_weights(family: Family, table: pl.DataFrame) -> None:
    """Weights of 1 are no weights."""
    ones = table.with_columns(w=pl.lit(1.0))
    assert_same(family, answers(evaluate(family, ones)), answers(evaluate(family, ones, weighted=False)))


def held_by_oracles(family: Family, table: pl.DataFrame, weighted: bool) -> None:
    """Every value is the oracle's, and undefined exactly where that is."""
    found = answers(evaluate(family, table, weighted=weighted))
    table = table.filter(pl.col("w") > 0) if weighted else table
    for text, rows in _by_slice(table, weighted):
        for metric in family.metrics:
            expected = ORACLES[metric.name_of_function](rows, **_given(metric))
            tolerance = 1e-6 if metric.name_of_function in ITERATED else family.tolerance
            if metric.name_of_function == "calibration_intercept" and math.isfinite(expected):
                tolerance = max(tolerance, rounding_of_the_intercept(rows, expected))
            assert_close((text, metric.name), found[text, metric.name].value, expected, tolerance)


def _given(metric: Metric) -> dict[str, Any]:
    """The parameters that a metric has and that differ from their defaults."""
    defaults = metric.all_parameters()
    return {key: value for key, value in metric.parameters.items() if value != defaults.get(key)}


def _by_slice(table: pl.DataFrame, weighted: bool) -> Iterable[tuple[str, Rows]]:
    yield "overall", rows_of(table, weighted)
    for value in table["s"].unique():
        part = table.filter(pl.col("s").eq_missing(value))
        yield f"s={'null' if value is None else value}", rows_of(part, weighted)


def rows_of(table: pl.DataFrame, weighted: bool) -> Rows:
    """A table's rows as oracles see them."""
    weight = table["w"].to_numpy() if weighted else np.ones(table.height)
    return Rows(table["y"].to_numpy(), table["p"].to_numpy(), weight, table["x"].to_numpy())


def held_at_every_edge(family: Family, table: pl.DataFrame) -> None:
    """Gradients and variances are finite everywhere, values lie in the range that the metric declares."""
    ranges = {metric.name: metric.range for metric in family.metrics}
    for rows in (table, table.head(1).with_columns(w=pl.lit(1.0))):
        for key, found in answers(evaluate(family, rows)).items():
            low, high = ranges[key[1]]
            assert np.isfinite(found.gradient).all(), f"{key}: gradient {found.gradient}"
            assert math.isfinite(found.variance), f"{key}: variance {found.variance}"
            assert found.variance >= 0, f"{key}: variance {found.variance}"
            assert math.isnan(found.value) or low <= found.value <= high, f"{key}: {found.value!r} outside its range"


def held_by_the_table(family: Family, table: pl.DataFrame) -> None:
    """In the results table low <= value <= high in the metric's range, and a status says what is missing."""
    ranges = {metric.name: metric.range for metric in family.metrics}
    for row in evaluate(family, table).to_polars().iter_rows(named=True):
        key, value, low, high = (row["slice"], row["metric"]), row["value"], row["low"], row["high"]
        bottom, top = ranges[row["metric"]]
        assert math.isnan(value) == (row["status"] == "undefined"), f"{key}: {value} is {row['status']}"
        assert math.isnan(low) == math.isnan(high), f"{key}: from {low} to {high}"
        assert math.isnan(low) or bottom <= low <= value <= high <= top, f"{key}: {low} <= {value} <= {high}"
        assert row["status"] == "ok" or math.isnan(low), f"{key}: an interval though {row['status']}"


def held_by_chunks(family: Family, table: pl.DataFrame, chunk_rows: int) -> None:
    """The size of a chunk does not matter."""
    assert_same(family, answers(evaluate(family, table, chunk_rows=chunk_rows)), answers(evaluate(family, table)))


def held_by_units(family: Family, table: pl.DataFrame) -> None:
    """Units change what an interval is, never a value."""
    assert_same(family, answers(evaluate(family, table, unit="u")), answers(evaluate(family, table)))


def held_by_added_units(family: Family, table: pl.DataFrame, cut: int) -> None:
    """Units that two parts share are one unit in the sum: variances add up as well."""
    size = 1 + cut % table.height
    parts = [part for part in (table[:size], table[size:]) if part["w"].sum() > 0]
    whole = answers(evaluate(family, table, unit="u"))
    added = answers(_sum([evaluate(family, part, unit="u") for part in parts]))
    assert_same(family, added, whole)
    assert_same_variance(family, added, whole)
