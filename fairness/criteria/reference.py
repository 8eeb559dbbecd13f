"""Which group the others are held against.

>>> import numpy as np
>>> family = Family("sex", (), 0, ((("sex", "f"),), (("sex", "m"),)), np.array([1, 2]))
>>> reference_place(family, [40, 60]), reference_place(family, [40, 60], "sex=f")
(1, 0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evalkit.errors import ConfigError, listing, nearest
from evalkit.fairness.families import Family
from evalkit.slicing.spec import SliceKey, slice_text

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def reference_place(family: Family, rows: ArrayLike, reference: SliceKey | str | None = None) -> int:
    """Returns the reference's place among a family's groups.

    Args:
        family: the groups.
        rows: [groups] rows of each.
        reference: a group's pairs of column and value, or its text such as `sex=f`; None: the largest group.

    Raises:
        ConfigError: there is no such group, or none at all.
    """
    if not family.groups:
        raise ConfigError(f'There are no groups by "{family.across}".')
    if reference is None:
        return int(np.argmax(np.asarray(rows)))
    wanted = reference if isinstance(reference, str) else slice_text(reference)
    known = [slice_text(group) for group in family.groups]
    if wanted not in known:
        raise ConfigError(
            f'No group "{wanted}" by "{family.across}".{nearest(wanted, known)} Groups: {listing(known)}.'
        )
    return known.index(wanted)
