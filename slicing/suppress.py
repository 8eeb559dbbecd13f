"""Which slices to hide so that no group smaller than k can be read off the others.

Siblings are hidden at least in pairs and until they hold k rows together, along every line of one- and two-way tables.
Then what is left is attacked: the counts of a cross and of its columns are the flows of a network, in which an unknown
flow can be told exactly where no cycle of unknown flows leads through it. More is hidden until no small slice can be.
For tables of three ways and more, and across different binnings of one column, nothing is claimed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evalkit.slicing.spec import SliceKey

Slices = Mapping[SliceKey, int]
Node = tuple[str, SliceKey]
Place = tuple[int, SliceKey]  # a slice of a set


def suppressed(slice_sets: Sequence[Slices], rows: int, below: int) -> list[set[SliceKey]]:
    """Returns the slices of each set to hide.

    Args:
        slice_sets: the rows of each slice, one mapping for each set (overall not among them).
        rows: the number of all rows.
        below: slices with fewer rows are hidden, and as many others as it takes.

    >>> sex = {(("sex", "f"),): 3, (("sex", "m"),): 90, (("sex", "x"),): 7}
    >>> [sorted(key[0][1] for key in hidden) for hidden in suppressed([sex], 100, below=5)]
    [['f', 'x']]
    """
    hidden = [{key for key, n in slices.items() if n < below} for slices in slice_sets]
    small = {(index, key) for index, keys in enumerate(hidden) for key in keys}
    lines = [line for index, slices in enumerate(slice_sets) for line in _lines(index, slices, slice_sets, rows)]
    networks = list(_networks(slice_sets, rows))
    _pair_up(hidden, lines, slice_sets, below)
    while (more := _more_to_hide(networks, hidden, small)) is not None:
        hidden[more[0]].add(more[1])
        _pair_up(hidden, lines, slice_sets, below)
    return hidden


def _pair_up(
    hidden: list[set[SliceKey]],
    lines: Sequence[tuple[int, list[SliceKey], int]],
    slice_sets: Sequence[Slices],
    below: int,
) -> None:
    """Hides siblings until every line with something hidden hides two parts, of `below` rows together."""
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


def _lines(
    index: int, slices: Slices, slice_sets: Sequence[Slices], rows: int
) -> list[tuple[int, list[SliceKey], int]]:
    """Groups the slices of a set by each margin that is published: all rows, or one part of a cross."""
    result = [(index, list(slices), rows)]
    width = max((len(key) for key in slices), default=0)
    for place in range(width if width > 1 else 0):
        margin: defaultdict[SliceKey, list[SliceKey]] = defaultdict(list)
        for key in slices:
            margin[key[place : place + 1]].append(key)
        published: dict[SliceKey, int] = {k: n for other in slice_sets for k, n in other.items() if len(k) == 1}
        result += [(index, members, published[part]) for part, members in margin.items() if part in published]
    return result


# --- the attack ---


@dataclass(frozen=True)
class _Flow:
    """A count between two nodes, each of whose inflow equals its outflow.

    Attributes:
        tail: where it comes from.
        head: where it goes to.
        n: the rows.
        place: the slice whose count it is; None for a count that is not published at all.
    """

    tail: Node
    head: Node
    n: int
    place: Place | None


_ALL_ROWS: Node = ("rows", ())
_END: Node = ("end", ())
_OUTSIDE: Node = ("outside", ())


def _networks(slice_sets: Sequence[Slices], rows: int) -> Iterator[list[_Flow]]:
    """Yields the flows of each set of one or two columns: all rows to the first one's slices, the second's, and out."""
    columns: dict[SliceKey, Place] = {}
    for index, slices in enumerate(slice_sets):
        columns.update((key, (index, key)) for key in slices if len(key) == 1)
    for index, slices in enumerate(slice_sets):
        width = {len(key) for key in slices}
        if width == {1}:
            flows = [_Flow(_ALL_ROWS, _END, n, (index, key)) for key, n in slices.items()]
            flows += _rest(_ALL_ROWS, _END, rows - sum(slices.values()))
        elif width == {2}:
            flows = [_Flow(("first", key[:1]), ("second", key[1:]), n, (index, key)) for key, n in slices.items()]
            flows += _margins(slices, slice_sets, columns, rows)
        else:
            continue
        if all(flow.n >= 0 for flow in flows):  # else a row is in several slices, and nothing adds up
            yield flows


def _margins(
    slices: Slices, slice_sets: Sequence[Slices], columns: Mapping[SliceKey, Place], rows: int
) -> Iterator[_Flow]:
    """Yields the counts of both columns of a cross, and those of rows outside them."""
    for part in (0, 1):
        cells: dict[SliceKey, int] = defaultdict(int)
        for key, n in slices.items():
            cells[(key[part],)] += n
        names = {key[0][0] for key in cells}
        whole = dict(cells)
        whole.update((k, n) for s in slice_sets for k, n in s.items() if len(k) == 1 and k[0][0] in names)
        for key, n in whole.items():
            node: Node = ("second" if part else "first", key)
            place = columns.get(key)
            yield _Flow(node, _END, n, place) if part else _Flow(_ALL_ROWS, node, n, place)
            yield from _rest(*((_OUTSIDE, node) if part else (node, _OUTSIDE)), n - cells[key])
        yield from _rest(*((_OUTSIDE, _END) if part else (_ALL_ROWS, _OUTSIDE)), rows - sum(whole.values()))


def _rest(tail: Node, head: Node, n: int) -> list[_Flow]:
    return [_Flow(tail, head, n, None)] if n else []


def _more_to_hide(networks: Sequence[list[_Flow]], hidden: Sequence[set[SliceKey]], small: set[Place]) -> Place | None:
    """Returns the smallest shown slice beside a small one that can be told; None where none can be."""
    told: set[Place] = set()
    while True:
        new: list[tuple[list[_Flow], _Flow]] = []
        for flows in networks:
            unknown = [
                f for f in flows if f.place is None or (f.place[1] in hidden[f.place[0]] and f.place not in told)
            ]
            new += [(flows, f) for f in unknown if f.place is not None and _can_be_told(f, unknown)]
        for flows, flow in new:
            if flow.place in small:
                shown = [f for f in flows if f.place is not None and f.place[1] not in hidden[f.place[0]]]
                ends = {flow.tail, flow.head} - {_ALL_ROWS, _END, _OUTSIDE}
                beside = [f for f in shown if {f.tail, f.head} & ends] or shown
                if beside:
                    return min(((f.n, f.place) for f in beside if f.place is not None), key=lambda found: found[0])[1]
        known = {flow.place for _, flow in new if flow.place is not None}
        if known <= told:
            return None
        told |= known


def _can_be_told(flow: _Flow, unknown: Sequence[_Flow]) -> bool:
    """Tells whether the other unknown flows leave one value alone: each is at least 1 row, since it has a name."""
    arcs: dict[Node, list[Node]] = defaultdict(list)
    for other in unknown:
        if other is not flow:
            arcs[other.tail].append(other.head)
            if other.n > 1:
                arcs[other.head].append(other.tail)
    may_grow = _leads(arcs, flow.head, flow.tail)
    return not (may_grow or (flow.n > 1 and _leads(arcs, flow.tail, flow.head)))


def _leads(arcs: Mapping[Node, list[Node]], start: Node, goal: Node) -> bool:
    seen, waiting = {start}, [start]
    while waiting:
        for node in arcs.get(waiting.pop(), ()):
            if node == goal:
                return True
            if node not in seen:
                seen.add(node)
                waiting.append(node)
    return False
