"""Which groups are held against which: each against a reference, or all pairs.

>>> import numpy as np
>>> family = Family("sex", (), 0, ((("sex", "f"),), (("sex", "m"),)), np.array([1, 2]))
>>> reference_place(family, "sex=f"), reference_place(family, "m"), reference_place(family, rows=[40, 60])
(0, 1, 1)
>>> pairs_of(family), pairs_of(family, "f")
([(0, 1)], [(1, 0)])
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import ConfigError, listing, nearest
from evalkit.fairness.families import Family
from evalkit.slicing.spec import slice_text

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Pairs = list[tuple[int, int]]


def reference_place(family: Family, reference: Any = None, *, rows: ArrayLike = ()) -> int:
    """Returns the reference's place among a family's groups.

    Args:
        family: the groups.
        reference: a group's pairs of column and value, its text such as `sex=f`, or its value where it has one
            attribute; None: the largest group.
        rows: [groups] rows of each, which tell the largest.

    Raises:
        ConfigError: there is no such group, or none at all.
    """
    known = [slice_text(group) for group in family.groups]
    if not known:
        raise ConfigError(f'There are no groups by "{family.across}".')
    if reference is None:
        return int(np.argmax(np.asarray(rows)))
    for place, key in enumerate(family.groups):
        if reference in (key, known[place]) or (len(key) == 1 and str(reference) == str(key[0][1])):
            return place
    asked = slice_text(reference) if isinstance(reference, tuple) else str(reference)
    raise ConfigError(f'No group "{asked}" by "{family.across}".{nearest(asked, known)} Groups: {listing(known)}.')


def pairs_of(family: Family, reference: Any = None) -> Pairs:
    """Returns pairs of a group and its reference: all, each once, or where one is named those with it."""
    groups = range(len(family.groups))
    if reference is None:
        return list(combinations(groups, 2))
    base = reference_place(family, reference)
    return [(g, base) for g in groups if g != base]
