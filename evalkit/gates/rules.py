"""The rules of a gate, as YAML holds them.

>>> settings = GateSettings.model_validate({"rules": [{"metric": "recall", "value": 0.65, "slices": "race=*"}]})
>>> rule = settings.rules[0]
>>> rule.title, rule.claimed, rule.bounds()
('recall >= 0.65 on race=*', 'flag', [('value', 0.65, 'at least')])
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from evalkit.errors import ConfigError, UsageError, listing, nearest
from evalkit.gates.verdict import Claim, Side
from evalkit.slicing.spec import Dimension, SliceKey, SliceSet, slice_text


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise PydanticCustomError("finite", "a finite number")
    return number


def _day(text: str) -> str:
    try:
        return str(dt.date.fromisoformat(text))
    except ValueError:
        raise PydanticCustomError("day", "a day such as 2027-01-31") from None


Text = Annotated[str, Field(strict=True, min_length=1)]
Day = Annotated[Text, AfterValidator(_day)]
Number = Annotated[float, Field(strict=True), AfterValidator(_finite)]
QUANTITIES = ("value", "delta", "relative_delta")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bounds(_Settings):
    """Bounds of a quantity, both inclusive."""

    min: Number | None = Field(default=None, description="The least it may be.")
    max: Number | None = Field(default=None, description="The most it may be.")


class Rule(_Settings):
    """What every kind of rule has."""

    name: Text | None = Field(default=None, description="The rule's name; by default what it asks.")
    claim: Claim | None = Field(
        default=None,
        description="certify passes only if shown within the bound; flag fails only if shown beyond it. By default "
        "certify for overall and named slices, flag for all and patterns.",
    )
    evidence: Literal["interval", "point"] = Field(
        default="interval", description="Whether the interval decides, or the value alone."
    )
    min_rows: Annotated[int, Field(strict=True, ge=0)] = Field(
        default=30, description="A slice with a smaller support is not decided."
    )
    severity: Literal["block", "warn"] = Field(default="block", description="Whether the rule blocks or only warns.")
    owner: Text | None = Field(default=None, description="Who owns the rule.")
    reason: Text | None = Field(default=None, description="Why the rule is there.")
    expires: Day | None = Field(default=None, description="The last day on which it holds, such as 2027-01-31.")


class MetricRule(Rule):
    """A bound on a metric, or on its difference to the baseline, in some slices."""

    kind: ClassVar[str] = "metric"

    metric: Text = Field(description="The metric's name, such as roc_auc or precision@0.7.")
    slices: Text | Annotated[list[Text], Field(min_length=1)] = Field(
        default="overall",
        description="overall, all (every slice but overall), a slice such as race=black, a pattern such as race=*, or "
        "a list of these.",
    )
    value: Number | Bounds | None = Field(
        default=None, description="A bound of the value; a number is the least, or for errors and costs the most."
    )
    delta: Number | Bounds | None = Field(
        default=None, description="A bound of candidate minus baseline; a number bounds it from the side of harm."
    )
    relative_delta: Number | Bounds | None = Field(
        default=None, description="A bound of candidate minus baseline over |baseline|."
    )
    margin: Number = Field(
        default=0.0, ge=0, description="How far beyond its bounds the quantity may be; a share for relative_delta."
    )

    @property
    def wanted(self) -> list[str]:
        """The slices asked for, as written."""
        return [self.slices] if isinstance(self.slices, str) else self.slices

    @property
    def listed(self) -> bool:
        """Whether slices are found by the rule, not named in it."""
        return any(text == "all" or "*" in text for text in self.wanted)

    @property
    def claimed(self) -> Claim:
        """The claim, by default certify for overall and named slices and flag for those found by the rule."""
        return self.claim or ("flag" if self.listed else "certify")

    @property
    def title(self) -> str:
        """The rule's name, or what it asks."""
        if self.name:
            return self.name
        bounds = self.bounds()
        what = self.metric if bounds[0][0] == "value" else f"{bounds[0][0]} of {self.metric}"
        held = " and ".join(f"{'>=' if side == 'at least' else '<='} {bound:g}" for _, bound, side in bounds)
        return f"{what} {held} on {listing(self.wanted, 3)}"

    def bounds(self) -> list[tuple[str, float, Side]]:
        """Returns quantity, bound (its margin allowed for) and side of each bound.

        Raises:
            ConfigError: a single number for a metric without a direction.
        """
        found: list[tuple[str, float, Side]] = []
        for quantity in QUANTITIES:
            given: float | Bounds | None = getattr(self, quantity)
            if isinstance(given, int | float):
                given = self._directed(given)
            if given is None:
                continue
            words = quantity.replace("_", " ")
            if given.min is not None:
                found.append((words, given.min - self.margin, "at least"))
            if given.max is not None:
                found.append((words, given.max + self.margin, "at most"))
        return found

    def _directed(self, bound: float) -> Bounds:
        from evalkit.metrics import find

        better = find(self.metric).better
        if better is None:
            raise ConfigError(f'"{self.metric}" has no direction: write {{min: {bound:g}}} or {{max: {bound:g}}}.')
        return Bounds(min=bound) if better == "higher" else Bounds(max=bound)

    def check(self, sets: Sequence[SliceSet] | None) -> None:
        """Raises ConfigError for a rule that can never be evaluated.

        Args:
            sets: the slice sets that will be evaluated; None where they are not known yet.
        """
        from evalkit.metrics import find

        find(self.metric)
        given = [q for q in QUANTITIES if getattr(self, q) is not None]
        if len(given) != 1:
            raise ConfigError(
                f"A rule has one of value, delta and relative_delta; this one has {listing(given) or 'none'}."
            )
        bounds = self.bounds()
        self._check_range(bounds)
        if not bounds:
            raise ConfigError(f"{given[0]} needs min or max.")
        if len(bounds) == 2 and bounds[0][1] > bounds[1][1]:
            raise ConfigError(f"No {given[0]} is at least {bounds[0][1]:g} and at most {bounds[1][1]:g}.")
        for text in self.wanted if sets is not None else ():
            self._check_slice(text, sets or ())

    def _check_range(self, bounds: Sequence[tuple[str, float, Side]]) -> None:
        """Raises for a bound that no value of the metric can keep."""
        from evalkit.metrics import find

        low, high = find(self.metric).range
        for quantity, bound, side in bounds:
            if quantity == "value" and (bound > high if side == "at least" else bound < low):
                raise ConfigError(f"No {self.metric} is {side} {bound:g}: it lies in [{low:g}, {high:g}].")

    def _check_slice(self, text: str, sets: Sequence[SliceSet]) -> None:
        """Raises unless some slice set has the dimensions that a slice or pattern names."""
        known = [s.dimensions for s in sets if s.dimensions]
        if text == "overall" or (text == "all" and known):
            return
        if not known:
            raise ConfigError(f'The rule is on "{text}", but no slices are evaluated: add slices.')
        if any(_fits(text.strip(), dimensions, _can_be_in) for dimensions in known):
            return
        choices = list(dict.fromkeys(",".join(sorted(d.name for d in dimensions)) for dimensions in known))
        hint = f' Write "{text}=*" for each of its slices.' if text in choices else nearest(_names(text), choices)
        raise ConfigError(f'No slice "{text}" can exist.{hint} Slices are by: {listing(choices)}.')


def matches(text: str, key: SliceKey, whole: str) -> bool:
    """Returns whether a slice is the one named, or fits a pattern pair by pair in any order.

    >>> key = (("race", "black"), ("sex", "female"))
    >>> [matches(t, key, "race=black, sex=female") for t in ("race=*", "sex=*, race=black", "race=black, sex=female")]
    [False, True, True]
    """
    conditions = {name for name, value in key if value == "true" and f"{name}=true" not in whole}

    def accepts(part: str, pair: tuple[str, str | None]) -> bool:
        own = slice_text((pair,))
        return part == own or (part == pair[0] and part in conditions) or fnmatchcase(own, _literal_brackets(part))

    return text == whole or _fits(text.strip(), key, accepts)


_Item = TypeVar("_Item")


def _fits(text: str, items: Sequence[_Item], accepts: Callable[[str, _Item], bool]) -> bool:
    """Returns whether a text, split at some of its commas, is one part for each item, in any order.

    A comma is part of a value only where that value begins with a bracket or a quote, as bins and odd values do.
    """
    if not items:
        return False
    parts = text.split(", ")
    for size in range(1, len(parts) + 1) if len(items) > 1 else (len(parts),):
        head, rest = ", ".join(parts[:size]), ", ".join(parts[size:])
        if size > 1 and not head.partition("=")[2].startswith(("[", "(", '"')):
            return False
        for place, item in enumerate(items):
            others = [*items[:place], *items[place + 1 :]]
            if accepts(head, item) and (_fits(rest, others, accepts) if others else not rest):
                return True
    return False


def _can_be_in(part: str, dimension: Dimension) -> bool:
    """Returns whether a pair, or a pattern of one, can be of a dimension."""
    name, equals, _ = part.partition("=")
    if "*" in name:
        return dimension.name.startswith(name.partition("*")[0])
    return name == dimension.name and (bool(equals) or dimension.form == "where")


def _names(text: str) -> str:
    return ",".join(sorted(part.partition("=")[0] for part in text.split(", ") if "=" in part)) or text


def _literal_brackets(pattern: str) -> str:
    """Lets only the star be special: brackets and question marks stand in the names of slices."""
    return "".join({"[": "[[]", "?": "[?]"}.get(character, character) for character in pattern)


class Disparity(_Settings):
    """A bound of how far groups of people may lie apart in a metric."""

    metric: Text = Field(description="The metric's name, such as recall or positive_prediction_rate.")
    across: Text | Annotated[list[Text], Field(min_length=1)] = Field(
        description="The attribute whose groups are compared; a list is their cross. Slices must be by it."
    )
    difference: Number | None = Field(default=None, gt=0, description="The most that two groups may differ.")
    ratio: Number | None = Field(
        default=None, gt=0, le=1, description="The least that the lowest group's value over the highest's may be."
    )
    control: Text | Annotated[list[Text], Field(min_length=1)] | None = Field(
        default=None, description="Features within whose levels groups are compared; slices must cross them."
    )


class DisparityRule(Rule):
    """A bound of the largest gap between groups; it holds for all pairs of groups at once."""

    disparity: Disparity = Field(description="What is bounded.")

    kind: ClassVar[str] = "disparity"
    listed: ClassVar[bool] = False

    @property
    def attributes(self) -> list[str]:
        """The columns whose groups are compared."""
        return [self.disparity.across] if isinstance(self.disparity.across, str) else list(self.disparity.across)

    @property
    def within(self) -> list[str]:
        """The columns of the control features."""
        control = self.disparity.control
        return [] if control is None else [control] if isinstance(control, str) else list(control)

    @property
    def claimed(self) -> Claim:
        """The claim, by default flag: with few rows no gap can be certified."""
        return self.claim or "flag"

    @property
    def title(self) -> str:
        """The rule's name, or what it asks."""
        if self.name:
            return self.name
        asked = self.disparity
        bound = f"difference <= {asked.difference:g}" if asked.ratio is None else f"ratio >= {asked.ratio:g}"
        within = f" within {', '.join(self.within)}" if self.within else ""
        return f"{asked.metric} across {', '.join(self.attributes)}: {bound}{within}"

    def check(self, sets: Sequence[SliceSet] | None) -> None:
        """Raises ConfigError for a rule that can never be evaluated; see `MetricRule.check`."""
        from evalkit.metrics import find

        asked = self.disparity
        metric = find(asked.metric)
        if (asked.difference is None) == (asked.ratio is None):
            raise ConfigError("A disparity has one of difference and ratio.")
        if metric.kind in ("none", "bootstrap"):
            raise ConfigError(f'"{asked.metric}" has no analytic interval, so its gaps cannot be judged.')
        if asked.ratio is not None and metric.range[0] < 0:
            raise ConfigError(f'"{asked.metric}" may be negative, so ratios of it mean nothing: give a difference.')
        if self.evidence == "point":
            raise ConfigError("The largest of several noisy gaps is never 0: a disparity is judged by its interval.")
        for names in [self.attributes] + ([self.within, [*self.within, *self.attributes]] if self.within else []):
            self._check_set(names, sets)

    def _check_set(self, names: Sequence[str], sets: Sequence[SliceSet] | None) -> None:
        if sets is None:
            return
        known = [[d.name for d in s.dimensions] for s in sets if s.dimensions]
        if list(names) not in known:
            texts = [",".join(one) for one in known]
            text = ",".join(names)
            raise ConfigError(
                f'No slices by "{text}".{nearest(text, texts)} Slices are by: {listing(texts) or "nothing"}.'
            )


class WaiverSettings(_Settings):
    """An override of one rule."""

    rule: Text = Field(description="The name of the rule.")
    who: Text = Field(description="Who is answerable.")
    why: Text = Field(description="The reason.")
    until: Day = Field(description="The last day on which it holds, such as 2027-01-31.")


RULE_SETTINGS = (*MetricRule.model_fields, "disparity")


def _kind(raw: object) -> str:
    of_groups = isinstance(raw, DisparityRule) or (isinstance(raw, Mapping) and "disparity" in raw)
    return "a rule on a disparity" if of_groups else "a rule on a metric"


AnyRule = Annotated[
    Annotated[MetricRule, Tag("a rule on a metric")] | Annotated[DisparityRule, Tag("a rule on a disparity")],
    Discriminator(_kind),
]


class GateSettings(_Settings):
    """The rules a model must pass, and what is asked of the evidence."""

    alpha: Number = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="One-sided error rate: of each certify rule, of all flag rules together.",
    )
    on_missing_baseline: Literal["fail", "skip", "pass"] = Field(
        default="fail", description="What a rule on a delta does without a baseline."
    )
    rules: list[AnyRule] = Field(min_length=1, description="The rules.")
    waivers: list[WaiverSettings] = Field(default_factory=list, description="Overrides, with who, why and until when.")

    @property
    def metrics(self) -> list[str]:
        """The metrics that rules on metrics are on."""
        return list(dict.fromkeys(rule.metric for rule in self.rules if isinstance(rule, MetricRule)))

    @property
    def compares(self) -> bool:
        """Whether any rule needs a baseline."""
        return any(isinstance(rule, MetricRule) and rule.value is None for rule in self.rules)


def check(settings: GateSettings, sets: Sequence[SliceSet] | None, today: dt.date | None = None) -> None:
    """Raises ConfigError for rules or waivers that cannot hold; the message begins with `rules[2]: ` or alike.

    Args:
        settings: the rules.
        sets: the slice sets that will be evaluated; None where they are not known yet.
        today: for what expires; None: the day it is, in UTC.
    """
    day = today or dt.datetime.now(dt.UTC).date()
    titles: list[str] = []
    for index, rule in enumerate(settings.rules):
        try:
            rule.check(sets)
            if rule.expires and dt.date.fromisoformat(rule.expires) < day:
                raise ConfigError(f'The rule "{rule.title}" expired on {rule.expires}: renew or remove it.')
            if rule.title in titles:
                raise ConfigError(f'Two rules are named "{rule.title}"; give one another name.')
        except UsageError as error:
            raise RuleError("rules", index, str(error)) from None
        titles.append(rule.title)
    for index, waiver in enumerate(settings.waivers):
        if waiver.rule not in titles:
            raise RuleError(
                "waivers", index, f'No rule "{waiver.rule}".{nearest(waiver.rule, titles)} Rules: {listing(titles)}.'
            )
        if dt.date.fromisoformat(waiver.until) < day:
            raise RuleError(
                "waivers", index, f'The waiver of "{waiver.rule}" by {waiver.who} expired on {waiver.until}: remove it.'
            )


class RuleError(ConfigError):
    """A rule or waiver that cannot hold, and its place in the settings."""

    def __init__(self, part: Literal["rules", "waivers"], index: int, message: str) -> None:
        super().__init__(f"{part}[{index}]: {message}")
        self.part, self.index, self.message = part, index, message
