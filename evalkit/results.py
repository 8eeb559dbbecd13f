"""What an evaluation answers: a table, and the sums it came from.

>>> import evalkit as ek
>>> data = {"y": [1, 0, 1, 0], "p": [0.9, 0.2, 0.4, 0.1], "day": [1, 1, 2, 2]}
>>> result = ek.evaluate(data, label="y", score="p", metrics=["accuracy"], slices=["day"])
>>> twice = result + result
>>> twice["accuracy"].value, twice.to_polars()["rows"][0]
(0.75, 8)
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import ConfigError, DataError, UsageError, listing, nearest
from evalkit.interval import Bootstrap
from evalkit.metric import Metric
from evalkit.rows import Checked, Columns
from evalkit.slicing.spec import SliceKey, SliceSet, slice_text
from evalkit.slicing.suppress import suppressed
from evalkit.statistic import Statistic
from evalkit.sums import AnySums, FieldSums, ScoreSums

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import polars as pl


@dataclass(frozen=True)
class Plan:
    """The slice sets of an evaluation, edges frozen, and the slices found; the first set is all rows.

    Attributes:
        slice_sets: the questions.
        keys: the slices of each set.
        hidden: the suppressed slices of each set; their sums are not kept.
    """

    slice_sets: tuple[SliceSet, ...]
    keys: tuple[tuple[SliceKey, ...], ...]
    hidden: tuple[tuple[SliceKey, ...], ...] = ()

    @property
    def offsets(self) -> list[int]:
        """The number of the first slice of each set, and after the last the number of all slices."""
        return [0, *np.cumsum([len(keys) for keys in self.keys]).tolist()]

    @functools.cached_property
    def slices(self) -> tuple[SliceKey, ...]:
        """Every slice, sets one after another."""
        return tuple(key for keys in self.keys for key in keys)

    @functools.cached_property
    def texts(self) -> tuple[str, ...]:
        """Every slice as people read it."""
        return self._texts(self.keys)

    @functools.cached_property
    def hidden_texts(self) -> tuple[str, ...]:
        """Every suppressed slice as people read it."""
        return self._texts(self.hidden)

    def _texts(self, keys_of_sets: Sequence[Sequence[SliceKey]]) -> tuple[str, ...]:
        texts = []
        for slice_set, keys in zip(self.slice_sets, keys_of_sets, strict=False):
            conditions = {d.name for d in slice_set.dimensions if d.form == "where"}
            texts += [_text(key, conditions) for key in keys]
        return tuple(texts)


def _text(key: SliceKey, conditions: set[str]) -> str:
    if not conditions:
        return slice_text(key)
    return ", ".join(name if name in conditions else slice_text(((name, value),)) for name, value in key)


@dataclass(frozen=True)
class Settings:
    """How values and intervals are made of the sums, and what the columns were."""

    level: float = 0.95
    min_rows: int = 1
    suppress_below: int = 0
    bootstrap: Bootstrap | None = None
    task: str = "binary"
    weighted: bool = False
    clustered: bool = False
    columns: Columns = field(default_factory=Columns)
    positive: Any = None
    strict: bool = False
    currency: str = ""
    cost_unit: str = "row"


@dataclass(frozen=True)
class Evaluation:
    """One model's sums on one plan of slices; evaluations of the same definition add.

    Attributes:
        model: the model's name.
        metrics: names and bound metrics, in the order asked for.
        plan: the slices.
        sums: by the identity of the statistic.
        settings: how they are read.
        source: what the data were called.
        rows: the rows, where they are kept.
        n: the number of rows with a positive weight.
        dropped: rows dropped as invalid.
        seconds: time taken by step.
        skipped: files that could not be read and were left out.
    """

    model: str
    metrics: tuple[tuple[str, Metric], ...]
    plan: Plan
    sums: Mapping[str, AnySums]
    settings: Settings
    source: str = ""
    rows: Checked | None = None
    n: int = 0
    dropped: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()

    def add(self, other: Evaluation, sign: int = 1) -> Evaluation:
        """Returns the evaluation of both sets of rows; with sign -1, of these without the others."""
        self._refuse_other_definition(other)
        plan = _union(self.plan, other.plan)
        place = {key: index for index, key in enumerate(zip(_set_numbers(plan), plan.slices, strict=True))}
        mine, theirs = (
            np.array([place[key] for key in zip(_set_numbers(p), p.slices, strict=True)], dtype=np.int64)
            for p in (self.plan, other.plan)
        )
        statistics = {m.statistic.identity: m.statistic for _, m in self.metrics}
        sums: dict[str, AnySums] = {}
        for identity, own in self.sums.items():
            left, right = own.place(mine, len(plan.slices)), other.sums[identity].place(theirs, len(plan.slices))
            if isinstance(left, ScoreSums) and isinstance(right, ScoreSums):
                sums[identity] = left.add(right, sign)
            elif isinstance(left, FieldSums) and isinstance(right, FieldSums):
                sums[identity] = added(statistics[identity], left, right, sign)
            else:
                raise DataError(f'The sums of "{identity}" differ in form; they do not add.')
            if sign < 0 and (sums[identity].count < 0).any():
                raise DataError(f"{other.source} has rows that {self.source} does not have: subtract what was added.")
        return replace(
            self,
            plan=plan,
            sums=sums,
            rows=None,
            n=self.n + sign * other.n,
            dropped=self.dropped + sign * other.dropped,
            source=f"{self.source} {'+' if sign > 0 else '-'} {other.source}",
            seconds={},
            skipped=tuple(sorted({*self.skipped, *other.skipped})),
        )

    def _refuse_other_definition(self, other: Evaluation) -> None:
        """Raises unless the other evaluation asked the same of other rows."""
        if [name for name, _ in self.metrics] != [name for name, _ in other.metrics]:
            raise UsageError("Evaluations add only with the same metrics in the same order.")
        if [m.statistic.identity for _, m in self.metrics] != [m.statistic.identity for _, m in other.metrics]:
            raise UsageError("Evaluations add only with the same thresholds and parameters.")
        if self.plan.slice_sets != other.plan.slice_sets:
            pairs = zip(self.plan.slice_sets, other.plan.slice_sets, strict=False)
            differing = next((f"{a} and {b}" for a, b in pairs if a != b), "their number")
            raise UsageError(
                f"Evaluations add only with the same slices; these differ in {differing}. "
                "Quantile edges differ with the data: give edges instead."
            )
        if self.plan.hidden or other.plan.hidden:
            raise UsageError("Evaluations with suppressed slices do not add: the sums of hidden slices are gone.")
        for setting in ("task", "weighted", "clustered"):
            if getattr(self.settings, setting) != getattr(other.settings, setting):
                raise UsageError(f"Evaluations add only if both or neither are {setting}.")

    def suppress(self) -> Evaluation:
        """Returns the evaluation without the sums of slices that could reveal a small group."""
        below = self.settings.suppress_below
        counts = self.row_counts()
        offsets = self.plan.offsets
        sets = [
            dict(zip(keys, counts[start:stop].tolist(), strict=True))
            for keys, (start, stop) in zip(self.plan.keys, pairwise(offsets), strict=True)
        ]
        if counts[0] < below:
            raise DataError(f"All rows together are {counts[0]:,}, fewer than suppress_below={below:,}.")
        hidden = [set[SliceKey](), *suppressed(sets[1:], int(counts[0]), below)]
        kept = np.array(
            [
                i
                for i, (s, k) in enumerate(zip(_set_numbers(self.plan), self.plan.slices, strict=True))
                if k not in hidden[s]
            ]
        )
        plan = Plan(
            self.plan.slice_sets,
            tuple(tuple(k for k in keys if k not in gone) for keys, gone in zip(self.plan.keys, hidden, strict=True)),
            tuple(tuple(k for k in keys if k in gone) for keys, gone in zip(self.plan.keys, hidden, strict=True)),
        )
        return replace(self, plan=plan, rows=None, sums={name: sums.take(kept) for name, sums in self.sums.items()})

    def row_counts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Returns the rows of each slice."""
        sums = next(iter(self.sums.values()))
        if isinstance(sums, ScoreSums):
            return np.bincount(sums.slices, weights=sums.count.sum(1), minlength=sums.size).astype(np.int64)
        return sums.margin().count.sum(1)


def added(statistic: Statistic, left: FieldSums, right: FieldSums, sign: int) -> FieldSums:
    """Adds sums at the left's pivots, at the right's in slices where the left has no rows."""
    if left.pivot is None or right.pivot is None:
        return left.add(right, sign)
    held = left.count.reshape(len(left.count), -1).any(axis=1)
    pivot = np.where(held, left.pivot, right.pivot)
    return left.at_pivot(statistic, pivot).add(right.at_pivot(statistic, pivot), sign)


def _set_numbers(plan: Plan) -> list[int]:
    return [index for index, keys in enumerate(plan.keys) for _ in keys]


def _union(left: Plan, right: Plan) -> Plan:
    keys = tuple(
        tuple(dict.fromkeys([*mine, *theirs]))
        if set(theirs) <= set(mine)
        else tuple(sorted({*mine, *theirs}, key=key_order))
        for mine, theirs in zip(left.keys, right.keys, strict=True)
    )
    return Plan(left.slice_sets, keys)


def key_order(key: SliceKey) -> tuple[Any, ...]:
    """Orders slices by value, numbers as numbers, bins by their lower edge, null last."""
    order: list[Any] = []
    for _, value in key:
        if value is None:
            order.append((3, 0.0, ""))
            continue
        start = value.lstrip("[(").split(",")[0]
        try:
            order.append((0, float(start), value))
        except ValueError:
            order.append((1, 0.0, value))
    return tuple(order)


class Result:
    """The table of one or several models, a row for each model, slice and metric.

    `result["roc_auc"]`, `result.at("sex=female")` and `result.of("baseline")` are results with fewer rows; `a + b` is
    the same evaluation over more rows; `a | b` puts the models of both into one table.
    """

    def __init__(self, evaluations: Sequence[Evaluation], table: pl.DataFrame | None = None) -> None:
        self.evaluations = tuple(evaluations)
        self._table = table

    def to_polars(self) -> pl.DataFrame:
        """Returns the results table; its columns are described in docs/results.md."""
        if self._table is None:
            from evalkit.tabulate import tabulate

            self._table = tabulate(self.evaluations)
        return self._table

    def to_pandas(self) -> pd.DataFrame:
        """Returns the results table as a pandas frame."""
        try:
            import pandas  # noqa: F401, ICN001
        except ImportError:
            from evalkit.errors import MissingExtra

            raise MissingExtra("pandas", "fairness") from None
        return self.to_polars().to_pandas()

    # --- narrowing ---

    def _narrow(self, column: str, wanted: str) -> Result:
        import polars as pl

        table = self.to_polars()
        known = table[column].unique(maintain_order=True).to_list()
        if wanted not in known:
            raise ConfigError(f'No {column} "{wanted}" here.{nearest(wanted, known)} There are: {listing(known, 40)}.')
        return Result(self.evaluations, table.filter(pl.col(column) == wanted))

    def __getitem__(self, metric: str) -> Result:
        """Returns the rows of one metric, named as in the table or as written on the command line."""
        if metric not in self.metrics and "@" in metric:
            from evalkit.metrics import find

            metric = find(metric).name
        return self._narrow("metric", metric)

    def at(self, slice: str) -> Result:  # noqa: A002 - the table's word
        """Returns the rows of one slice, such as `overall` or `race=black, sex=female`."""
        return self._narrow("slice", slice)

    def of(self, model: str) -> Result:
        """Returns the rows of one model."""
        narrowed = self._narrow("model", model)
        return Result([e for e in self.evaluations if e.model == model], narrowed.to_polars())

    @property
    def models(self) -> list[str]:
        """The models' names."""
        return [str(m) for m in self.to_polars()["model"].unique(maintain_order=True)]

    @property
    def slices(self) -> list[str]:
        """The slices' names."""
        return [str(s) for s in self.to_polars()["slice"].unique(maintain_order=True)]

    @property
    def metrics(self) -> list[str]:
        """The metrics' names."""
        return [str(m) for m in self.to_polars()["metric"].unique(maintain_order=True)]

    def _only(self, column: str) -> float:
        table = self.to_polars()
        if table.height > 1 and "overall" in self.slices:
            return self.at("overall")._only(column) if len(self.slices) > 1 else self._refuse_many()
        if table.height != 1:
            return self._refuse_many()
        value = table[column][0]
        return float("nan") if value is None else float(value)

    def _refuse_many(self) -> float:
        raise ConfigError('More than one row: narrow it down with result["metric"], .at("slice") and .of("model").')

    @property
    def value(self) -> float:
        """The value of the one metric here, of all rows unless a slice was chosen."""
        return self._only("value")

    @property
    def low(self) -> float:
        """The lower end of its interval."""
        return self._only("low")

    @property
    def high(self) -> float:
        """The upper end of its interval."""
        return self._only("high")

    # --- asking more ---

    def differences(self, metrics: Sequence[str] | None = None) -> pl.DataFrame:
        """Returns each slice against the rest of the rows, ranked by shrunk difference, with p- and q-values.

        Args:
            metrics: names; None: every metric here that has a direction.
        """
        from evalkit.differences import differences

        narrowed = len(self.metrics) < len(self.evaluations[0].metrics)
        return differences(self, self.metrics if metrics is None and narrowed else metrics)

    def worst(self, metric: str, n: int = 5) -> pl.DataFrame:
        """Returns the n slices that are worst against the rest of the rows, by shrunk difference.

        Small slices are far off by chance; shrinking takes that into account, where sorting by `value` does not.
        """
        from evalkit.differences import worst

        return worst(self, metric, n)

    def curve(self, kind: str, slice: str = "overall", model: str | None = None) -> pl.DataFrame:  # noqa: A002
        """Returns the points of a curve: `roc`, `precision_recall`, `calibration`, `gain`, or one of costs.

        Those are `cost`, `profit`, `net_benefit` and `cost_lines`.
        """
        from evalkit.curves import curve

        return curve(self, kind, slice, model)

    # --- adding ---

    def __add__(self, other: Result) -> Result:
        """Returns the same evaluation over both sets of rows."""
        return self._combined(other, 1)

    def __sub__(self, other: Result) -> Result:
        """Returns the evaluation of these rows without the other's."""
        return self._combined(other, -1)

    def _combined(self, other: Result, sign: int) -> Result:
        if [e.model for e in self.evaluations] != [e.model for e in other.evaluations]:
            names = [", ".join(e.model for e in r.evaluations) for r in (self, other)]
            raise UsageError(f"Results add model by model; these are of {names[0]} and of {names[1]}.")
        pairs = zip(self.evaluations, other.evaluations, strict=True)
        return Result(tuple(mine.add(theirs, sign) for mine, theirs in pairs))

    def __or__(self, other: Result) -> Result:
        """Returns the models of both in one table."""
        names = [e.model for e in (*self.evaluations, *other.evaluations)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f'Two models are named "{twice}"; give one another name (name=...).')
        return Result((*self.evaluations, *other.evaluations))

    def roll_up(self, *slices: Any) -> Result:
        """Returns the result for other slices, added up from finer ones; no row is read, and none is kept.

        A cross of `sex` and `race` gives `result.roll_up("sex")`, and each of several sets by itself
        `result.roll_up("sex", ["sex", "race"])`.

        Args:
            slices: what each set is, as in `evaluate`; a column stands for the slices of it that there are.

        Raises:
            DataError: rows are in none or several of the finer slices, so that these do not add up.
            UsageError: no finer slices tell them apart, or slices are suppressed.
        """
        from evalkit.roll_up import rolled_up
        from evalkit.slicing.spec import parse

        wanted = parse(list(slices))
        return Result(tuple(rolled_up(evaluation, wanted) for evaluation in self.evaluations))

    # --- keeping and showing ---

    def save(self, folder: str | Path, *, overwrite: bool = False, report: bool | None = False) -> Path:
        """Writes the table, the sums, the rows and what was run into a folder, whole or not at all.

        Args:
            folder: made anew; an existing one needs `overwrite`.
            overwrite: whether an existing folder is replaced.
            report: True for `report.html` too; None: where its extra is installed.
        """
        from evalkit.storage import save

        return save(self, folder, overwrite=overwrite, report=report)

    def __len__(self) -> int:
        return self.to_polars().height

    def __repr__(self) -> str:
        from evalkit.show import text

        return text(self)

    def _repr_html_(self) -> str:
        from evalkit.show import html

        return html(self)


def total(results: Iterable[Result]) -> Result:
    """Returns the same evaluation over the rows of all results.

    Sums of like many results are added to each other, so that long ones are not copied for every short one.

    Args:
        results: one at least; they may be read as they are needed.

    Raises:
        UsageError: there is none, or they do not add.
    """
    levels: list[tuple[int, Result]] = []
    for result in results:
        level, sum_of = 0, result
        while levels and levels[-1][0] == level:
            sum_of = levels.pop()[1] + sum_of
            level += 1
        levels.append((level, sum_of))
    if not levels:
        raise UsageError("There are no results to add.")
    while len(levels) > 1:
        (level, first), (_, second) = levels[-2:]
        levels[-2:] = [(level, first + second)]
    return levels[0][1]


def load(folder: str | Path, *, rows: bool = False) -> Result:
    """Returns the result that `save` wrote into a folder.

    Args:
        folder: where it was saved.
        rows: whether its rows are read too, for paired comparisons.

    Raises:
        DataError: the folder holds no result, or one of another version.
    """
    from evalkit.storage import load as read

    return read(folder, rows=rows)
