"""A histogram of scores in every slice, as the metrics of scores see it.

Entries are the distinct scores of each slice, lowest first, slices one after another. Everything is an array over
entries; `total` and `before` respect the slices, so one compiled function serves slices of any size.

>>> import jax.numpy as jnp
>>> h = Histogram(slices=jnp.array([0, 0, 1]), starts=jnp.array([0, 2]), scores=jnp.array([0.1, 0.9, 0.5]),
...               negatives=jnp.array([1.0, 0.0, 1.0]), positives=jnp.array([0.0, 1.0, 1.0]))
>>> h.total(h.positives).tolist(), h.before(h.negatives).tolist()
([1.0, 1.0], [0.0, 1.0, 0.0])
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jax import Array

_WIDTH = 1024
_LONG, _JOINED = 64, 8


class Histogram:
    """Sums of negatives and positives at each distinct score of each slice.

    Args:
        slices: [runs] int32, ascending; the slice of each run of entries, all runs equally long: each entry by itself,
            or where there are fewer slices than entries, several with zeros after a slice's last. Of long runs the
            first entries of all come first, then the second ones and so on, so that sums along runs are vectors.
        starts: [slices] int32; the first run of each slice.
        scores: [entries] ascending within a slice; a bin's middle where scores are binned.
        negatives: [entries] float64, summed weights of rows with label 0.
        positives: [entries] float64, summed weights of rows with label 1.
        squares: [entries] float64, summed squared weights of all rows; the counts where there are no weights.
        shared: whether several metrics read it, so that its sums and running sums are best found once.
        graded: whether gradients may be taken; where not, several sums are taken together, and iterations may start at
            a coarser histogram.
        by_bin: where every slice has the same scores, those, and what lays values by score out as entries.
    """

    def __init__(
        self,
        *,
        slices: Any,
        starts: Any,
        scores: Any,
        negatives: Any,
        positives: Any,
        squares: Any = None,
        shared: bool = False,
        graded: bool = True,
        by_bin: tuple[Any, Callable[[Any], Any]] | None = None,
    ) -> None:
        self.slices, self.starts, self.scores = slices, starts, scores
        self.negatives, self.positives = negatives, positives
        self.weights: Any = negatives + positives
        """Summed weights of all rows at each entry, [entries]."""
        self.squares = self.weights if squares is None else squares
        self.n = starts.shape[0]
        self.run = scores.shape[0] // slices.shape[0]
        self.graded, self.by_bin = graded, by_bin
        self._found: dict[Any, Any] = {}
        self._totals: dict[int, Any] = {}
        self._before: dict[int, Any] = {}
        if shared:
            kept = {id(v): (self._total(v), self._below(v)) for v in (negatives, positives)}
            both = zip(*kept.values(), strict=True)
            kept[id(self.weights)] = tuple(n + p for n, p in both)
            self._totals = {key: total for key, (total, _) in kept.items()}
            self._before = {key: before for key, (_, before) in kept.items()}

    @functools.cached_property
    def coarse(self) -> Histogram | None:
        """The same slices with an eighth of the entries, neighbours of a run joined; to be asked for before a loop."""
        import jax.numpy as jnp

        if self.graded or self.run < _LONG:
            return None

        def neighbours(values: Any) -> Any:
            return values.reshape(self.run // _JOINED, _JOINED, -1)

        def joined(values: Any) -> Any:
            return neighbours(values).sum(1).reshape(-1)

        weights = joined(self.weights)
        mean = joined(self.weights * self.scores) / jnp.where(weights > 0, weights, 1.0)
        return Histogram(
            slices=self.slices,
            starts=self.starts,
            scores=jnp.where(weights > 0, mean, neighbours(self.scores)[:, 0].reshape(-1)),
            negatives=joined(self.negatives),
            positives=joined(self.positives),
            graded=False,
        )

    def once(self, name: Hashable, find: Callable[[], Any]) -> Any:
        """Returns what `find` does, found once for all metrics that name it."""
        if name not in self._found:
            self._found[name] = find()
        return self._found[name]

    def of_scores(self, function: Callable[[Any], Any]) -> Any:
        """Returns a function of each entry's score, [entries]."""
        if self.by_bin is None:
            return function(self.scores)
        scores, laid = self.by_bin
        return laid(function(scores))

    def total(self, values: Any) -> Array:
        """Sums values over each slice, [entries] to [slices]."""
        known: Array | None = self._totals.get(id(values))
        return self._total(values) if known is None else known

    def _total(self, values: Any) -> Array:
        import jax

        values = values.reshape(self.run, -1).sum(0) if self.run > 1 else values
        return jax.ops.segment_sum(values, self.slices, self.n, indices_are_sorted=True)

    def totals(self, *values: Any) -> tuple[Array, ...]:
        """Sums several values over each slice; without gradients in one pass over what they are made of."""
        import jax
        import jax.numpy as jnp

        if self.graded or self.run == 1:
            return tuple(self.total(v) for v in values)
        rows = tuple(v.reshape(self.run, -1) for v in values)
        zeros = (jnp.zeros((), rows[0].dtype),) * len(rows)
        of_runs = jax.lax.reduce(rows, zeros, lambda a, b: tuple(x + y for x, y in zip(a, b, strict=True)), (0,))
        return tuple(jax.ops.segment_sum(v, self.slices, self.n, indices_are_sorted=True) for v in of_runs)

    def spread(self, values: Any) -> Array:
        """Gives each entry its slice's value, [slices] to [entries]."""
        import jax.numpy as jnp

        result: Array = values[self.slices]
        return jnp.tile(result, self.run) if self.run > 1 else result

    def before(self, values: Any) -> Array:
        """Sums values over the entries of the same slice with lower scores, [entries]."""
        known: Array | None = self._before.get(id(values))
        return self._below(values) if known is None else known

    def _below(self, values: Any) -> Array:

        if self.run > 1:
            inside = _running(values.reshape(self.run, -1))
            last = inside[-1]
            below = cumulative(last) - last
            before = below - below[self.starts][self.slices]
            return (inside + before[None, :]).reshape(-1) - values
        below = cumulative(values) - values
        result: Array = below - below[self.starts][self.slices]
        return result

    def above(self, values: Any) -> Array:
        """Sums values over the entries of the same slice with this score or higher, [entries]."""
        return self.spread(self.total(values)) - self.before(values)

    def highest(self, values: Any) -> Array:
        """Returns the largest value in each slice, [slices]; -inf where there is none. Ties share the gradient."""
        import jax
        import jax.numpy as jnp

        held = jax.lax.stop_gradient(values)
        largest = held.reshape(self.run, -1).max(0) if self.run > 1 else held
        top = self.spread(jax.ops.segment_max(largest, self.slices, self.n, indices_are_sorted=True)) == held
        ties = self.total(top.astype(values.dtype))
        mean = self.total(jnp.where(top, values, 0.0)) / jnp.maximum(ties, 1.0)
        return jnp.where(ties == 0, -jnp.inf, mean)

    def lowest(self, values: Any) -> Array:
        """Returns the smallest value in each slice, [slices]; inf where there is none."""
        return -self.highest(-values)

    def binned(self, values: Any, bins: int) -> Array:
        """Sums values over `bins` equally wide bins of scores in [0, 1], [slices, bins]."""
        import jax
        import jax.numpy as jnp

        index = jnp.clip((self.scores * bins).astype(jnp.int32), 0, bins - 1) + bins * self.spread(
            jnp.arange(self.n, dtype=jnp.int32)
        )
        return jax.ops.segment_sum(values, index, self.n * bins).reshape(self.n, bins)


def cumulative(values: Any) -> Array:
    """Returns the running sum of [n] values; sequential in rows of blocks, which XLA runs fast on a CPU."""
    import jax.numpy as jnp

    n = values.shape[0]
    if n <= _WIDTH or n % _WIDTH:
        return jnp.cumsum(values)
    inside = _running(values.reshape(-1, _WIDTH).T)
    offset = jnp.cumsum(inside[-1]) - inside[-1]
    result: Array = (inside + offset[None, :]).T.reshape(n)
    return result


def _running(rows: Any) -> Any:
    """Returns the running sums of [n, lanes] along n."""
    import jax
    import jax.numpy as jnp

    return jax.lax.scan(lambda carry, row: (carry + row,) * 2, jnp.zeros_like(rows[0]), rows)[1]
