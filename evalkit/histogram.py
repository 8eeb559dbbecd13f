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

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jax import Array

_WIDTH = 1024


class Histogram:
    """Sums of negatives and positives at each distinct score of each slice.

    Args:
        slices: [entries] int32, ascending; the slice of each entry.
        starts: [slices] int32; the first entry of each slice.
        scores: [entries] ascending within a slice; a bin's middle where scores are binned.
        negatives: [entries] float64, summed weights of rows with label 0.
        positives: [entries] float64, summed weights of rows with label 1.
        squares: [entries] float64, summed squared weights of all rows; the counts where there are no weights.
    """

    def __init__(
        self, *, slices: Any, starts: Any, scores: Any, negatives: Any, positives: Any, squares: Any = None
    ) -> None:
        self.slices, self.starts, self.scores = slices, starts, scores
        self.negatives, self.positives = negatives, positives
        self.squares = negatives + positives if squares is None else squares
        self.n = starts.shape[0]

    @property
    def weights(self) -> Array:
        """Summed weights of all rows at each entry, [entries]."""
        result: Array = self.negatives + self.positives
        return result

    def total(self, values: Any) -> Array:
        """Sums values over each slice, [entries] to [slices]."""
        import jax

        return jax.ops.segment_sum(values, self.slices, self.n, indices_are_sorted=True)

    def spread(self, values: Any) -> Array:
        """Gives each entry its slice's value, [slices] to [entries]."""
        result: Array = values[self.slices]
        return result

    def before(self, values: Any) -> Array:
        """Sums values over the entries of the same slice with lower scores, [entries]."""
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
        top = self.spread(jax.ops.segment_max(held, self.slices, self.n, indices_are_sorted=True)) == held
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

        index = jnp.clip((self.scores * bins).astype(jnp.int32), 0, bins - 1) + bins * self.slices
        return jax.ops.segment_sum(values, index, self.n * bins).reshape(self.n, bins)


def cumulative(values: Any) -> Array:
    """Returns the running sum of [n] values; sequential in rows of blocks, which XLA runs fast on a CPU."""
    import jax
    import jax.numpy as jnp

    n = values.shape[0]
    if n <= _WIDTH or n % _WIDTH:
        return jnp.cumsum(values)
    blocks = values.reshape(-1, _WIDTH).T
    last, inside = jax.lax.scan(lambda carry, row: (carry + row,) * 2, jnp.zeros_like(blocks[0]), blocks)
    offset = jnp.cumsum(last) - last
    result: Array = (inside + offset[None, :]).T.reshape(n)
    return result
