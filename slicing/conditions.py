"""What a condition on rows may look at: rows are read part by part, so only at the row itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

_OF_OTHER_ROWS = re.compile(
    "Agg|Over|Len|Slice|Filter|Sort|SortBy|Gather|Rank|Shift|Diff|PctChange|Cum[A-Z].*|Rolling.*|IsDuplicated|IsUnique"
    "|IsFirstDistinct|IsLastDistinct|FillNullWithStrategy|Interpolate.*|SubPlan"
)
_VALUES = ("Column", "Literal", "name", "dtype")


def looks_beyond(condition: pl.Expr) -> bool:
    """Returns whether what a condition says of a row depends on other rows: a mean, a rank, a window.

    What a function of Python looks at is not known.

    >>> import polars as pl
    >>> looks_beyond(pl.col("age") > 30), looks_beyond(pl.col("age") > pl.col("age").mean())
    (False, True)
    """
    import polars as pl

    try:
        written = json.loads(condition.meta.serialize(format="json"))
    except pl.exceptions.ComputeError:
        return False
    return _beyond(written)


def _beyond(node: Any) -> bool:
    """Returns whether an expression, as Polars writes it, has a step whose value in a row depends on other rows."""
    if isinstance(node, dict):
        return any(
            _OF_OTHER_ROWS.fullmatch(key) is not None or _beyond(value)
            for key, value in node.items()
            if key not in _VALUES
        )
    if isinstance(node, list):
        return any(_beyond(item) for item in node)
    return isinstance(node, str) and _OF_OTHER_ROWS.fullmatch(node) is not None
