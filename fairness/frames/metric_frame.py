"""Metrics by group, as fairlearn's `MetricFrame` answers, with all groups counted at once.

>>> from evalkit.fairness import MetricFrame, selection_rate, true_positive_rate
>>> frame = MetricFrame(
...     metrics={"selected": selection_rate, "recall": true_positive_rate},
...     y_true=[0, 1, 1, 1], y_pred=[0, 1, 1, 0], sensitive_features=["f", "f", "m", "m"])
>>> frame.by_group["recall"].to_dict()
{'f': 1.0, 'm': 0.5}
>>> frame.difference().to_dict()
{'selected': 0.0, 'recall': 0.5}
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evalkit.errors import ConfigError, DataError
from evalkit.fairness.frames.features import Feature, features, pandas
from evalkit.fairness.frames.grouped import Cells, drawn_rows, group_values, readings, sample_seeds, sample_values
from evalkit.fairness.frames.known import Known, has_two_labels, known
from evalkit.metric import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Errors = Literal["raise", "coerce"]
Method = Literal["between_groups", "to_overall"]
Answer = Any
"""A scalar, a pandas Series or a pandas DataFrame; see `MetricFrame.overall`."""


@dataclass(frozen=True)
class _Asked:
    """A metric as it was asked for: its function, what we know it as, and its parameters by row."""

    name: str
    function: Callable[..., Any]
    known: Known | None
    parameters: Mapping[str, NDArray[Any]]


class MetricFrame:
    """Metrics of every group, and what is lowest, highest, and how far groups differ.

    As `fairlearn.metrics.MetricFrame` (0.15), but:

    - a metric without a denominator in a group (a true positive rate without positives) is NaN there, not 0; lowest,
      highest, differences and ratios are of the groups where it is defined;
    - labels that are words need a `pos_label`;
    - names of Polars and Arrow columns are kept;
    - `sample_params={"sample_weight": w}` may be given once for all metrics of a dict;
    - functions of scikit-learn, of fairlearn and metrics of ours are counted for all groups at once; others are called
      group by group.

    Samples of a bootstrap with the same whole number as `random_state` are those that fairlearn draws.

    Args:
        metrics: a callable `(y_true, y_pred, **parameters)`, or a dict of such.
        y_true: [rows] labels or numbers.
        y_pred: [rows] predictions or scores.
        sensitive_features: columns whose values are groups.
        control_features: columns within whose values groups are compared.
        sample_params: parameters by row of the callable, or for each name of the dict.
        n_boot: the number of bootstrap samples.
        ci_quantiles: the quantiles of their values.
        random_state: fixes the samples.

    Raises:
        DataError: rows differ in number, features have missing values, or labels are not what a metric reads.
        ConfigError: a setting cannot hold.
    """

    def __init__(
        self,
        *,
        metrics: Callable[..., Any] | Mapping[str, Callable[..., Any]],
        y_true: Any,
        y_pred: Any,
        sensitive_features: Any,
        control_features: Any = None,
        sample_params: Mapping[str, Any] | None = None,
        n_boot: int | None = None,
        ci_quantiles: Sequence[float] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        truth, prediction = _array("y_true", y_true), _array("y_pred", y_pred)
        if len(truth) != len(prediction):
            raise DataError(f"y_true has {len(truth):,} rows, but y_pred has {len(prediction):,}.")
        if not len(truth):
            raise DataError("There are no rows.")
        self._one = not isinstance(metrics, Mapping)
        asked = _asked(metrics, sample_params, truth, prediction)
        controls = [] if control_features is None else features("control_feature_", control_features, len(truth))
        sensitive = features("sensitive_feature_", sensitive_features, len(truth))
        self._groups = _Groups(controls, sensitive)
        names = [feature.name for feature in (*controls, *sensitive)]
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"Two features are named {name}.")
        self._controls, self._sensitive = names[: len(controls)], names[len(controls) :]
        self._names = [one.name for one in asked]
        frame = _Values(asked, truth, prediction, self._groups)
        values, self._objects, self._whole = frame.values()
        self._values = self._groups.spread(values)
        self._n_boot, self._quantiles = n_boot, list(ci_quantiles) if ci_quantiles else None
        self._samples: _Spread | None = None
        if (n_boot is None) != (self._quantiles is None):
            raise ConfigError("A bootstrap needs both n_boot and ci_quantiles.")
        if n_boot is not None and self._quantiles is not None:
            _require_bootstrap(n_boot, self._quantiles)
            self._samples = self._groups.spread(frame.samples(sample_seeds(random_state, n_boot)))

    # --- values ---

    @property
    def overall(self) -> Answer:
        """The metrics of all rows.

        A scalar for one callable, a Series by metric for a dict; with control features a Series or a DataFrame by
        their levels.
        """
        if self._objects and not self._controls:
            whole = pandas().Series({name: self._objects.get(name, [self._scalar(name)])[0] for name in self._names})
            return whole.iloc[0] if self._one else whole
        if self._objects:
            found = {name: of[: self._groups.n_strata] for name, of in self._objects.items()}
            return self._with(self._by(self._groups.control_index(), self._values.overall), found, self._groups.strata)
        return self._answer(self._values.overall, self._whole)

    @property
    def by_group(self) -> Answer:
        """The metrics of each group, a Series for one callable, a DataFrame for a dict; NaN where a cross is empty."""
        table = self._by(self._groups.index(), self._values.by_group(), whole=self._whole)
        found = {name: of[self._groups.n_strata :] for name, of in self._objects.items()}
        return self._with(table, found, self._groups.present)

    @property
    def control_levels(self) -> list[str] | None:
        """The names of the control features; None without."""
        return self._controls or None

    @property
    def sensitive_levels(self) -> list[str]:
        """The names of the sensitive features."""
        return self._sensitive

    @property
    def ci_quantiles(self) -> list[float] | None:
        """The quantiles of the bootstrap."""
        return self._quantiles

    @property
    def n_boot(self) -> int | None:
        """The number of bootstrap samples."""
        return self._n_boot

    def group_min(self, errors: Errors = "raise") -> Answer:
        """Returns the lowest value of the groups, by control level as `overall`.

        Args:
            errors: what values that are no scalars do: `raise`, or become NaN (`coerce`).
        """
        return self._compared("group_min", None, errors)

    def group_max(self, errors: Errors = "raise") -> Answer:
        """Returns the highest value of the groups; see `group_min`."""
        return self._compared("group_max", None, errors)

    def difference(self, method: Method = "between_groups", errors: Errors = "coerce") -> Answer:
        """Returns the largest distance between two groups, or of a group to all rows (`to_overall`)."""
        return self._compared("difference", method, errors)

    def ratio(self, method: Method = "between_groups", errors: Errors = "coerce") -> Answer:
        """Returns the lowest ratio of two groups, or of a group and all rows, the larger below (`to_overall`)."""
        return self._compared("ratio", method, errors)

    # --- quantiles of bootstrap samples ---

    @property
    def overall_ci(self) -> list[Answer]:
        """The quantiles of `overall`, one after another."""
        return self._quantiles_of(lambda spread: spread.overall, self._answer)

    @property
    def by_group_ci(self) -> list[Answer]:
        """The quantiles of `by_group`."""
        return self._quantiles_of(
            lambda spread: spread.by_group(), lambda v: self._with(self._by(self._groups.index(), v))
        )

    def group_min_ci(self) -> list[Answer]:
        """Returns the quantiles of `group_min`."""
        return self._compared_ci("group_min", None)

    def group_max_ci(self) -> list[Answer]:
        """Returns the quantiles of `group_max`."""
        return self._compared_ci("group_max", None)

    def difference_ci(self, method: Method = "between_groups") -> list[Answer]:
        """Returns the quantiles of `difference`; no interval for the true gap, which they overstate."""
        return self._compared_ci("difference", method)

    def ratio_ci(self, method: Method = "between_groups") -> list[Answer]:
        """Returns the quantiles of `ratio`; no interval for the true ratio."""
        return self._compared_ci("ratio", method)

    # --- how ---

    def _compared(self, what: str, method: str | None, errors: str) -> Answer:
        _require("errors", errors, ("raise", "coerce"))
        if errors == "raise" and any(not np.isscalar(v) for values in self._objects.values() for v in values):
            raise DataError('A metric gives more than a scalar: leave it out, or use errors="coerce".')
        return self._answer(_comparison(what, method)(self._values), self._whole and what != "ratio")

    def _compared_ci(self, what: str, method: str | None) -> list[Answer]:
        compare = _comparison(what, method)
        return self._quantiles_of(compare, self._answer)

    def _quantiles_of(self, of: Callable[[_Spread], Floats], made: Callable[[Floats], Answer]) -> list[Answer]:
        if self._samples is None or self._quantiles is None:
            raise ConfigError("There are no bootstrap samples: give n_boot and ci_quantiles.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # nowhere defined: NaN
            found = np.nanquantile(of(self._samples), self._quantiles, axis=0)
        return [made(values) for values in found]

    def _scalar(self, name: str) -> Any:
        value = self._values.overall[0, self._names.index(name)]
        return int(value) if self._whole else value

    def _answer(self, values: Floats, whole: bool = False) -> Answer:
        """Returns values [strata, metrics] as `overall` is."""
        if self._controls:
            return self._with(self._by(self._groups.control_index(), values, whole=whole))
        found = pandas().Series(_typed(values[0], whole), index=self._names)
        return found.iloc[0] if self._one else found

    def _by(self, index: Any, values: Floats, *, whole: bool = False) -> Any:
        return pandas().DataFrame(_typed(values, whole), index=index, columns=self._names)

    def _with(self, table: Any, objects: Mapping[str, list[Any]] | None = None, places: Any = ()) -> Answer:
        """Returns a table with what is no scalar at its places; of one callable its column."""
        for name, found in (objects or {}).items():
            column = np.full(len(table), np.nan, dtype=object)
            for place, value in zip(places, found, strict=True):
                column[place] = value
            table[name] = column
        return table.iloc[:, 0] if self._one else table


def _typed(values: Floats, whole: bool) -> NDArray[Any]:
    """Returns whole numbers as such, unless some are missing."""
    return values.astype(np.int64) if whole and not np.isnan(values).any() else values


@dataclass(frozen=True)
class _Spread:
    """Values of every cross of levels, NaN where there are no rows.

    Attributes:
        overall: [..., strata, metrics].
        groups: [..., strata, groups, metrics].
    """

    overall: Floats
    groups: Floats

    def by_group(self) -> Floats:
        return self.groups.reshape(*self.groups.shape[:-3], -1, self.groups.shape[-1])


class _Groups:
    """The crosses of control and sensitive features: which hold rows, and where they stand among all."""

    def __init__(self, controls: Sequence[Feature], sensitive: Sequence[Feature]) -> None:
        if not sensitive:
            raise ConfigError("There are no sensitive features.")
        self.controls, self.sensitive = controls, sensitive
        self._strata, self._width = (_size(part) for part in (controls, sensitive))
        code = _crossed([*controls, *sensitive])
        if self._strata * self._width <= 4 * len(code) + 1000:
            count = np.bincount(code, minlength=self._strata * self._width)
            self.present = np.flatnonzero(count)
            codes = code if len(self.present) == len(count) else (np.cumsum(count > 0) - 1)[code]
        else:
            self.present, codes = np.unique(code, return_inverse=True)
        self.strata, strata = np.unique(self.present // self._width, return_inverse=True)
        self.n_strata = len(self.strata)
        self.cells = Cells(codes.astype(np.int32), strata.astype(np.int32), self.n_strata)

    def spread(self, values: Floats) -> _Spread:
        """Spreads values [..., strata and groups that hold rows, metrics] over all crosses."""
        head, metrics = values.shape[:-2], values.shape[-1]
        overall = np.full((*head, self._strata, metrics), np.nan)
        overall[..., self.strata, :] = values[..., : self.n_strata, :]
        groups = np.full((*head, self._strata * self._width, metrics), np.nan)
        groups[..., self.present, :] = values[..., self.n_strata :, :]
        return _Spread(overall, groups.reshape(*head, self._strata, self._width, metrics))

    def index(self) -> Any:
        return _index([*self.controls, *self.sensitive])

    def control_index(self) -> Any:
        return _index(self.controls)


def _size(parts: Sequence[Feature]) -> int:
    return int(np.prod([len(feature.levels) for feature in parts], dtype=np.int64)) if parts else 1


def _crossed(parts: Sequence[Feature]) -> NDArray[np.int64]:
    code = parts[0].codes
    for feature in parts[1:]:
        code = code * len(feature.levels) + feature.codes
    return code


def _index(parts: Sequence[Feature]) -> Any:
    pd = pandas()
    return parts[0].levels if len(parts) == 1 else pd.MultiIndex.from_product([feature.levels for feature in parts])


class _Values:
    """The values of metrics, known or called."""

    def __init__(self, asked: Sequence[_Asked], truth: Any, prediction: Any, groups: _Groups) -> None:
        self.asked, self.truth, self.prediction = asked, truth, prediction
        self.cells = groups.cells
        own = [(place, one) for place, one in enumerate(asked) if one.known is not None]
        self._places = [place for place, _ in own]
        self._called = [place for place, one in enumerate(asked) if one.known is None]
        wanted = [one.known for _, one in own if one.known is not None]
        self._readings = readings(wanted, [one.parameters.get("sample_weight") for _, one in own], truth, prediction)

    def values(self) -> tuple[Floats, dict[str, list[Any]], bool]:
        """Returns values [slices, metrics], those of metrics that give more than scalars, and whether all are whole."""
        values = np.full((self.cells.slices, len(self.asked)), np.nan)
        values[:, self._places] = group_values(self._readings, self.cells, len(self._places))
        objects = {}
        whole = all(one.known.reads == "rows" for one in self.asked if one.known)
        for place in self._called:
            found = self._call(self.asked[place], None)
            numbers = [_number(value) for value in found]
            values[:, place] = numbers
            if any(np.isnan(number) and not _is_nan(value) for number, value in zip(numbers, found, strict=True)):
                objects[self.asked[place].name] = found
            whole &= all(_is_whole(value) for value in found)
        return values, objects, whole and bool(self.asked)

    def samples(self, seeds: NDArray[np.uint32]) -> Floats:
        """Returns values of bootstrap samples, [samples, slices, metrics]."""
        values = np.full((len(seeds), self.cells.slices, len(self.asked)), np.nan)
        values[:, :, self._places] = sample_values(self._readings, self.cells, len(self._places), seeds)
        if self._called:
            for number, seed in enumerate(seeds):
                drawn = drawn_rows(int(seed), len(self.truth))
                for place in self._called:
                    values[number, :, place] = [_number(value) for value in self._call(self.asked[place], drawn)]
        return values

    def _call(self, asked: _Asked, drawn: NDArray[np.int64] | None) -> list[Any]:
        """Calls a function with the rows of each stratum and group; None where a sample has none."""
        return [
            asked.function(
                self.truth[rows],
                self.prediction[rows],
                **{name: values[rows] for name, values in asked.parameters.items()},
            )
            if len(rows)
            else None
            for rows in self._rows(drawn)
        ]

    def _rows(self, drawn: NDArray[np.int64] | None) -> Iterator[NDArray[np.int64]]:
        codes = self.cells.codes if drawn is None else self.cells.codes[drawn]
        for of_slice, many in ((self.cells.strata[codes], self.cells.n_strata), (codes, len(self.cells.strata))):
            order = np.argsort(of_slice, kind="stable")
            ends = np.cumsum(np.bincount(of_slice, minlength=many))
            for rows in np.split(order, ends[:-1]):
                yield rows if drawn is None else drawn[rows]


def _number(value: Any) -> float:
    """Returns a scalar as a float, NaN for anything else."""
    if not np.isscalar(value) or isinstance(value, str | bytes | complex):
        return np.nan
    return float(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_nan(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


# --- comparisons ---


def _comparison(what: str, method: str | None) -> Callable[[_Spread], Floats]:
    if method is not None:
        _require("method", method, ("between_groups", "to_overall"))
    whole = method == "to_overall"
    found: dict[str, Callable[[_Spread], Floats]] = {
        "group_min": lambda s: _lowest(s.groups),
        "group_max": lambda s: _highest(s.groups),
        "difference": functools.partial(_difference, whole),
        "ratio": functools.partial(_ratio, whole),
    }
    return found[what]


def _difference(to_overall: bool, spread: _Spread) -> Floats:
    other = spread.overall if to_overall else _lowest(spread.groups)
    return _highest(np.abs(spread.groups - other[..., None, :]))


def _ratio(to_overall: bool, spread: _Spread) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        if not to_overall:
            return _lowest(spread.groups) / _highest(spread.groups)
        ratios = spread.groups / spread.overall[..., None, :]
        return _lowest(np.where(ratios > 1, 1 / ratios, ratios))


def _lowest(values: Floats) -> Floats:
    """Returns the lowest of groups, NaN left out: [..., groups, metrics] to [..., metrics]."""
    lowest = np.where(np.isnan(values), np.inf, values).min(axis=-2)
    return np.where(np.isnan(values).all(axis=-2), np.nan, lowest)


def _highest(values: Floats) -> Floats:
    return -_lowest(-values)


# --- what was given ---


def _array(name: str, given: Any) -> NDArray[Any]:
    """Returns rows as an array of one dimension, or of more where a row is an array."""
    array = np.asarray(given)
    if array.ndim == 0:
        raise DataError(f"{name} must hold a value for each row.")
    return array.reshape(1) if array.size == 1 else array.squeeze()


def _asked(metrics: Any, sample_params: Any, truth: NDArray[Any], prediction: NDArray[Any]) -> list[_Asked]:
    if sample_params is not None and not isinstance(sample_params, Mapping):
        raise ConfigError("sample_params must be a dict of arrays, or for several metrics a dict of such dicts.")
    given = dict(sample_params or {})
    if not isinstance(metrics, Mapping):
        return [_one(_name_of(metrics), metrics, given, truth, prediction)]
    others = given.keys() - metrics.keys()
    once = others == given.keys() and not any(isinstance(value, Mapping) for value in given.values())
    if once:
        given = {name: np.asarray(values) for name, values in given.items() if values is not None}
    elif others:
        raise ConfigError(f"sample_params names {', '.join(sorted(map(str, others)))}, which is no metric here.")
    return [
        _one(name, function, _taken_by(function, given) if once else given.get(name) or {}, truth, prediction)
        for name, function in metrics.items()
    ]


def _taken_by(function: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters that a function takes."""
    if isinstance(function, Metric) or not callable(function):
        return {name: value for name, value in given.items() if name == "sample_weight"}
    parameters = inspect.signature(function).parameters
    every = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return {name: value for name, value in given.items() if every or name in parameters}


def _one(name: str, function: Any, given: Any, truth: NDArray[Any], prediction: NDArray[Any]) -> _Asked:
    if not callable(function):
        raise ConfigError(f"The metric {name} is {function!r}, which cannot be called.")
    if not isinstance(given, Mapping):
        raise ConfigError(f"The sample_params of {name} must be a dict of arrays.")
    parameters = {key: np.asarray(value) for key, value in given.items() if value is not None}
    for key, values in parameters.items():
        if len(values) != len(truth):
            raise DataError(f"{key} of {name} has {len(values):,} rows, but y_true has {len(truth):,}.")
    found = known(function, frozenset(parameters))
    flat = truth.ndim == prediction.ndim == 1
    if found is not None and (not flat or (found.reads == "either" and not has_two_labels(truth, prediction))):
        found = None
    if found is None and isinstance(function, Metric):
        function = _called(function)
    return _Asked(name, function, found, _shared(parameters, given))


def _shared(parameters: dict[str, NDArray[Any]], given: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Returns arrays that were given as such, so that metrics with the same weights are known by it."""
    return {key: given[key] if isinstance(given[key], np.ndarray) else values for key, values in parameters.items()}


def _called(metric: Metric) -> Callable[..., Any]:
    def call(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        return metric(y_true, y_pred) if sample_weight is None else metric(y_true, y_pred, sample_weight)

    return call


def _name_of(function: Any) -> str:
    if isinstance(function, Metric):
        return function.name
    name = getattr(function, "__name__", None)
    if name is None:
        warnings.warn("The metric has no __name__; it is called metric.", UserWarning, stacklevel=4)
    return name or "metric"


def _require(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} must be {' or '.join(allowed)}, not {value!r}.")


def _require_bootstrap(n_boot: Any, quantiles: Sequence[Any]) -> None:
    if not isinstance(n_boot, int | np.integer) or isinstance(n_boot, bool) or n_boot < 1:
        raise ConfigError(f"n_boot must be a whole number, at least 1, not {n_boot!r}.")
    if any(not isinstance(q, float) or not 0 < q < 1 for q in quantiles):
        raise ConfigError(f"ci_quantiles must be floats between 0 and 1, not {list(quantiles)!r}.")
