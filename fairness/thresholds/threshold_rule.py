"""Which rows are decided positive: a threshold for each group, or a mixture of thresholds.

>>> import numpy as np
>>> rule = ThresholdRule((np.array([0.7]), np.array([0.6, 0.2])), (np.array([1.0]), np.array([0.25, 0.75])))
>>> rule.probability(np.array([0.1, 0.3, 0.9])).tolist()
[[0.0, 0.0, 1.0], [0.0, 0.75, 1.0]]
>>> rule.text(["sex=f", "sex=m"])
'sex=f from 0.7; sex=m from 0.6 (25%), 0.2 (75%)'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ThresholdRule:
    """Each group's thresholds, from the highest down, and with which probability each of them decides a row.

    Attributes:
        thresholds: [groups] of [mixed]; scores of at least the threshold are decided positive, and of an infinite one
            none are.
        shares: [groups] of [mixed], which sum to 1.
    """

    thresholds: tuple[Floats, ...]
    shares: tuple[Floats, ...]

    @classmethod
    def of(cls, thresholds: Sequence[float]) -> ThresholdRule:
        """Returns the rule of one threshold for each group."""
        return cls(tuple(np.array([float(t)]) for t in thresholds), tuple(np.ones(1) for _ in thresholds))

    @property
    def mixed(self) -> bool:
        """Whether some decisions are drawn."""
        return any(len(own) > 1 for own in self.shares)

    def probability(self, scores: NDArray[np.floating]) -> Floats:
        """Returns with which probability a score is decided positive in each group, [groups, scores].

        Thresholds are compared in the scores' own dtype.
        """
        found = []
        for thresholds, shares in zip(self.thresholds, self.shares, strict=True):
            reached = scores[None, :] >= thresholds.astype(scores.dtype)[:, None]
            found.append(shares @ reached if len(shares) > 1 else reached[0].astype(np.float64))
        return np.stack(found)

    def text(self, names: Sequence[str]) -> str:
        """Writes the rule for people."""
        return "; ".join(
            f"{name} {_text(thresholds, shares)}"
            for name, thresholds, shares in zip(names, self.thresholds, self.shares, strict=True)
        )


def _text(thresholds: Floats, shares: Floats) -> str:
    words = ["never" if np.isinf(t) else f"{t:.4g}" for t in thresholds]
    if len(words) == 1:
        return words[0] if words[0] == "never" else f"from {words[0]}"
    return "from " + ", ".join(f"{word} ({share:.0%})" for word, share in zip(words, shares, strict=True))
