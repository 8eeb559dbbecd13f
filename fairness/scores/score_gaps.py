"""What scores say about groups without any threshold: every measure from one histogram.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> data = {"y": [1, 0, 1, 0] * 9, "p": [0.9, 0.5, 0.4, 0.2] * 9, "sex": ["f", "f", "m", "m"] * 9}
>>> evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["sex"]).evaluations[0]
>>> found = score_measures(evaluation, families(evaluation, ["sex"])[0])
>>> [(m.metric, m.group[0][1], m.value) for m in found if m.metric == "bpsn_auc"]
[('bpsn_auc', 'f', 0.0), ('bpsn_auc', 'm', 1.0)]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.contrast import Contrast
from evalkit.errors import ConfigError
from evalkit.fairness.families import Family
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.measure import Measure
from evalkit.fairness.reference import Pairs, pairs_of
from evalkit.fairness.scores import bias_auc
from evalkit.fairness.scores.abroca import Chances, area_between
from evalkit.fairness.scores.auc_contrasts import AucContrasts, LargestDifference
from evalkit.fairness.scores.bias_auc import with_rest
from evalkit.fairness.scores.cross_auc import CrossAuc, MeanAuc, cross_auc
from evalkit.results import Evaluation
from evalkit.slicing.spec import slice_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Groups = tuple[int, ...]

_JIGSAW = ("subgroup_auc", "bpsn_auc", "bnsp_auc")
_PINNED = "misleads where groups differ in their share of positives; see bpsn_auc and bnsp_auc"
_BY_GROUP: dict[str, Callable[[CrossAuc, int], MeanAuc]] = {
    "subgroup_auc": bias_auc.subgroup_auc,
    "bpsn_auc": bias_auc.bpsn_auc,
    "bnsp_auc": bias_auc.bnsp_auc,
    "pinned_auc": bias_auc.pinned_auc,
}


def score_measures(
    evaluation: Evaluation, family: Family, *, reference: Any = None, level: float = 0.95, seed: int = 0
) -> list[Measure]:
    """Returns what scores say about the groups of a family without a threshold.

    | measure | of | what |
    |---|---|---|
    | `subgroup_auc` | each group | AUC within it |
    | `bpsn_auc`, `bnsp_auc`, `pinned_auc` | each group | AUC against its background |
    | `positive_aeg`, `negative_aeg` | each group | P(its positive, or negative, is above one of the background) - 1/2 |
    | `xauc` | group, reference | P(a positive of the group scores above a negative of the reference) |
    | `xauc_difference` | pair | xauc of group and reference, less that of reference and group |
    | `subgroup_auc_difference` | pair | AUC within the group, less that within the reference |
    | `abroca` | pair | area between both ROC curves; no interval, beside what equal curves lead to |
    | `xauc_gap`, `subgroup_auc_gap` | all groups | the largest of these differences, bounds for all pairs at once |
    | `generalized_mean_auc` | all groups | the Jigsaw score; with `@of=` the power means that it is made of |

    Groups in which a label has no rows are undefined there.

    Args:
        evaluation: with a metric of scores.
        family: groups of which no row is in two.
        reference: a group that pairs are formed with, as its value, its text or its key; None: all pairs.
        level: the confidence of intervals.
        seed: fixes the draws behind p-values of `abroca`.

    Raises:
        ConfigError: there are no scores, no such reference or more than 40 groups.
        DataError: groups share rows.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, such as 0.95; not {level!r}.")
    scores = with_rest(evaluation, family)
    made = _Made(family, scores, cross_auc(scores), pairs_of(family, reference), level, seed)
    return [
        *made.of_groups(),
        *made.gaps_of_background(),
        *made.crossed(),
        *made.within(),
        *made.areas(),
        *made.means(),
    ]


@dataclass(frozen=True)
class _Made:
    """Measures of one family in the making."""

    family: Family
    scores: GroupScores
    auc: CrossAuc
    pairs: Pairs
    level: float
    seed: int

    @property
    def groups(self) -> int:
        return len(self.family.groups)

    def of_groups(self) -> list[Measure]:
        """Returns AUCs of each group, within it and against its background."""
        found = []
        for name, of in _BY_GROUP.items():
            note = _PINNED if name == "pinned_auc" else ""
            found += self._each(name, [of(self.auc, g) for g in range(self.groups)], self._alone, note=note)
        return found

    def gaps_of_background(self) -> list[Measure]:
        """Returns average equality gaps, with a test that they are 0."""
        found = []
        for name, label in (("positive_aeg", 1), ("negative_aeg", 0)):
            shifts = [bias_auc.shift(self.auc, g, label) for g in range(self.groups)]
            found += self._each(name, shifts, self._alone, less=0.5)
        return found

    def crossed(self) -> list[Measure]:
        """Returns the xAUC matrix without its diagonal, differences across it, and the largest of those."""
        cells = [(i, j) for i in range(self.groups) for j in range(self.groups) if i != j]
        if not cells:
            return []
        quantities = [bias_auc.xauc(self.auc, i, j) for i, j in cells]
        place = {cell: k for k, cell in enumerate(cells)}
        across = np.array([[place[i, j], place[j, i]] for i, j in self.pairs])
        differences = self._differences("xauc_difference", "xauc_gap", quantities, across)
        return [*self._each("xauc", quantities, cells), *differences]

    def within(self) -> list[Measure]:
        """Returns differences of groups' own AUCs, and the largest."""
        if not self.pairs:
            return []
        quantities = [bias_auc.subgroup_auc(self.auc, g) for g in range(self.groups)]
        return self._differences("subgroup_auc_difference", "subgroup_auc_gap", quantities, np.array(self.pairs))

    def areas(self) -> list[Measure]:
        """Returns areas between ROC curves, each beside what it is expected to be were the curves equal."""
        found, chances = [], Chances(self.scores, self.seed)
        for i, j in self.pairs:
            value, rows, support = area_between(*self.scores.weight[[i, j]]), self._rows((i, j)), self._rarer((i, j))
            testable = support > 1 and not self.auc.units < 5
            chance, how = chances.of(i, j) if testable else (None, "none")
            note = [f"expected were the curves equal: {chance.expected:.4f}"] if chance else []
            note += ["scores binned"] if self.scores.binned else []
            found.append(
                Measure(
                    metric="abroca",
                    across=self.family.across,
                    value=value,
                    level=self.family.level,
                    group=self.family.groups[i],
                    reference=self.family.groups[j],
                    confidence=self.level,
                    method=how,
                    p_value=chance.p_value if chance else float("nan"),
                    rows=rows,
                    support=support,
                    fair=0.0,
                    status="ok" if testable else "too_few_rows",
                    approximate=self.scores.binned,
                    note="; ".join(note),
                )
            )
        return found

    def means(self) -> list[Measure]:
        """Returns the Jigsaw score and the power means of bias AUCs that it is made of."""
        by_name = {name: [_BY_GROUP[name](self.auc, g) for g in range(self.groups)] for name in _JIGSAW}
        missing = sum(any(np.isnan(q.value) for q in of) for of in zip(*by_name.values(), strict=True))
        note = f"groups without an AUC left out: {missing}" if missing else ""
        found = self._each("generalized_mean_auc", [bias_auc.jigsaw_score(self.auc, self.groups)], [()], note=note)
        for name, of in by_name.items():
            found += self._each(f"generalized_mean_auc@of={name}", [bias_auc.generalized_mean(of)], [()], note=note)
        return found

    def _each(
        self, name: str, quantities: Sequence[MeanAuc], groups: Sequence[Groups], *, less: float = 0.0, note: str = ""
    ) -> list[Measure]:
        """Returns AUCs; less 1/2 they are tested against 0."""
        aucs = AucContrasts.of(self.auc, quantities)
        contrast = aucs.each()
        p = contrast.two_sided(less) if less else np.full(len(groups), np.nan)
        fair = 0.0 if less else float("nan")
        found = self._measures(name, contrast, groups, [aucs.rough(k) for k in range(len(groups))], p, fair)
        return [
            replace(
                m,
                value=m.value - less,
                low=m.low - less,
                high=m.high - less,
                support=int(rarer),
                note="; ".join(text for text in (note, m.note) if text),
            )
            for m, rarer in zip(found, aucs.rarer, strict=True)
        ]

    def _differences(self, name: str, gap: str, of: Sequence[MeanAuc], pairs: NDArray[np.int64]) -> list[Measure]:
        aucs = AucContrasts.of(self.auc, of)
        contrast = aucs.differences(pairs)
        rough = [aucs.rough(*pair) for pair in pairs]
        found = self._measures(name, contrast, self.pairs, rough, contrast.two_sided(), 0.0)
        top = aucs.largest(pairs, self.level)
        return [*found, self._gap(gap, top, contrast.method, aucs.rough(*np.unique(pairs)))]

    def _measures(
        self, name: str, contrast: Contrast, groups: Sequence[Groups], rough: Sequence[str], p: Floats, fair: float
    ) -> list[Measure]:
        low, high = contrast.interval((1 - self.level) / 2)
        return [
            Measure(
                metric=name,
                across=self.family.across,
                value=float(contrast.value[k]),
                low=float(low[k]),
                high=float(high[k]),
                level=self.family.level,
                group=self.family.groups[own[0]] if own else (),
                reference=self.family.groups[own[1]] if len(own) > 1 else (),
                confidence=self.level,
                method="none" if contrast.why[k] else contrast.method,
                p_value=float(p[k]),
                rows=self._rows(own),
                support=self._rarer(own),
                fair=fair,
                status="too_few_rows" if contrast.why[k] else "ok",
                approximate=bool(rough[k]) and not contrast.why[k],
                note=contrast.why[k] or rough[k],
            )
            for k, own in enumerate(groups)
        ]

    def _gap(self, name: str, top: LargestDifference, method: str, rough: str) -> Measure:
        i, j = self.pairs[top.pair]
        of = f"between {slice_text(self.family.groups[i])} and {slice_text(self.family.groups[j])}"
        return Measure(
            metric=name,
            across=self.family.across,
            value=top.value,
            low=top.low,
            high=top.high,
            level=self.family.level,
            confidence=self.level,
            method=f"{method}, simultaneous",
            p_value=top.p_value,
            rows=self._rows(()),
            support=self._rarer(()),
            fair=0.0,
            approximate=bool(rough),
            note="; ".join(text for text in ("" if np.isnan(top.value) else of, rough) if text),
        )

    @property
    def _alone(self) -> list[Groups]:
        return [(g,) for g in range(self.groups)]

    def _rows(self, groups: Groups) -> int:
        """Rows of some groups; of none named, of all rows of the level."""
        return int(self.auc.rows.reshape(-1, 2)[list(groups) or slice(None)].sum())

    def _rarer(self, groups: Groups) -> int:
        """The fewest rows of a group and label."""
        return int(self.auc.rows.reshape(-1, 2)[list(groups) or slice(None, self.groups)].min())
