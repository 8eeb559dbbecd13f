"""What rules would do: replayed on a champion that is churned at random, or made worse by a known amount.

Two models are made of the champion by giving a random share of rows, another share for each, the score of a random row
with the same label. Neither is better than the other, in any slice, so a gate that blocks one errs. A drop is planted
by turning right decisions into wrong ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import ConfigError, UsageError, listing, nearest
from evalkit.flips import decided
from evalkit.gate import checked, outcomes
from evalkit.gates.questions import Run, meant
from evalkit.gates.rules import GateSettings
from evalkit.gates.verdict import Verdict
from evalkit.pairing import Members, Pair, members_of
from evalkit.recollect import layout, recollected
from evalkit.results import Evaluation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evalkit.collect import Rows


@dataclass(frozen=True)
class Replay:
    """How often a gate came to each outcome.

    Attributes:
        replicates: the number of replays.
        outcomes: how many were `pass`, `fail`, `insufficient` or `skipped`.
        rules: for each rule, how many of its outcomes were each of these.
    """

    replicates: int
    outcomes: Counter[str] = field(default_factory=Counter)
    rules: dict[str, Counter[str]] = field(default_factory=dict)

    def share(self, outcome: str) -> float:
        """Returns the share of replays with an outcome."""
        return self.outcomes[outcome] / self.replicates

    def interval(self, outcome: str) -> tuple[float, float]:
        """Returns the 95% interval of that share (Wilson)."""
        from evalkit.interval import critical, wilson

        ends = wilson(np.array([self.share(outcome)]), np.array([float(self.replicates)]), critical(0.95))
        return float(ends[0][0]), float(ends[1][0])


@dataclass(frozen=True)
class Power:
    """What rules would do to an equal model, and to one that is worse.

    Attributes:
        churn: the share of rows that two equal models score differently.
        drop: how much accuracy the worse model loses.
        slice: where it loses it.
        rows: rows there.
        equal: replays with equal models.
        worse: replays with the drop planted in the candidate.
    """

    churn: float
    drop: float
    slice: str
    rows: int
    equal: Replay
    worse: Replay


def power(
    champion: Evaluation,
    settings: GateSettings,
    *,
    churn: float = 0.05,
    drop: float = 0.05,
    slice: str = "overall",  # noqa: A002 - the table's word
    replicates: int = 200,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Power:
    """Replays rules on a champion's rows.

    Args:
        champion: an evaluation that keeps its rows, of binary labels.
        settings: the rules.
        churn: the share of rows on which two equal models differ.
        drop: accuracy that the worse candidate loses in the slice.
        slice: where the drop is planted.
        replicates: how many times each is replayed.
        seed: fixes the draws.
        progress: called with what is being done.

    Raises:
        UsageError: rows were not kept, or labels are not binary.
        ConfigError: a share lies outside (0, 1), the slice is not there, or a rule cannot hold.
    """
    if champion.rows is None or champion.rows.rows.label is None:
        raise UsageError("The rules are replayed on rows: the run kept none.")
    if champion.settings.task != "binary":
        raise UsageError("Replays need binary labels.")
    for name, share in (("churn", churn), ("drop", drop)):
        if not 0 < share < 1:
            raise ConfigError(f"{name} is a share of rows between 0 and 1, not {share:g}.")
    texts = champion.plan.texts
    if slice not in texts:
        raise ConfigError(f'No slice "{slice}" here.{nearest(slice, texts)} There are: {listing(texts)}.')
    checked(settings, champion, {}, "")
    replay = _Replays(_only_metrics(champion, settings), settings, churn, seed)
    inside = _rows_in(replay.members, texts.index(slice), champion.rows.rows.n)
    say = progress or (lambda _step: None)
    say("replaying equal models")
    equal = replay.of(replicates, None, 0.0)
    say(f"replaying a drop of {drop:g}")
    worse = replay.of(replicates, inside, drop)
    return Power(churn, drop, slice, int(inside.sum()), equal, worse)


def _only_metrics(champion: Evaluation, settings: GateSettings) -> Evaluation:
    wanted = {meant(name, champion) for name in settings.metrics}
    kept = tuple((name, m) for name, m in champion.metrics if name in wanted)
    if not kept:
        raise ConfigError(f"None of the rules' metrics was evaluated: {listing(settings.metrics)}.")
    return replace(champion, metrics=kept)


def _rows_in(members: tuple[Members, ...], place: int, n: int) -> NDArray[np.bool_]:
    inside = np.zeros(n, dtype=bool)
    for of_set in members:
        held = of_set.slices == place
        inside[held if of_set.rows is None else of_set.rows[held]] = True
    return inside


class _Replays:
    """A champion's rows, and gates of models made of them."""

    def __init__(self, champion: Evaluation, settings: GateSettings, churn: float, seed: int) -> None:
        self.champion, self.settings, self.churn = champion, settings, churn
        self.members = tuple(members_of(champion))
        self._layout = layout(champion)
        self._random = np.random.default_rng(seed)
        self._names = tuple(name for name, _ in champion.metrics)

    def of(self, replicates: int, inside: NDArray[np.bool_] | None, drop: float) -> Replay:
        """Replays a gate so many times, with a drop planted in some rows where they are given."""
        found = Replay(replicates)
        for _ in range(replicates):
            verdict = self._once(inside, drop)
            found.outcomes[verdict.outcome] += 1
            for rule in verdict.rules:
                found.rules.setdefault(rule.name, Counter())[rule.outcome] += 1
        return found

    def _once(self, inside: NDArray[np.bool_] | None, drop: float) -> Verdict:
        if self.champion.rows is None:
            raise UsageError("no rows are kept")
        rows = self.champion.rows.rows
        order = self._random.permutation(rows.n)
        size = round(self.churn * rows.n / 2)
        baseline = self._exchanged(rows, order[:size])
        candidate = self._exchanged(rows, order[size : 2 * size])
        if inside is not None:
            candidate = self._spoiled(candidate, inside, drop)
        base, new = (recollected(self.champion, made, self._layout) for made in (baseline, candidate))
        pair = Pair(replace(base, model="champion"), new, "rows", (), self.members)
        run = Run(new, pair, self._names)
        return Verdict(new.model, "champion", tuple(outcomes(self.settings, run)), self.settings.alpha)

    def _exchanged(self, rows: Rows, chosen: NDArray[np.int64]) -> Rows:
        """Gives chosen rows the outputs of random rows with the same label."""
        donors = chosen.copy()
        for label in (0, 1):
            own = chosen[rows.label[chosen] == label]  # type: ignore[index]
            pool = np.flatnonzero(rows.label == label)
            donors[rows.label[chosen] == label] = self._random.choice(pool, len(own))  # type: ignore[index]
        return _with_outputs(rows, chosen, donors)

    def _spoiled(self, rows: Rows, inside: NDArray[np.bool_], drop: float) -> Rows:
        """Turns right decisions into wrong ones, by the outputs of random rows that were decided the other way."""
        held = replace(self.champion, rows=replace(self.champion.rows, rows=rows))  # type: ignore[type-var]
        decisions = decided(held, None)
        right = np.flatnonzero(inside & (decisions == (rows.label == 1)))
        chosen = self._random.permutation(right)[: round(drop * inside.sum())]
        donors = chosen.copy()
        for decision in (False, True):
            own = decisions[chosen] == decision
            pool = np.flatnonzero(decisions != decision)
            if not len(pool) and own.any():
                raise UsageError("The champion decides every row alike, so no drop can be planted.")
            donors[own] = self._random.choice(pool, int(own.sum())) if own.any() else donors[own]
        return _with_outputs(rows, chosen, donors)


def _with_outputs(rows: Rows, chosen: NDArray[np.int64], donors: NDArray[np.int64]) -> Rows:
    outputs: dict[str, Any] = {}
    for role in ("score", "prediction"):
        values = getattr(rows, role)
        if values is not None:
            values = values.copy()
            values[chosen] = getattr(rows, role)[donors]
            outputs[role] = values
    return replace(rows, **outputs)
