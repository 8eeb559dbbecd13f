"""Which groups are held against which: all pairs, or each with a reference."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from evalkit.errors import ConfigError, listing, nearest
from evalkit.fairness.families import Family
from evalkit.slicing.spec import slice_text

Pairs = list[tuple[int, int]]


def group_place(family: Family, reference: Any) -> int | None:
    """Returns the place of a group that is named by its key, its text such as `race=white`, or its value.

    Raises:
        ConfigError: there is no such group.
    """
    if reference is None:
        return None
    texts = [slice_text(key) for key in family.groups]
    for place, key in enumerate(family.groups):
        if reference in (key, texts[place]) or (len(key) == 1 and str(reference) == str(key[0][1])):
            return place
    asked = slice_text(reference) if isinstance(reference, tuple) else str(reference)
    raise ConfigError(
        f'No group of "{family.across}" is "{asked}".{nearest(asked, texts)} Groups are: {listing(texts) or "none"}.'
    )


def pairs_of(groups: int, reference: int | None) -> Pairs:
    """Returns pairs of a group and its reference: all, each once, or those with one reference."""
    if reference is None:
        return list(combinations(range(groups), 2))
    return [(g, reference) for g in range(groups) if g != reference]
