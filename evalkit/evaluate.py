"""The main job: a table of predictions in, every metric of every slice with its interval out.

>>> import evalkit as ek
>>> data = {"y": [1, 0, 1, 0], "p": [0.9, 0.2, 0.4, 0.1], "sex": ["f", "f", "m", "m"]}
>>> result = ek.evaluate(data, label="y", score="p", metrics=["roc_auc", "recall"], slices=["sex"])
>>> result.at("sex=m")["recall"].value
0.0
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from evalkit import metrics as catalog
from evalkit.collect import BUDGET_BYTES, Options, collect
from evalkit.engines.local import default_workers
from evalkit.errors import ConfigError, UsageError, UserCodeError, listing
from evalkit.interval import Bootstrap, Interval
from evalkit.kernels import CHUNK_ROWS
from evalkit.metric import Metric
from evalkit.money import Costs
from evalkit.needs import needs
from evalkit.results import Evaluation, Plan, Result, Settings
from evalkit.rows import Checked, Columns, Task, check, require_condition, require_probabilities
from evalkit.slicing.cubes import Cube, cubes
from evalkit.slicing.encode import DEFAULT_LIMIT, columns_of, encode, freeze
from evalkit.slicing.spec import SliceSet, parse
from evalkit.statistic import Statistic, column_names
from evalkit.stream import MOST_IN_MEMORY, Engine, Read, Request, evaluate_source, opened
from evalkit.table import describe, read

if TYPE_CHECKING:
    import polars as pl

DEFAULT_METRICS: Mapping[str, tuple[str, ...]] = {
    "scores": ("count", "prevalence", "roc_auc", "average_precision"),
    "probabilities": ("log_loss", "brier_score", "expected_calibration_error", "calibration_ratio"),
    "decisions": (
        "positive_prediction_rate",
        "accuracy",
        "precision",
        "recall",
        "false_positive_rate",
        "f1",
        "matthews_corrcoef",
    ),
    "regression": ("count", "mean_error", "mae", "rmse", "r2"),
}


def evaluate(
    data: Any,
    *,
    label: str | None = None,
    labels: Mapping[str, str] | None = None,
    score: str | None = None,
    prediction: str | None = None,
    model: Any = None,
    features: Sequence[str] | None = None,
    weight: str | None = None,
    unit: str | None = None,
    id: str | None = None,  # noqa: A002 - the contract's word
    metrics: Sequence[str | Metric] | Mapping[str, Sequence[str]] | str | Metric | None = None,
    costs: Costs | None = None,
    slices: Any = (),
    name: str | None = None,
    task: Task | None = None,
    positive: Any = None,
    strict: bool = False,
    level: float = 0.95,
    intervals: Bootstrap | Literal["analytic"] = "analytic",
    min_rows: int = 1,
    suppress_below: int = 0,
    drop_invalid: bool = False,
    max_slices: int = DEFAULT_LIMIT,
    budget_bytes: int = BUDGET_BYTES,
    chunk_rows: int = CHUNK_ROWS,
    keep_rows: bool | Literal["always"] = True,
    sql: str | None = None,
    where: Any = None,
    engine: Engine | Literal["auto", "memory", "local"] = "auto",
    workers: int | None = None,
    skip_damaged: bool = False,
    unfinished: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
    read_rows: Read | None = None,
) -> Result:
    """Evaluates one model's predictions on every slice.

    More than 10 million rows are read part by part, in memory that does not grow with them; what is answered is the
    same, but no rows are kept.

    Args:
        data: a path, folder, glob or URL (Parquet, CSV, Arrow, NDJSON, TFRecord), a list of these, the URL of a
            database with `sql`, a Polars, pandas or Arrow table, a LazyFrame, a mapping of arrays, or an iterator of
            batches.
        label: the column of labels: 0 and 1 or booleans, other values with `positive`; numbers in regression.
        labels: instead several columns of labels by what they are called, such as `{"cost": "dear", "need": "ill"}`:
            the same outputs are judged against each, as models named `NAME on cost` and `NAME on need`.
        score: the column of scores of the positive class.
        prediction: the column of decisions, or of predicted numbers.
        model: instead of columns, anything with `predict_proba` or `predict`, called on `features`.
        features: the columns that the model reads.
        weight: the column of sampling weights.
        unit: the column of what was sampled (a user); intervals are then clustered by it.
        id: the column that identifies a row, kept for paired comparisons.
        metrics: names (`"precision@0.7"`) or metrics; None: a default set for the task; a mapping like
            `DEFAULT_METRICS`: those of them that the data can give.
        costs: what each outcome costs; adds the metrics of cost.
        slices: columns, lists of columns for crosses, written forms, `ek.by(...)` and `ek.where(...)`.
        name: the model's name in the table; by default its column.
        task: `binary` or `regression`; by default told by the data.
        positive: the positive label, where labels are not 0 and 1.
        strict: whether a score equal to the threshold is negative (TensorFlow Model Analysis' rule).
        level: the intervals' confidence level.
        intervals: `analytic`, or `ek.bootstrap(n, seed)` for every metric.
        min_rows: slices with a smaller support have status `too_few_rows`.
        suppress_below: slices with fewer rows are hidden everywhere, as are siblings that would reveal them.
        drop_invalid: whether rows with null, NaN or infinite values are dropped, and counted, instead of refused.
        max_slices: the most slices of one set.
        budget_bytes: memory for sums; beyond it scores are binned and results say so.
        chunk_rows: rows of one pass.
        keep_rows: whether the result keeps labels and scores for `rows.parquet`, of up to 10 million rows or `always`.
        sql: the query, where data are the URL of a database.
        where: rows for which this is not true are left out: SQL such as `country = 'de'`, or a Polars expression.
        engine: what collects sums: by default memory or, for many rows, threads of this process (`local`); or another,
            such as `evalkit.engines.pool.pool(4)`.
        workers: how many parts of the data are read at once; by default one more than processors.
        skip_damaged: whether files that cannot be read are left out, and named, instead of refused.
        unfinished: a folder where sums of many rows are kept on the way, and gone on with if it holds some.
        progress: called with the name of each step.
        read_rows: called with the number of rows just read and the number of all, None where that is not known.

    Raises:
        UsageError: the call, a setting or the data are wrong; one sentence says what.
    """
    if labels is not None:
        return _of_labels(
            labels, label, data, {k: v for k, v in locals().items() if k not in ("data", "label", "labels")}
        )
    started = time.perf_counter()
    say = progress or _silent
    _require_counts(workers=workers, chunk_rows=chunk_rows, budget_bytes=budget_bytes)
    _check_settings(level, min_rows, suppress_below, intervals)
    defaults = metrics if isinstance(metrics, Mapping) else DEFAULT_METRICS
    asked = None if isinstance(metrics, Mapping) else _asked(metrics)
    sets = parse(slices)
    of_costs = [] if costs is None else costs.metrics()
    extra = tuple(dict.fromkeys(c for m in (*(asked or ()), *of_costs) for c in column_names(m.statistic)))
    say("reading")
    columns = Columns(label, score, prediction, weight, unit, id, extra)

    def settings(checked: Checked, columns: Columns) -> Settings:
        return Settings(
            level=level,
            min_rows=min_rows,
            suppress_below=suppress_below,
            bootstrap=intervals if isinstance(intervals, Bootstrap) else None,
            task=checked.task,
            weighted=columns.weight is not None,
            clustered=columns.unit is not None,
            columns=columns,
            positive=checked.positive,
            strict=strict,
            currency="" if costs is None else costs.currency,
            cost_unit="row" if costs is None else costs.unit,
        )

    request = Request(
        model=name or score or prediction or "data",
        columns=columns,
        slice_sets=sets,
        choose=lambda checked, columns: resolve(asked, checked, columns, strict, of_costs, defaults),
        settings=settings,
        task=task,
        positive=positive,
        drop_invalid=drop_invalid,
        skip_damaged=skip_damaged,
        grouped=lambda metrics: isinstance(intervals, Bootstrap) and unit is None and _of_values(metrics),
        limit=max_slices,
        options=Options(budget_bytes, chunk_rows),
        workers=workers or default_workers(),
    )
    in_memory = "memory" if model is not None or keep_rows == "always" else engine
    data, source = opened(data, in_memory, sql=sql, where=where, skip_damaged=skip_damaged)
    if model is None:
        _require_columns(columns, asked)
    if source is not None:
        folder = None if unfinished is None or suppress_below else Path(unfinished)
        evaluation = evaluate_source(request, source, engine, unfinished=folder, read=read_rows)
    else:
        frame, columns = _frame(data, columns, sets, model, features, task)
        request = replace(request, columns=columns, model=name or columns.score or columns.prediction or "data")
        evaluation = _evaluate_frame(request, frame, describe(data), say)
        few = keep_rows == "always" or evaluation.n <= MOST_IN_MEMORY
        if not keep_rows or suppress_below or not few:
            evaluation = replace(evaluation, rows=None)
        seconds = {"read": time.perf_counter() - started - evaluation.seconds["count"], **evaluation.seconds}
        evaluation = replace(evaluation, seconds=seconds)
    say("estimating")
    return Result((evaluation.suppress() if suppress_below else evaluation,))


def _of_labels(labels: Mapping[str, str], label: str | None, data: Any, asked: dict[str, Any]) -> Result:
    """Returns the same outputs judged against each of several labels, in one result."""
    if label is not None:
        raise UsageError("Give label= or labels=, not both.")
    if not labels:
        raise ConfigError('labels names columns by what they are called, such as {"cost": "dear", "need": "ill"}.')
    if isinstance(data, Iterator):
        raise UsageError("Batches can be read only once, and several labels read them again: give a table or files.")
    name, unfinished = asked.pop("name"), asked.pop("unfinished")
    title = name or asked["score"] or asked["prediction"] or "data"
    found: Result | None = None
    for called, column in labels.items():
        folder = None if unfinished is None else Path(unfinished) / called
        one = evaluate(data, label=column, name=f"{title} on {called}", unfinished=folder, **asked)
        found = one if found is None else found | one
    if found is None:
        raise ConfigError("labels is empty.")
    return found


def _require_counts(**counts: Any) -> None:
    for name, count in counts.items():
        if count is not None and (isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1):
            raise ConfigError(f"{name} is a whole number of at least 1, not {count!r}.")


def _of_values(metrics: Sequence[Metric]) -> bool:
    """Tells whether a bootstrap needs groups of rows: counts and histograms are drawn from without them."""
    return any(metric.statistic.form == "sums" for metric in metrics)


def _evaluate_frame(request: Request, frame: pl.DataFrame, source: str, say: Callable[[str], None]) -> Evaluation:
    """Returns the evaluation of rows in memory, which it keeps."""
    columns = request.columns
    invalid = {"task": request.task, "positive": request.positive, "drop_invalid": request.drop_invalid}
    checked = check(frame, columns, **invalid)
    chosen = request.choose(checked, columns)
    if request.grouped([metric for _, metric in chosen]):
        checked = check(frame, columns, **invalid, grouped=True)
    say("slicing")
    plan, cells = _plan(request.slice_sets, checked, request.limit)
    say("counting")
    started = time.perf_counter()
    weighted, scores = checked.rows.weight is not None, checked.rows.score is not None
    wanted = needs([metric for _, metric in chosen], companions=scores, weighted=weighted)
    sums = collect(wanted, checked.rows, cells, plan.offsets, request.options)
    return Evaluation(
        model=request.model,
        metrics=tuple(chosen),
        plan=plan,
        sums=sums,
        settings=request.settings(checked, columns),
        source=source,
        rows=checked,
        n=checked.rows.n,
        dropped=checked.dropped,
        seconds={"count": time.perf_counter() - started},
    )


def _require_columns(columns: Columns, asked: Sequence[Metric] | None) -> None:
    """Raises UsageError where it is not said what is evaluated."""
    if columns.label is None and not columns.extra and not asked:
        raise UsageError("Name the column of labels: label=...")
    if columns.label is None and not columns.extra and columns.score is None and columns.prediction is None:
        raise UsageError("Name a column to evaluate: label= with score= or prediction=, or a metric of a column.")
    if columns.label is not None and columns.score is None and columns.prediction is None:
        raise UsageError("Name the column of scores (score=...) or of predictions (prediction=...), or give model=.")


class Alone(NamedTuple):
    """One metric of all rows."""

    value: float
    interval: Interval


def evaluate_arrays(metric: Metric, arrays: tuple[Any, ...], *, weight: Any, unit: Any, level: float) -> Alone:
    """Returns one metric of arrays, with its interval: what `metric(y_true, y_score)` computes."""
    one_array = metric.task is None
    if len(arrays) != (1 if one_array else 2):
        needs = "one array" if one_array else "two arrays, labels and scores or predictions"
        raise UsageError(f'"{metric.name}" takes {needs}, not {len(arrays)}.')
    data: dict[str, Any] = {"value": arrays[0]} if one_array else {"label": arrays[0], "score": arrays[1]}
    columns: dict[str, str] = {}
    if one_array:
        if "column" in metric.parameters:
            metric = metric.bind(column="value")
        columns["prediction"] = "value"
    else:
        columns["label"] = "label"
        role = "score" if metric.task == "binary" else "prediction"
        data[role] = data.pop("score")
        columns[role] = role
    for role, values in (("weight", weight), ("unit", unit)):
        if values is not None:
            data[role], columns[role] = values, role
    result = evaluate(data, metrics=[metric], task=metric.task, level=level, keep_rows=False, **columns)  # type: ignore[arg-type]
    table = result.to_polars()
    return Alone(table["value"][0], Interval(table["low"][0], table["high"][0]))


def _silent(_step: str) -> None:
    """Says nothing."""


def _check_settings(level: float, min_rows: int, suppress_below: int, intervals: Any) -> None:
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, such as 0.95; not {level!r}.")
    whole: dict[str, Any] = {"min_rows": min_rows, "suppress_below": suppress_below}
    for setting, value in whole.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigError(f"{setting} must be a whole number of at least 0, not {value!r}.")
    if not isinstance(intervals, Bootstrap) and intervals != "analytic":
        raise ConfigError(f'intervals must be "analytic" or ek.bootstrap(...), not {intervals!r}.')


def _asked(metrics: Any) -> list[Metric] | None:
    if metrics is None:
        return None
    if isinstance(metrics, str | Metric):
        metrics = [metrics]
    found = [catalog.find(m) if isinstance(m, str) else m for m in metrics]
    for metric in found:
        if not isinstance(metric, Metric):
            raise ConfigError(f"{metric!r} is no metric; give a name or one of ek.metrics.")
    if not found:
        raise ConfigError("metrics is empty; leave it out for the default set.")
    return found


def _frame(
    data: Any, columns: Columns, sets: Sequence[SliceSet], model: Any, features: Sequence[str] | None, task: Task | None
) -> tuple[pl.DataFrame, Columns]:
    needed = [*columns.names(), *columns_of(sets)]
    if model is None:
        return read(data, needed), columns
    if columns.score or columns.prediction:
        raise UsageError("Give model= or the columns of its predictions, not both.")
    if not features:
        raise UsageError("model= needs features=, the columns that it reads.")
    frame = read(data, [*needed, *features])
    outputs, role = _predict(model, frame.select(features), data, task)
    import polars as pl

    column = _free_name(frame, type(model).__name__)
    frame = frame.with_columns(pl.Series(column, outputs))
    return frame, replace(columns, score=column) if role == "score" else replace(columns, prediction=column)


def _free_name(frame: pl.DataFrame, name: str) -> str:
    while name in frame.columns:
        name += "_"
    return name


def _predict(model: Any, features: pl.DataFrame, data: Any, task: Task | None) -> tuple[Any, str]:
    """Calls a model with features in the container that the data came in."""
    if type(data).__module__.startswith("pandas"):
        rows: Any = data[features.columns]
    elif isinstance(data, Mapping):
        rows = features.to_numpy()
    else:
        rows = features
    probabilities = getattr(model, "predict_proba", None) if task != "regression" else None
    try:
        if probabilities is not None:
            outputs = np.asarray(probabilities(rows))
        elif hasattr(model, "predict"):
            return np.asarray(model.predict(rows)), "prediction"
        else:
            raise UsageError(f"{type(model).__name__} has neither predict_proba nor predict.")
    except UsageError:
        raise
    except Exception as error:
        raise UserCodeError(f"{type(model).__name__} failed to predict: {error}") from error
    if outputs.ndim == 2 and outputs.shape[1] != 2:
        raise UsageError(f"{type(model).__name__} gives {outputs.shape[1]} classes; two are evaluated.")
    return (outputs[:, 1] if outputs.ndim == 2 else outputs), "score"


def resolve(
    asked: Sequence[Metric] | None,
    checked: Checked,
    columns: Columns,
    strict: bool,
    more: Sequence[Metric] = (),
    defaults: Mapping[str, Sequence[str]] = DEFAULT_METRICS,
) -> list[tuple[str, Metric]]:
    """Returns the metrics, those asked for or the default ones and more, with names and bound thresholds.

    Raises:
        UsageError: the data cannot give one of them.
    """
    rows = checked.rows
    if asked is None:
        asked = [catalog.find(name) for name in _default_names(checked, defaults)]
    asked = [*asked, *more]
    chosen: dict[str, Metric] = {}
    for metric in asked:
        if metric.task is not None and metric.task != checked.task:
            fitting = [n for n, m in catalog.catalog().items() if m.task in (None, checked.task)]
            raise ConfigError(
                f'"{metric.name}" is for {metric.task} labels, these are {checked.task}. '
                f"Metrics: {listing(fitting, 100)}."
            )
        name = metric.name
        if "label" in metric.statistic.needs and rows.label is None:
            raise ConfigError(f'"{name}" needs labels (label=...).')
        bound = _bind_threshold(metric, checked, strict)
        needs = bound.statistic.needs
        if ("score" in needs or "probability" in needs) and rows.score is None:
            raise ConfigError(f'"{name}" needs scores (score=...); there are only predictions.')
        if "probability" in needs:
            require_probabilities(rows, columns.score or "", name)
        for need in needs:
            require_condition(rows, need, name)
        if name not in chosen:
            chosen[name] = bound
    _refuse_twins([m.statistic for m in chosen.values()])
    return list(chosen.items())


def _default_names(checked: Checked, defaults: Mapping[str, Sequence[str]]) -> list[str]:
    if checked.task == "regression":
        return list(defaults["regression"])
    rows = checked.rows
    names: list[str] = []
    if rows.score is not None:
        names += defaults["scores"]
        names += defaults["probabilities"] if rows.probabilities else ()
    decided = rows.prediction is not None or rows.probabilities
    names += defaults["decisions"] if decided else ()
    return [name for name in dict.fromkeys(names) if decided or name != "prevalence"]


def _bind_threshold(metric: Metric, checked: Checked, strict: bool) -> Metric:
    if "decision" not in metric.statistic.needs:
        return metric
    rows = checked.rows
    threshold = metric.parameters.get("threshold")
    if threshold is None and rows.prediction is not None:
        return metric
    if rows.score is None:
        raise ConfigError(f'"{metric.name}" needs scores to apply its threshold to; there are only predictions.')
    if threshold is None and not rows.probabilities:
        raise ConfigError(
            f'"{metric.name}" needs a threshold, since scores lie outside [0, 1]: '
            f'"{metric.name}{"," if "@" in metric.name else "@"}threshold=0", say.'
        )
    return metric.bind(
        threshold=0.5 if threshold is None else float(threshold), strict=bool(metric.parameters.get("strict")) or strict
    )


def _refuse_twins(statistics: Sequence[Statistic]) -> None:
    """Two functions under one name would share sums that mean different things."""
    by_identity: dict[str, Any] = {}
    for statistic in statistics:
        known = by_identity.setdefault(statistic.identity, statistic.function)
        if known is not statistic.function:
            raise ConfigError(f'Two different statistics are named "{statistic.identity}"; rename one.')


def _plan(sets: Sequence[SliceSet], checked: Checked, limit: int) -> tuple[Plan, list[Cube]]:
    frozen = [SliceSet(), *freeze(sets, checked.frame)]
    coded = encode(frozen, checked.frame, limit)
    cells = cubes(frozen, coded, checked.rows.n, limit)
    keys = {roll_up.slice_set: roll_up.keys for cube in cells for roll_up in cube.roll_ups}
    plan = Plan(tuple(frozen), tuple(keys[index] for index in range(len(frozen))))
    return plan, cells
