"""Which slices to hide so that no group smaller than k can be read off the others.

A hidden slice must not be what is left when its siblings are subtracted from their total, so siblings are hidden at
least in pairs and until they hold k rows together. That holds along every line of one- and two-way tables; for tables
of three ways and more, and across different binnings of one column, nothing is claimed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from evalkit.slicing.spec import SliceKey

Slices = Mapping[SliceKey, int]


def suppressed(slice_sets: Sequence[Slices], rows: int, below: int) -> list[set[SliceKey]]:
    """Returns the slices of each set to hide.

    Args:
        slice_sets: the rows of each slice, one mapping for each set (overall not among them).
        rows: the number of all rows.
        below: slices with fewer rows are hidden, and as many siblings as it takes.

    >>> sex = {(("sex", "f"),): 3, (("sex", "m"),): 90, (("sex", "x"),): 7}
    >>> [sorted(key[0][1] for key in hidden) for hidden in suppressed([sex], 100, below=5)]
    [['f', 'x']]
    """
    hidden = [{key for key, n in slices.items() if n < below} for slices in slice_sets]
    lines = [line for index, slices in enumerate(slice_sets) for line in _lines(index, slices, slice_sets, rows)]
    changed = True
    while changed:
        changed = False
        for index, members, total in lines:
            rest = total - sum(slice_sets[index][key] for key in members)
            gone = [key for key in members if key in hidden[index]]
            parts = [slice_sets[index][key] for key in gone] + ([rest] if rest > 0 else [])
            exposed = (gone or 0 < rest < below) and (len(parts) < 2 or sum(parts) < below)
            shown = sorted((slice_sets[index][key], key) for key in members if key not in hidden[index])
            if exposed and shown:
                hidden[index].add(shown[0][1])
                changed = True
    return hidden


def _lines(
    index: int, slices: Slices, slice_sets: Sequence[Slices], rows: int
) -> list[tuple[int, list[SliceKey], int]]:
    """Groups the slices of a set by each margin that is published: all rows, or one part of a cross."""
    result = [(index, list(slices), rows)]
    width = max((len(key) for key in slices), default=0)
    for place in range(width if width > 1 else 0):
        margin: dict[SliceKey, list[SliceKey]] = defaultdict(list)
        for key in slices:
            margin[(key[place],)].append(key)
        published = {key: n for other in slice_sets for key, n in other.items() if len(key) == 1}
        result += [(index, members, published[part]) for part, members in margin.items() if part in published]
    return result
