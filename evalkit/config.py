"""The settings of an evaluation, as evalkit.yaml holds them.

>>> config = Config(data="predictions.parquet", label="label", score="score", slices=["sex", ["sex", "race"]])
>>> [model.title for model in config.evaluated()], config.level
(['score'], 0.95)
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from evalkit import money
from evalkit.config_errors import sentence
from evalkit.errors import ConfigError, UsageError, listing
from evalkit.gates.rules import RULE_SETTINGS, Bounds, Disparity, GateSettings, RuleError, WaiverSettings, check
from evalkit.yaml_lines import Place, line_of, read

DEFAULT_FILE = "evalkit.yaml"
Column = Annotated[str, Field(strict=True, min_length=1)]
Whole = Annotated[int, Field(strict=True)]
Many = list[Column]
Amount = Annotated[float, Field(strict=True, allow_inf_nan=False)] | Annotated[int, Field(strict=True)] | Column
Slice = str | list[str | dict[str, Any]] | dict[str, Any]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(_Settings):
    """One of several models whose outputs are columns of the data."""

    name: Column | None = Field(default=None, description="The model's name in the results; by default its column.")
    score: Column | None = Field(default=None, description="The column of its scores of the positive class.")
    prediction: Column | None = Field(default=None, description="The column of its decisions, or of predicted numbers.")

    @property
    def title(self) -> str:
        """The name in the results."""
        return self.name or self.score or self.prediction or "data"


class Bootstrap(_Settings):
    """Bootstrap intervals for every metric."""

    n: Whole = Field(default=1000, ge=20, description="The number of replicates.")
    seed: Whole = Field(default=0, ge=0, description="Fixes the draws.")


class Intervals(_Settings):
    """How intervals are made, where not analytically."""

    bootstrap: Bootstrap = Field(default_factory=Bootstrap, description="Poisson weights, percentiles.")

    @field_validator("bootstrap", mode="before")
    @classmethod
    def _empty_is_default(cls, value: Any) -> Any:
        return {} if value is None else value


class Costs(_Settings):
    """What each outcome of a decision costs; a benefit is a negative cost."""

    true_positive: Amount = Field(default=0, description="A number, or the column of what it costs in each row.")
    false_positive: Amount = Field(default=1, description="Of a row decided positive that is not.")
    false_negative: Amount = Field(default=1, description="Of a positive that was missed.")
    true_negative: Amount = Field(default=0, description="Of a row rightly decided negative.")
    currency: Column | None = Field(default=None, description="Of the amounts, such as USD.")
    unit: Column = Field(default="row", description="What a row is, such as customer: USD per customer.")
    prevalence: float | None = Field(
        default=None, gt=0, lt=1, description="The share of positives where the model will be used."
    )
    threshold: float | None = Field(
        default=None, allow_inf_nan=False, description="From which on a score is decided positive."
    )
    cap: float | None = Field(default=None, gt=0, description="No row costs more than this, either way.")

    def bound(self) -> money.Costs:
        """Returns the costs as `evaluate` takes them."""
        return money.Costs(
            tp=self.true_positive,
            fp=self.false_positive,
            fn=self.false_negative,
            tn=self.true_negative,
            currency=self.currency or "",
            unit=self.unit,
            prevalence=self.prevalence,
            threshold=self.threshold,
            cap=self.cap,
        )


class Compare(_Settings):
    """What candidates are compared with."""

    baseline: Column | None = Field(
        default=None, description="A model of models, a column, a folder of results, prior or majority."
    )
    candidates: Many | None = Field(
        default=None, min_length=1, description="Models or columns; by default every model but the baseline."
    )
    baseline_data: Column | None = Field(
        default=None, description="A file that holds the baseline's column; rows are matched by id."
    )
    margin: Annotated[float, Field(ge=0)] | dict[Column, Annotated[float, Field(ge=0)]] | None = Field(
        default=None, description="How much worse a candidate may be, for every metric or by its name."
    )
    margin_kind: Literal["absolute", "relative"] = Field(
        default="absolute", description="In the metric's unit, or a share of the baseline's |value|."
    )
    same_model: bool = Field(default=False, description="Whether the same outputs under two names are allowed (A/A).")

    @field_validator("candidates", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Fairness(_Settings):
    """Whose treatment is assessed, and against what."""

    protected: list[Slice] = Field(default_factory=list, description="Attributes and crosses, as slices are written.")
    reference: Literal["largest", "best", "overall", "rest"] | dict[Column, Column] = Field(
        default="largest", description="What groups are compared with, or a group for each attribute."
    )
    control: list[Slice] = Field(default_factory=list, description="Features within whose levels groups are compared.")
    membership: dict[Column, dict[Column, Column]] | None = Field(
        default=None, min_length=1, description="Attributes known as probabilities: each group's column."
    )
    metrics: list[Column] | None = Field(
        default=None, min_length=1, description="Names; by default rates of selection, errors and calibration."
    )
    within: Limit | dict[Column, Limit] | None = Field(
        default=None, description="How large a gap may be, for every metric or by name: what is certified."
    )
    min_rows: Whole = Field(default=30, ge=0, description="Groups with a smaller support are in no gap.")
    pool_below: Whole = Field(default=0, ge=0, description="Groups with fewer rows are one group, other.")
    rates: Literal["newcombe", "miettinen-nurminen"] = Field(
        default="newcombe", description="The intervals of differences of rates."
    )
    permutations: Whole = Field(
        default=0, ge=0, description="Of tests that groups are alike, within each metric's denominator."
    )
    seed: Whole = Field(default=0, ge=0, description="Fixes permutations and draws.")
    criteria: bool = Field(default=True, description="Whether criteria beside the gaps of metrics are computed.")
    mitigate: Literal["demographic_parity", "equal_opportunity", "predictive_equality", "equalized_odds"] | None = (
        Field(default=None, description="What one of fairlearn's mitigated models, beside the original, equalizes.")
    )

    @field_validator("protected", "control", "metrics", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class Config(_Settings):
    """What is evaluated, how, and where the results go."""

    data: Column | Many | None = Field(
        default=None,
        description="Files, folders, globs, URLs: Parquet, CSV, Arrow, NDJSON, TFRecord; or a database's URL.",
    )
    sql: Column | None = Field(default=None, description="The query, where data is the URL of a database.")
    where: Column | None = Field(
        default=None, description="Rows for which this is not true are left out: country = 'de'."
    )
    label: Column | None = Field(default=None, description="The column of labels.")
    labels: dict[Column, Column] | None = Field(
        default=None, min_length=1, description="Several columns of labels by name, each judged against."
    )
    score: Column | None = Field(default=None, description="The column of scores of the positive class.")
    prediction: Column | None = Field(default=None, description="The column of decisions, or of predicted numbers.")
    models: list[Model] | None = Field(
        default=None, min_length=1, description="Several models, instead of score and prediction."
    )
    name: Column | None = Field(default=None, description="The model's name in the results; by default its column.")
    weight: Column | None = Field(default=None, description="The column of sampling weights.")
    unit: Column | None = Field(default=None, description="The column of what was sampled, such as a user.")
    id: Column | None = Field(default=None, description="The column that identifies a row.")
    positive: bool | int | float | str | None = Field(
        default=None, description="The positive label, where not 0 and 1."
    )
    task: Literal["binary", "regression"] | None = Field(
        default=None, description="Told by the data where it is left out."
    )
    metrics: list[Column] | None = Field(
        default=None, min_length=1, description="Names; by default a set for the task."
    )
    slices: list[Slice] = Field(default_factory=list, description="Columns, crosses, bins and conditions.")
    max_slices: Whole = Field(default=10_000, ge=1, description="The most slices of one set.")
    level: float = Field(default=0.95, gt=0, lt=1, description="The confidence level of intervals.")
    intervals: Literal["analytic"] | Intervals = Field(default="analytic", description="analytic, or a bootstrap.")
    min_rows: Whole = Field(default=1, ge=0, description="Slices with a smaller support are too_few_rows.")
    suppress_below: Whole = Field(default=0, ge=0, description="Slices with fewer rows are hidden everywhere.")
    drop_invalid: bool = Field(default=False, description="Whether rows with missing or infinite values are dropped.")
    strict: bool = Field(default=False, description="Whether a score equal to the threshold is negative.")
    rows: bool = Field(default=True, description="Whether rows are kept, for paired comparisons.")
    engine: Literal["auto", "memory", "local", "pool", "mesh", "beam"] = Field(
        default="auto", description="What collects sums: memory, or for many rows threads of this process (local)."
    )
    workers: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None, description="How many parts of the data are read at once; by default one more than processors."
    )
    memory: Column | Annotated[int, Field(strict=True, ge=1)] = Field(
        default="512MB", description="What sums may take; beyond it scores are binned, and results say so."
    )
    skip_damaged: bool = Field(
        default=False, description="Whether files that cannot be read are left out, and named, instead of refused."
    )
    cache: bool = Field(default=True, description="Whether compiled functions are kept for the next run.")
    costs: Costs | None = Field(default=None, description="What errors cost: adds the metrics of cost.")
    compare: Compare | None = Field(default=None, description="What candidates are compared with.")
    fairness: Fairness | None = Field(default=None, description="Whose treatment is assessed, and against what.")
    gate: GateSettings | None = Field(default=None, description="The rules that a candidate must pass.")
    out: Column | None = Field(default=None, description="The folder that results are written into.")
    report: bool | None = Field(
        default=None, description="Whether report.html is written; by default where its extra is there."
    )

    @field_validator("metrics", "slices", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("memory")
    @classmethod
    def _is_a_size(cls, value: str | int) -> str | int:
        in_bytes(value)
        return value

    @field_validator("intervals", mode="before")
    @classmethod
    def _word_is_a_mapping(cls, value: Any) -> Any:
        return {"bootstrap": {}} if value == "bootstrap" else value

    def evaluated(self) -> list[Model]:
        """Returns the models, one where only score or prediction are set.

        Raises:
            ConfigError: both are set, or two models have one name.
        """
        alone = Model(name=self.name, score=self.score, prediction=self.prediction)
        if self.models is None:
            return [alone]
        if alone != Model():
            raise ConfigError("models holds names, scores and predictions: leave out name, score and prediction.")
        titles = [model.title for model in self.models]
        twice = next((title for title in titles if titles.count(title) > 1), None)
        if twice is not None:
            raise ConfigError(f'Two models are named "{twice}"; give one another name.')
        return self.models


_SIZES = {"KB": 10, "MB": 20, "GB": 30}


def in_bytes(size: str | int) -> int:
    """Returns a size in bytes; KB, MB and GB are powers of 1,024.

    >>> in_bytes("512MB"), in_bytes("1.5 GB"), in_bytes(4096)
    (536870912, 1610612736, 4096)
    """
    if isinstance(size, int):
        return size
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(KB|MB|GB)\s*", size, flags=re.IGNORECASE)
    if match is None or float(match[1]) == 0:
        raise ValueError(f'a size such as 512MB or 2GB, not "{size}"')
    return int(float(match[1]) * (1 << _SIZES[match[2].upper()]))


def load(path: str | Path) -> Config:
    """Returns the settings of a file; its paths are relative to the file's folder.

    Raises:
        ConfigError: a setting does not exist or cannot hold; the message names file, line and choices.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"There is no file {file}; `evalkit init DATA` writes one.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {file}: {error}") from error
    config = parse(text, str(file))
    data = [config.data] if isinstance(config.data, str) else config.data
    return config.model_copy(
        update={
            "data": None if data is None else [beside(item, file.parent) for item in data],
            "out": None if config.out is None else str(file.parent / Path(config.out).expanduser()),
            "compare": _compare_beside(config.compare, file.parent),
        }
    )


def _compare_beside(compare: Compare | None, folder: Path) -> Compare | None:
    """Returns the settings with their paths as seen from here."""
    if compare is None:
        return None
    of = {"baseline": compare.baseline, "baseline_data": compare.baseline_data}
    moved = {name: None if item is None else beside(item, folder) for name, item in of.items()}
    if moved["baseline"] is not None and not Path(moved["baseline"]).is_dir():
        moved["baseline"] = compare.baseline
    return compare.model_copy(update=moved)


def parse(text: str, file: str = DEFAULT_FILE) -> Config:
    """Returns the settings that a text holds; see `load`."""
    raw, lines = read(text, file)
    if raw is None:
        raise ConfigError(f"{file} is empty; `evalkit init DATA` writes one.")
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}:1: Settings are written as `label: y`, one in a line.")
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(sentence(error, raw, lines, file, _choices)) from None
    _check_names(config, lines, file)
    return config


def beside(item: str, folder: Path) -> str:
    """Returns a path or glob as seen from here, that is written as seen from a folder."""
    if "://" in item or folder == Path():
        return item
    path = Path(item).expanduser()
    if path.is_absolute():
        return str(path)
    written_as_glob = any(character in item for character in "*?[")
    return str(Path(glob.escape(str(folder)) if written_as_glob else folder) / path)


def schema() -> dict[str, Any]:
    """Returns the JSON Schema of evalkit.yaml, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
        "title": DEFAULT_FILE,
    }


def _choices(place: Place) -> list[str]:
    """Returns the settings that may stand at a place."""
    names = [part for part in place if isinstance(part, str)]
    if names and names[-1] == "rules":
        return list(RULE_SETTINGS)
    return list((_INNER[names[-1]] if names else Config).model_fields)


_INNER: dict[str, type[BaseModel]] = {
    "models": Model,
    "intervals": Intervals,
    "bootstrap": Bootstrap,
    "costs": Costs,
    "compare": Compare,
    "fairness": Fairness,
    "gate": GateSettings,
    "disparity": Disparity,
    "waivers": WaiverSettings,
    "value": Bounds,
    "delta": Bounds,
    "relative_delta": Bounds,
}


def _check_names(config: Config, lines: dict[Place, int], file: str) -> None:
    """Metrics, slices and models that do not exist are found before any data are read."""
    from evalkit.metrics import find
    from evalkit.slicing import spec

    checks: list[tuple[Place, Callable[[Any], object], Any]] = [
        *((("metrics", i), find, name) for i, name in enumerate(config.metrics or ())),
        *((("slices", i), lambda item: spec.parse([item]), item) for i, item in enumerate(config.slices)),
        *_of_fairness(config),
        (("models",), Config.evaluated, config),
        *((("models", i), _check_model, model) for i, model in enumerate(config.models or ())),
    ]
    for place, holds, item in checks:
        try:
            holds(item)
        except UsageError as error:
            raise ConfigError(f"{file}:{line_of(place, lines)}: {error}") from None
    _check_rules(config, lines, file)


def _of_fairness(config: Config) -> list[tuple[Place, Callable[[Any], object], Any]]:
    from evalkit.metrics import find
    from evalkit.slicing import spec

    asked = config.fairness or Fairness()
    slices = [
        (("fairness", name, i), item)
        for name in ("protected", "control")
        for i, item in enumerate(getattr(asked, name))
    ]
    return [
        *((("fairness", "metrics", i), find, name) for i, name in enumerate(asked.metrics or ())),
        *((place, lambda item: spec.parse([item]), item) for place, item in slices),
    ]


def _check_rules(config: Config, lines: dict[Place, int], file: str) -> None:
    """Rules that can never be evaluated are found here; on slices only where the file says which there are."""
    from evalkit.slicing import spec

    if config.gate is None:
        return
    sets = spec.parse(config.slices) if config.data is not None else None
    try:
        check(config.gate, sets)
    except RuleError as error:
        place = ("gate", error.part, error.index)
        raise ConfigError(f"{file}:{line_of(place, lines)}: {error.message}") from None


def _check_model(model: Model) -> None:
    if model.score is None and model.prediction is None:
        raise ConfigError(f'The model "{model.title}" needs its column: {listing(["score", "prediction"])}.')
