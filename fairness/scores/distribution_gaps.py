"""How far apart the distributions of groups are: of predictions and residuals, or of scores.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> data = {"y": [1.0, 2.0, 3.0, 4.0] * 9, "p": [1.0, 2.5, 3.0, 6.0] * 9, "sex": ["f", "f", "m", "m"] * 9}
>>> evaluation = ek.evaluate(data, label="y", prediction="p", metrics=["mse"], slices=["sex"]).evaluations[0]
>>> found = distribution_measures(evaluation, families(evaluation, ["sex"])[0])
>>> [(m.metric, m.value) for m in found][:3]
[('mean_prediction_difference', -2.75), ('prediction_ks', 1.0), ('prediction_wasserstein', 2.75)]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.contrast import student
from evalkit.errors import ConfigError, DataError
from evalkit.fairness.families import Family
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.measure import Measure
from evalkit.fairness.reference import Pairs, pairs_of
from evalkit.fairness.scores.chance import Chance
from evalkit.fairness.scores.distribution import Distribution
from evalkit.interval import MOST_EXACT_GROUPS
from evalkit.pairing import members_of
from evalkit.results import Evaluation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LEAST_ROWS = 10
_LEAST_UNITS = 5


def distribution_measures(
    evaluation: Evaluation, family: Family, *, reference: Any = None, level: float = 0.95, seed: int = 0
) -> list[Measure]:
    """Returns how far apart the distributions of each pair of groups are.

    Of numeric labels: predictions, and residuals (prediction - label). Else scores, of all rows and with `@label=` of
    those with one label. Of each:

    | measure | what |
    |---|---|
    | `mean_..._difference` | difference of means, group less reference, with Student's t |
    | `..._ks` | largest difference of the shares under a value, in [0, 1] |
    | `..._wasserstein` | area between distribution functions, in the unit of the values |

    The last two are never 0, so they have no interval; the note says what they are expected to be were the groups
    alike, and the p-value is of that.

    Args:
        evaluation: of numeric labels with its rows, or with a metric of scores.
        family: groups of which no row is in two.
        reference: a group that pairs are formed with, as its value, its text or its key; None: all pairs.
        level: the confidence of intervals.
        seed: fixes the draws behind p-values.

    Raises:
        ConfigError: there are neither scores nor rows, or no such reference.
        DataError: groups share rows.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, such as 0.95; not {level!r}.")
    pairs = pairs_of(family, reference)
    if evaluation.settings.task == "regression":
        held = _of_rows(evaluation, family, seed)
        parts = [(name, "", of) for name, of in held.items()]
    else:
        scores = GroupScores.of(evaluation, family)
        parts = [("score", "", Distribution.of_scores(scores, seed=seed))]
        parts += [("score", f"@label={one}", Distribution.of_scores(scores, one, seed)) for one in (1, 0)]
    return [m for name, more, of in parts for m in _Made(family, of, name, more, pairs, level).all()]


def _of_rows(evaluation: Evaluation, family: Family, seed: int) -> dict[str, Distribution]:
    """Returns the distributions of predictions and residuals."""
    if evaluation.rows is None:
        raise ConfigError("Distributions of predictions need rows, and none were kept: evaluate with keep_rows=True.")
    rows = evaluation.rows.rows
    if rows.prediction is None or rows.label is None:
        raise ConfigError("Distributions of residuals need labels and predictions.")
    numbered = np.full(len(evaluation.plan.slices) + 1, -1)
    numbered[family.places] = np.arange(len(family.groups))
    found = [(numbered[of.slices], of) for of in members_of(evaluation) if (numbered[of.slices] >= 0).any()]
    if not found:
        return {}
    [(group, of)] = found
    inside = group >= 0
    row = np.flatnonzero(inside) if of.rows is None else of.rows[inside]
    if of.rows is not None and len(np.unique(row)) < len(row):
        raise DataError(f'Groups of "{family.across}" share rows; give a column with one group in each row.')
    whole = {"prediction": rows.prediction, "residual": rows.prediction - rows.label}
    weight = None if rows.weight is None else rows.weight[row]
    unit = None if rows.group is None or not evaluation.settings.clustered else rows.group[row].astype(np.int64)
    return {
        name: Distribution.of_values(
            values[row], group[inside], len(family.groups), weight=weight, unit=unit, seed=seed
        )
        for name, values in whole.items()
    }


@dataclass(frozen=True)
class _Made:
    """Measures of one number in the making."""

    family: Family
    of: Distribution
    name: str
    more: str
    pairs: Pairs
    level: float

    def all(self) -> list[Measure]:
        means = self._means()
        apart = [self._apart(i, j) for i, j in self.pairs]
        return [m for pair in zip(means, *zip(*apart, strict=True), strict=True) for m in pair] if apart else []

    def _means(self) -> list[Measure]:
        if not self.pairs:
            return []
        i, j = np.array(self.pairs).T
        of = self.of
        variance = np.diag(of.covariance)[i] + np.diag(of.covariance)[j] - 2 * of.covariance[i, j]
        contrast = student(of.mean[i] - of.mean[j], np.sqrt(np.maximum(variance, 0)), self._degrees(i, j), "Welch's t")
        few = tuple("" if self._enough(*pair) else "too few rows" for pair in self.pairs)
        contrast = contrast.without(few)
        low, high = contrast.interval((1 - self.level) / 2)
        p = contrast.two_sided()
        method = "Welch's t" if of.units is None else "Student's t, clustered"
        return [
            self._measure(
                f"mean_{self.name}_difference",
                pair,
                float(contrast.value[k]),
                ends=(float(low[k]), float(high[k])),
                method="none" if contrast.why[k] else method,
                p_value=float(p[k]),
                note=contrast.why[k],
            )
            for k, pair in enumerate(self.pairs)
        ]

    def _degrees(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> Floats:
        """Satterthwaite's degrees of freedom; of clustered rows groups of units less 1."""
        if self.of.units is not None:
            return np.full(len(i), max(self.of.groups_of_units - 1, 1))
        own = np.diag(self.of.covariance)
        effective = np.divide(self.of.total**2, self.of.square.sum(1), out=np.ones(len(own)), where=self.of.rows > 0)
        spread = own**2 / np.maximum(effective - 1, 1)
        each = spread[i] + spread[j]
        return np.divide((own[i] + own[j]) ** 2, each, out=np.ones(len(i)), where=each > 0)

    def _enough(self, i: int, j: int) -> bool:
        return bool(self.of.rows[[i, j]].min() >= _LEAST_ROWS and self.of.groups_of_units >= _LEAST_UNITS)

    def _apart(self, i: int, j: int) -> tuple[Measure, Measure]:
        """Returns both distances of a pair."""
        nothing = Chance(float("nan"), float("nan"))
        ks, wasserstein, how = self.of.chances(i, j) if self._enough(i, j) else (nothing, nothing, "none")

        def made(name: str, value: float, chance: Chance) -> Measure:
            note = "" if how == "none" else f"expected were the groups alike: {chance.expected:.4g}"
            return self._measure(
                f"{self.name}_{name}", (i, j), value, method=how, p_value=chance.p_value, note=note or "too few rows"
            )

        return made("ks", self.of.ks(i, j), ks), made("wasserstein", self.of.wasserstein(i, j), wasserstein)

    def _measure(
        self,
        name: str,
        pair: tuple[int, int],
        value: float,
        *,
        ends: tuple[float, float] = (float("nan"), float("nan")),
        method: str,
        p_value: float,
        note: str,
    ) -> Measure:
        rows = self.of.rows[list(pair)]
        rough = ["values binned"] if self.of.binned else []
        few_units = self.of.groups_of_units < MOST_EXACT_GROUPS
        rough += [f"{self.of.groups_of_units:.0f} groups of units"] if few_units else []
        return Measure(
            metric=name + self.more,
            across=self.family.across,
            value=value,
            low=ends[0],
            high=ends[1],
            level=self.family.level,
            group=self.family.groups[pair[0]],
            reference=self.family.groups[pair[1]],
            confidence=self.level,
            method=method,
            p_value=p_value,
            rows=int(rows.sum()),
            support=int(rows.min()),
            fair=0.0,
            status="ok" if self._enough(*pair) else "too_few_rows",
            approximate=bool(rough),
            note="; ".join(text for text in (note, *rough) if text),
        )
