"""What a comparison answers: candidate minus baseline in every slice, which rows changed, and where it moved.

>>> import evalkit as ek
>>> data = {"y": [1, 0, 1, 0], "old": [0.9, 0.6, 0.4, 0.1], "new": [0.9, 0.2, 0.7, 0.1]}
>>> comparison = ek.compare(data, label="y", baseline="old", candidate="new", metrics=["accuracy", "roc_auc"])
>>> comparison["accuracy"]["delta"], comparison.flips()["fixed"][0]
(0.5, 2)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evalkit.adjust import benjamini_hochberg, heterogeneity, holm, shrink
from evalkit.deltas import NO_TEST, Delta, deltas
from evalkit.errors import ConfigError, listing, nearest
from evalkit.money import is_cost
from evalkit.pairing import Pair
from evalkit.results import Plan, Result
from evalkit.tabulate import tabulate

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FALSE_DISCOVERY_RATE = 0.05
_LEAST_ROWS = 25
COLUMNS = (
    "baseline",
    "candidate",
    "delta",
    "delta_low",
    "delta_high",
    "delta_shrunk",
    "p_value",
    "p_adjusted",
    "q_value",
    "delta_method",
    "changed",
    "detectable",
)
MARGIN_COLUMNS = ("margin", "p_noninferior", "p_equivalent")


@dataclass(frozen=True)
class Margins:
    """How much worse a candidate may be.

    Attributes:
        size: for every metric, or by its name; metrics without one have no such test.
        kind: `absolute` in the metric's unit, or `relative`, a share of the baseline's |value|.
    """

    size: float | Mapping[str, float]
    kind: Literal["absolute", "relative"] = "absolute"

    def of(self, metric: str) -> float | None:
        """Returns the margin of a metric; None where it has none."""
        return self.size.get(metric) if isinstance(self.size, Mapping) else self.size


@dataclass(frozen=True, eq=False)
class Comparison:
    """One or several candidates against one baseline.

    Attributes:
        result: the evaluations of all models, the baseline first.
        pairs: each candidate lined up with the baseline.
        margins: for non-inferiority and equivalence; None where not asked.
    """

    result: Result
    pairs: tuple[Pair, ...]
    margins: Margins | None = None
    _cache: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def baseline(self) -> str:
        """The baseline's name."""
        return self.pairs[0].baseline.model

    @property
    def candidates(self) -> list[str]:
        """The candidates' names."""
        return [pair.candidate.model for pair in self.pairs]

    @property
    def notes(self) -> list[str]:
        """What a reader must know: what is not paired, which slices are only in one run."""
        return list(dict.fromkeys(note for pair in self.pairs for note in pair.notes))

    @property
    def flippable(self) -> list[str]:
        """The candidates whose changed decisions can be told: rows are paired and both models decide."""
        from evalkit.flips import can_tell

        return [pair.candidate.model for pair in self.pairs if can_tell(pair)]

    def pair(self, candidate: str | None = None) -> Pair:
        """Returns the pair of a candidate; of the only one if none is named.

        Raises:
            ConfigError: there is no such candidate, or several and none is named.
        """
        names = self.candidates
        if candidate is None and len(names) == 1:
            return self.pairs[0]
        if candidate not in names:
            near = nearest(candidate, names) if candidate else " Name one of several."
            raise ConfigError(f'No candidate "{candidate or ""}" here.{near} There are: {listing(names)}.')
        return self.pairs[names.index(candidate)]

    def deltas(self, candidate: str | None = None) -> dict[str, Delta]:
        """Returns a candidate's deltas by metric, as contrasts that take any bound."""
        pair = self.pair(candidate)
        return self._cached(f"deltas of {pair.candidate.model}", lambda: deltas(pair))

    def _cached(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    # --- tables ---

    def to_polars(self) -> pl.DataFrame:
        """Returns the results table of the candidates with the columns of a comparison; see docs/compare.md.

        `p_adjusted` is Holm's and `q_value` Benjamini and Hochberg's: of all rows over candidates and metrics, of
        slices over candidates, metrics and slices; metrics of cost count as one.
        """
        return self._cached("table", self._table)

    def _table(self) -> pl.DataFrame:
        import polars as pl

        frames = [self._of_pair(pair) for pair in self.pairs]
        table = pl.concat(frames, how="vertical_relaxed")
        overall = (table["slice"] == "overall").to_numpy()
        p = table["p_value"].to_numpy()
        adjusted, q = np.full(len(p), np.nan), np.full(len(p), np.nan)
        for rows in (overall, ~overall):
            for family, own in self._families(table["metric"].to_list()):
                asked = rows & family
                adjusted[rows & own] = holm(p[asked])[own[asked]]
                q[rows & own] = benjamini_hochberg(p[asked])[own[asked]]
        return table.with_columns(p_adjusted=pl.Series(adjusted), q_value=pl.Series(q)).select(
            pl.exclude("slice_key"), "slice_key"
        )

    def _families(self, metrics: list[str]) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Returns which rows are adjusted over together, and of which of them the answer is taken.

        All metrics are one family; those of cost ask one question in several units, so each stands for all of them.
        """
        known = {name: m for pair in self.pairs for name, m in pair.candidate.metrics}
        of_cost = [name for name, m in known.items() if is_cost(m)]
        column = np.array(metrics)
        others = ~np.isin(column, of_cost)
        if not of_cost:
            return [(others, others)]
        alone = [(others | (column == name), column == name) for name in of_cost]
        return [(alone[0][0], alone[0][0]), *alone[1:]]

    def _of_pair(self, pair: Pair) -> pl.DataFrame:
        """Lays the columns of every metric out beside the candidate's results: slices, and in each the metrics."""
        import polars as pl

        columns = [_columns(delta, pair, self.margins) for delta in self.deltas(pair.candidate.model).values()]
        base = tabulate([pair.candidate])
        visible = base.head(len(pair.plan.slices) * len(columns))
        why = np.stack([c.pop("why") for c in columns], axis=1).reshape(-1)
        laid_out = {key: np.stack([c[key] for c in columns], axis=1).reshape(-1) for key in columns[0]}
        frame = visible.with_columns(
            *(
                pl.Series(
                    key, values.tolist(), dtype={"changed": pl.Int64, "delta_method": pl.String}.get(key, pl.Float64)
                )
                for key, values in laid_out.items()
            ),
            note=pl.Series([_note(*both) for both in zip(visible["note"], why, strict=True)], dtype=pl.String),
            status=pl.Series(
                [_status(*each) for each in zip(visible["status"], why, laid_out["delta"], strict=True)],
                dtype=pl.String,
            ),
        )
        return pl.concat([frame, base.tail(base.height - visible.height)], how="diagonal_relaxed")

    def __getitem__(self, metric: str) -> dict[str, Any]:
        """Returns the row of a metric of all rows, of the only candidate."""
        return self.row(metric)

    def row(self, metric: str, slice: str = "overall", candidate: str | None = None) -> dict[str, Any]:  # noqa: A002
        """Returns one row of the table.

        Raises:
            ConfigError: there is no such metric, slice or candidate.
        """
        import polars as pl

        known_metrics = self.deltas(candidate)
        if metric not in known_metrics and "@" in metric:
            from evalkit.metrics import find

            metric = find(metric).name
        alike = [name for name, delta in known_metrics.items() if delta.metric.name_of_function == metric]
        metric = alike[0] if metric not in known_metrics and alike else metric
        table = self.to_polars().filter(pl.col("model") == self.pair(candidate).candidate.model)
        for column, wanted in (("metric", metric), ("slice", slice)):
            known = table[column].unique(maintain_order=True).to_list()
            if wanted not in known:
                raise ConfigError(f'No {column} "{wanted}" here.{nearest(wanted, known)} There are: {listing(known)}.')
            table = table.filter(pl.col(column) == wanted)
        return table.row(0, named=True)

    def moved_against(self) -> pl.DataFrame:
        """Returns the slices whose delta has the other sign than that of all rows, where q < .05, by shrunk delta."""
        import polars as pl

        table = self.to_polars()
        overall = table.filter(pl.col("slice") == "overall").select("model", "metric", of_all=pl.col("delta"))
        joined = table.filter(pl.col("slice") != "overall").join(
            overall, on=["model", "metric"], how="left", maintain_order="left"
        )
        against = (pl.col("delta") * pl.col("of_all") < 0) & (pl.col("q_value") < FALSE_DISCOVERY_RATE)
        return joined.filter(against).sort(pl.col("delta_shrunk").abs(), descending=True).drop("of_all")

    def heterogeneity(self) -> pl.DataFrame:
        """Returns Cochran's Q for each candidate, metric and set of slices: do deltas differ by more than noise?

        Columns: model, metric, slices (the set), n (slices with a test), q, degrees, p_value, between (the standard
        deviation between true deltas). Slices with fewer than 25 rows are left out. Where units have rows in several
        slices the test is approximate.
        """
        import polars as pl

        rows = []
        for pair in self.pairs:
            for name, delta in self.deltas(pair.candidate.model).items():
                for words, place in _sets(pair.plan):
                    use = delta.contrast.testable[place] & (delta.candidate.rows[place] >= _LEAST_ROWS)
                    variance = np.where(use, delta.contrast.error[place] ** 2, np.nan)
                    found = heterogeneity(delta.contrast.value[place], variance)
                    rows.append((pair.candidate.model, name, words, int(np.isfinite(variance).sum()), *found))
        columns = ["model", "metric", "slices", "n", "q", "degrees", "p_value", "between"]
        return pl.DataFrame(rows, schema=columns, orient="row")

    # --- rows that changed ---

    def flips(self, candidate: str | None = None, threshold: float | None = None) -> pl.DataFrame:
        """Returns for each slice the rows whose decision changed: fixed, broken and churn with its interval.

        Args:
            candidate: needed where there are several.
            threshold: of scores; None: 0.5, or the models' own predictions.
        """
        from evalkit.flips import by_slice

        return by_slice(self.pair(candidate), threshold)

    def flipped_rows(
        self, candidate: str | None = None, threshold: float | None = None, n: int | None = 100
    ) -> pl.DataFrame:
        """Returns the rows whose decision changed, broken ones first, then by how far the score moved.

        Args:
            candidate: needed where there are several.
            threshold: of scores; None: 0.5, or the models' own predictions.
            n: the most rows; None: all.
        """
        from evalkit.flips import rows

        return rows(self.pair(candidate), threshold, n)

    def curve(
        self,
        kind: Literal["cost", "net_benefit"],
        slice: str = "overall",  # noqa: A002
        candidate: str | None = None,
    ) -> pl.DataFrame:
        """Returns candidate minus baseline at every threshold, in expected cost or net benefit, with bands.

        Args:
            kind: `cost`, with the costs that were evaluated, or `net_benefit`.
            slice: as in the table.
            candidate: needed where there are several.

        Returns:
            threshold, difference, low, high (each alone), low_all, high_all (all thresholds together), rows.

        Raises:
            ConfigError: there is no such curve, slice or candidate, or no costs were evaluated.
            UsageError: the rows are not paired, or there are no scores.
        """
        from evalkit.compared_curves import curve

        return curve(self.pair(candidate), kind, slice)

    # --- keeping and showing ---

    def save(self, folder: str | Path, *, overwrite: bool = False, report: bool | None = False) -> Path:
        """Writes the models' results, `deltas.parquet`, `deltas.json` and the flips into a folder, whole or not at all.

        Args:
            folder: made anew; an existing one needs `overwrite`.
            overwrite: whether an existing folder is replaced.
            report: True for `report.html` too; None: where its extra is installed.
        """
        from evalkit.storage import save

        return save(self.result, folder, overwrite=overwrite, report=report, comparison=self)

    def __repr__(self) -> str:
        from evalkit.show import compared

        return compared(self)


def _columns(delta: Delta, pair: Pair, margins: Margins | None) -> dict[str, Any]:
    """Returns a metric's columns of a comparison, [slices] each."""
    contrast, settings = delta.contrast, pair.candidate.settings
    few = delta.candidate.support < settings.min_rows
    contrast = contrast.without(tuple(f"fewer than {settings.min_rows} rows" if f else "" for f in few))
    alpha = (1 - settings.level) / 2
    low, high = contrast.interval(alpha)
    found = {
        "baseline": delta.baseline.value,
        "candidate": delta.candidate.value,
        "delta": contrast.value,
        "delta_low": low,
        "delta_high": high,
        "delta_shrunk": _shrunk(delta, contrast.testable, pair.plan),
        "p_value": contrast.two_sided(),
        "delta_method": np.where(contrast.testable, contrast.method, "none").astype(object),
        "changed": np.array([None if n < 0 else int(n) for n in delta.changed], dtype=object),
        "detectable": contrast.detectable(alpha),
        "why": np.array(contrast.why, dtype=object),
    }
    if margins is not None:
        found |= _against_margin(delta, contrast.why, margins)
    return found


def _shrunk(delta: Delta, testable: NDArray[np.bool_], plan: Plan) -> Floats:
    """Shrinks each set's deltas to their mean; that of all rows stays."""
    value = np.where(testable, delta.contrast.value, np.nan)
    variance = np.where(testable, delta.contrast.error**2, np.nan)
    result = value.copy()
    for _, place in _sets(plan):
        result[place] = shrink(value[place], variance[place], to_mean=True)
    return result


def _sets(plan: Plan) -> list[tuple[str, slice]]:
    """Returns each set of slices but overall, in words, and its places."""
    offsets = plan.offsets
    return [(str(s), slice(offsets[i], offsets[i + 1])) for i, s in enumerate(plan.slice_sets) if s.dimensions]


def _against_margin(delta: Delta, why: tuple[str, ...], margins: Margins) -> dict[str, Any]:
    """Returns p-values of not being worse by the margin, and of differing by less than it (two one-sided tests)."""
    margin, better = margins.of(delta.name), delta.metric.better
    nothing = np.full(len(why), np.nan)
    if margin is None or better is None:
        return dict(zip(MARGIN_COLUMNS, (nothing, nothing, nothing), strict=True))
    contrast = (delta.relative() if margins.kind == "relative" else delta.contrast).without(why)
    above, below = contrast.above(-margin), contrast.below(margin)
    worse = above if better == "higher" else below
    return {"margin": np.full(len(why), margin), "p_noninferior": worse, "p_equivalent": np.fmax(above, below)}


def _note(note: str | None, why: str) -> str:
    return "; ".join(part for part in (note, why if why not in ("undefined", "too few rows") else "") if part)


def _status(status: str, why: str, delta: float) -> str:
    if status == "undefined" or np.isnan(delta):
        return "undefined"
    return "too_few_rows" if status == "ok" and why and not why.startswith(NO_TEST) else status
