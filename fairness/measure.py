"""One number about groups, and the table of such numbers.

>>> found = Measure("demographic_parity_difference", "race", 0.12, low=0.05, high=0.19, p_value=0.001, rows=400)
>>> table([found], model="mine").select("slice", "metric", "value", "low", "status").row(0)
('overall', 'demographic_parity_difference@across=race', 0.12, 0.05, 'ok')
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from evalkit.slicing.spec import SliceKey, slice_text
from evalkit.tabulate import keys_series

if TYPE_CHECKING:
    import polars as pl

_NAN = float("nan")
Status = Literal["ok", "undefined", "too_few_rows", "suppressed"]


@dataclass(frozen=True)
class Measure:
    """One number about the groups of an attribute.

    Attributes:
        metric: what it is, such as `equalized_odds_difference`; parameters of its own after `@`.
        across: the attributes, such as `race` or `race,sex`.
        value: NaN where it is undefined.
        low: lower end of its interval; NaN without one.
        high: upper end.
        level: the level of the control features; empty for all rows.
        group: the group that it is of; empty for a number of all groups together.
        reference: the other group, where it is of two.
        confidence: the level of the interval.
        method: how the interval, or else the p-value, was made.
        p_value: of there being no disparity; NaN without a test.
        rows: rows that it was made of.
        support: rows that decide how well it is known, such as the positives; None: the rows.
        fair: the value of perfect fairness, such as 0 for differences and 1 for ratios; NaN where there is none.
        status: `too_few_rows` where no claim can be made; a value that is NaN is `undefined` whatever stands here.
        approximate: whether interval or value are known to be rough; `note` says why.
        note: what a reader must know.
    """

    metric: str
    across: str
    value: float
    low: float = _NAN
    high: float = _NAN
    level: SliceKey = ()
    group: SliceKey = ()
    reference: SliceKey = ()
    confidence: float = 0.95
    method: str = "none"
    p_value: float = _NAN
    rows: int = 0
    support: int | None = None
    fair: float = _NAN
    status: Status = "ok"
    approximate: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        """The name with its parameters: `xauc@across=sex,reference=sex=f`."""
        parts = [self.metric.partition("@")[2], f"across={self.across}"]
        parts += [f"reference={slice_text(self.reference)}"] if self.reference else []
        return f"{self.metric.partition('@')[0]}@{','.join(part for part in parts if part)}"

    @property
    def slice_key(self) -> SliceKey:
        """The slice that it stands at in tables: the level of the control features, and the group."""
        return (*self.level, *self.group)


def table(measures: Sequence[Measure], model: str) -> pl.DataFrame:
    """Returns numbers about groups in the columns of the results table, with `p_value` and `fair`."""
    import polars as pl

    keys = [m.slice_key for m in measures]
    columns: dict[str, tuple[Any, list[Any]]] = {
        "model": (pl.String, [model] * len(measures)),
        "slice": (pl.String, [slice_text(key) for key in keys]),
        "metric": (pl.String, [m.name for m in measures]),
        "value": (pl.Float64, [m.value for m in measures]),
        "low": (pl.Float64, [m.low for m in measures]),
        "high": (pl.Float64, [m.high for m in measures]),
        "level": (pl.Float64, [m.confidence for m in measures]),
        "method": (pl.String, [m.method for m in measures]),
        "rows": (pl.Int64, [m.rows for m in measures]),
        "support": (pl.Int64, [m.rows if m.support is None else m.support for m in measures]),
        "status": (pl.String, ["undefined" if math.isnan(m.value) else m.status for m in measures]),
        "approximate": (pl.Boolean, [m.approximate for m in measures]),
        "note": (pl.String, [m.note for m in measures]),
        "p_value": (pl.Float64, [m.p_value for m in measures]),
        "fair": (pl.Float64, [m.fair for m in measures]),
    }
    frame = pl.DataFrame({name: pl.Series(values, dtype=dtype) for name, (dtype, values) in columns.items()})
    return frame.with_columns(slice_key=keys_series(keys))
