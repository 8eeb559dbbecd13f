"""Is the candidate better than the baseline, and where is it worse?

>>> import evalkit as ek
>>> data = {"y": [1, 0, 1, 0], "old": [0.9, 0.6, 0.4, 0.1], "new": [0.9, 0.2, 0.7, 0.1]}
>>> ek.compare(data, label="y", baseline="old", candidate="new", metrics=["roc_auc"])["roc_auc"]["delta"]
0.25
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evalkit.comparison import Comparison, Margins
from evalkit.errors import ConfigError, DataError, UsageError, listing, nearest
from evalkit.evaluate import evaluate
from evalkit.metric import Metric
from evalkit.money import Costs
from evalkit.pairing import matches, pair, same_outputs
from evalkit.results import Evaluation, Result, load
from evalkit.rows import Columns, valid_in_all
from evalkit.slicing.encode import columns_of
from evalkit.slicing.spec import parse
from evalkit.statistic import column_names
from evalkit.table import describe, read

if TYPE_CHECKING:
    import polars as pl

CONSTANTS = ("prior", "majority")
Output = Literal["score", "prediction"]


def compare(
    data: Any,
    *,
    baseline: Any,
    candidate: Any = None,
    label: str | None = None,
    output: Output | None = None,
    features: Sequence[str] | None = None,
    baseline_data: Any = None,
    weight: str | None = None,
    unit: str | None = None,
    id: str | None = None,  # noqa: A002 - the contract's word
    metrics: Sequence[str | Metric] | str | Metric | None = None,
    slices: Any = (),
    margin: float | Mapping[str, float] | None = None,
    margin_kind: Literal["absolute", "relative"] = "absolute",
    same_model: bool = False,
    drop_invalid: bool = False,
    suppress_below: int = 0,
    progress: Callable[[str], None] | None = None,
    **settings: Any,
) -> Comparison:
    """Compares one or several candidates with a baseline, paired row by row where they were scored on the same rows.

    Args:
        data: as for `evaluate`; or a result, or the folder of a saved one, whose models are compared.
        baseline: a column of scores or predictions, anything with `predict_proba` or `predict`, `prior` (the share of
            positives, or the mean, for every row) or `majority`; or a mapping of a name to one of these. Of results a
            model's name, another result or folder.
        candidate: a column or model; a list of these, or a mapping of names to these, for several. Of results a model's
            name or several; None: every model but the baseline.
        label: the column of labels.
        output: whether columns hold a `score` or a `prediction`; None: predictions where labels are numbers or the
            column holds labels, else scores.
        features: the columns that models read.
        baseline_data: a second table that holds the baseline's column; rows are matched by `id`.
        weight: the column of sampling weights.
        unit: the column of what was sampled; intervals are then clustered by it.
        id: the column that identifies a row.
        metrics: names or metrics; None: a default set for the task.
        slices: as for `evaluate`.
        margin: how much worse the candidate may be, for tests of non-inferiority and equivalence: for every metric, or
            by name.
        margin_kind: `absolute`, in the metric's unit, or `relative`, a share of the baseline's |value|.
        same_model: whether the same outputs under two names are allowed, as a check that finds no difference (A/A).
        drop_invalid: whether rows that are invalid for any of the models are dropped, and counted, instead of refused.
        suppress_below: slices with fewer rows are hidden everywhere, as are siblings that would reveal them.
        progress: called with the name of each step.
        **settings: more settings of `evaluate`: costs, task, positive, strict, level, intervals, min_rows, ...

    Raises:
        UsageError: the call, a setting or the data are wrong; or both models are the same.
    """
    margins = _margins(margin, margin_kind)
    results = _results(data, baseline)
    if results is not None:
        if label is not None or slices or metrics is not None:
            raise UsageError("Results are compared as they were evaluated: leave out label, metrics and slices.")
        chosen = _of_results(*results, baseline, candidate)
        return _compared(chosen[0], chosen[1], margins, same_model)
    if candidate is None:
        raise UsageError("Name the candidate: candidate=..., a column or a model.")
    roles = Columns(label=label, weight=weight, unit=unit, id=id)
    candidates = _named(candidate)
    frame, columns, outputs, joined = _table(
        data,
        baseline,
        candidates,
        roles,
        baseline_data,
        features,
        metrics,
        slices,
        output,
        settings.get("task"),
        settings.get("costs"),
    )
    if drop_invalid:
        frame, dropped = valid_in_all(frame, [replace(roles, **outputs[name]) for name in columns if name in outputs])
        joined = [*joined, *([f"{dropped:,} rows were dropped as invalid."] if dropped else [])]
    shared: dict[str, Any] = {
        "label": label,
        "weight": weight,
        "unit": unit,
        "id": id,
        "metrics": metrics,
        "slices": slices,
        "keep_rows": "always",
        **settings,
    }
    say = _silent if progress is None else progress
    changed = drop_invalid or baseline_data is not None

    def one(name: str, model: Any, chosen: Any = metrics) -> Evaluation:
        of = {**shared, "metrics": chosen, **outputs.get(name, {"features": features, "model": model})}
        rows = data if name not in outputs and type(data).__module__.startswith("pandas") and not changed else frame
        [evaluation] = evaluate(rows, name=name, progress=lambda s: say(f"{s} {name}"), **of).evaluations
        return replace(evaluation, source=describe(data))

    made = [one(name, model) for name, model in candidates.items()]
    name, model = columns[0], next(iter(baseline.values())) if isinstance(baseline, Mapping) else baseline
    base = _constant(name, frame, made[0], shared) if name in CONSTANTS else one(name, model)
    models = [base, *made]
    if suppress_below:
        models = [_suppressed(e, suppress_below) for e in models]
    found = _compared(models[0], models[1:], margins, same_model=same_model)
    return replace(found, pairs=tuple(replace(p, notes=(*joined, *p.notes)) for p in found.pairs))


def _silent(_step: str) -> None:
    """Says nothing."""


def _margins(size: float | Mapping[str, float] | None, kind: Literal["absolute", "relative"]) -> Margins | None:
    if size is None:
        return None
    if kind not in ("absolute", "relative"):
        raise ConfigError(f'margin_kind must be "absolute" or "relative", not {kind!r}.')
    from evalkit.metrics import find

    if isinstance(size, Mapping):
        size = {find(name).name: value for name, value in size.items()}
    sizes: list[Any] = list(size.values()) if isinstance(size, Mapping) else [size]
    for value in sizes:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise ConfigError(f"A margin is a number of at least 0, not {value!r}.")
    return Margins(size, kind)


def _compared(
    baseline: Evaluation, candidates: Sequence[Evaluation], margins: Margins | None, same_model: bool
) -> Comparison:
    names = [e.model for e in (baseline, *candidates)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        baseline = replace(baseline, model=f"{baseline.model} (baseline)")
        if [e.model for e in candidates].count(twice) > 1:
            raise UsageError(f'Two candidates are named "{twice}"; give one another name.')
    for candidate in () if same_model else candidates:
        if same_outputs(baseline, candidate):
            raise UsageError(
                f"{baseline.model} and {candidate.model} have the same outputs on every row: they are one model under "
                "two names. Ask for that with same_model (an A/A check)."
            )
    pairs = tuple(pair(baseline, candidate) for candidate in candidates)
    shown = [replace(e, rows=None) if e.plan.hidden else e for e in (baseline, *candidates)]
    return Comparison(Result(tuple(shown)), pairs, margins)


def _suppressed(evaluation: Evaluation, below: int) -> Evaluation:
    """Hides small slices; the rows stay with the evaluation until it is compared, and are not written."""
    settings = replace(evaluation.settings, suppress_below=below)
    return replace(replace(evaluation, settings=settings).suppress(), rows=evaluation.rows)


# --- results that were there before ---


def _results(data: Any, baseline: Any) -> tuple[Result, Result | None] | None:
    """Returns the result to take candidates from, and one of its own for the baseline; None where data are rows."""
    first = _as_result(data)
    if first is None:
        return None
    return first, _as_result(baseline)


def _as_result(thing: Any) -> Result | None:
    if isinstance(thing, Result):
        return thing
    if isinstance(thing, str | Path) and (Path(thing) / "sums" / "plan.json").exists():
        return load(thing, rows=True)
    return None


def _of_results(
    result: Result, other: Result | None, baseline: Any, candidate: Any
) -> tuple[Evaluation, list[Evaluation]]:
    known = {e.model: e for e in result.evaluations}
    if other is None:
        if baseline not in known:
            raise UsageError(
                f'No model "{baseline}" in these results.{nearest(str(baseline), known)} Models: {listing(known)}.'
            )
        base = known[baseline]
    else:
        if len(other.evaluations) != 1:
            raise UsageError(
                f"The baseline's results hold several models ({listing(e.model for e in other.evaluations)}): "
                'choose one with .of("NAME").'
            )
        base = other.evaluations[0]
    wanted = [candidate] if isinstance(candidate, str) else candidate
    names = [name for name in known if known[name] is not base] if wanted is None else list(wanted)
    for name in names:
        if name not in known:
            raise UsageError(
                f'No model "{name}" in these results.{nearest(str(name), known)} Models: {listing(known)}.'
            )
    if not names:
        raise UsageError("There is no candidate besides the baseline.")
    return base, [known[name] for name in names]


# --- one table of all models ---


def _named(candidate: Any) -> dict[str, Any]:
    """Returns candidates by name."""
    if isinstance(candidate, Mapping):
        return {str(name): model for name, model in candidate.items()}
    several = list(candidate) if isinstance(candidate, list | tuple) else [candidate]
    names = [_title(model, "candidate") for model in several]
    if len(set(names)) < len(names):
        raise UsageError("Two candidates have one name; give names: candidate={'a': ..., 'b': ...}.")
    return dict(zip(names, several, strict=True))


def _title(model: Any, role: str) -> str:
    return model if isinstance(model, str) else role if model is None else type(model).__name__


def _table(
    data: Any,
    baseline: Any,
    candidates: Mapping[str, Any],
    roles: Columns,
    baseline_data: Any,
    features: Sequence[str] | None,
    metrics: Any,
    slices: Any,
    output: Output | None,
    task: Any,
    costs: Costs | None,
) -> tuple[pl.DataFrame, list[str], dict[str, dict[str, Any]], list[str]]:
    """Returns one frame, the models' names, the columns of those that are columns, and notes."""
    if isinstance(baseline, Mapping):
        [(name, baseline)] = baseline.items()
    else:
        name = _title(baseline, "baseline")
    if name in candidates and not isinstance(baseline, str):
        name = f"{name} (baseline)"
    asked = [metrics] if isinstance(metrics, str | Metric) else list(metrics or ())
    extra = _columns_of_metrics([*asked, *([] if costs is None else costs.metrics())])
    shared = [*roles.names(), *extra, *columns_of(parse(slices)), *(features or ())]
    own = [model for model in candidates.values() if isinstance(model, str)]
    column = baseline if isinstance(baseline, str) and baseline not in CONSTANTS else None
    joined: list[str] = []
    if baseline_data is None:
        frame = read(data, list(dict.fromkeys([*shared, *own, *([column] if column else [])])))
        _refuse_ambiguous(baseline, data)
    else:
        frame, column, joined = _matched(data, baseline_data, column, roles, [*shared, *own])
        if name in candidates:
            name = f"{name} (baseline)"
    outputs: dict[str, dict[str, Any]] = {}
    for title, of in [(name, column), *((t, m) for t, m in candidates.items() if isinstance(m, str))]:
        if of is not None:
            outputs[title] = {_role(frame, of, roles.label, output, task): of}
    return frame, [name, *candidates], outputs, joined


def _columns_of_metrics(asked: Sequence[str | Metric]) -> list[str]:
    from evalkit.metrics import find

    found = [find(m) if isinstance(m, str) else m for m in asked]
    return [column for m in found for column in column_names(m.statistic)]


def _refuse_ambiguous(baseline: Any, data: Any) -> None:
    if isinstance(baseline, str) and baseline in CONSTANTS:
        from evalkit.table import scan

        if baseline in scan(data).collect_schema().names():
            raise ConfigError(
                f'"{baseline}" is a column here and also the name of a constant model; rename the column to compare it.'
            )


def _role(frame: pl.DataFrame, column: str, label: str | None, output: Output | None, task: Any) -> Output:
    """Tells scores from predictions: predictions are labels, or numbers where labels are numbers."""
    if output is not None:
        if output not in ("score", "prediction"):
            raise ConfigError(f'output must be "score" or "prediction", not {output!r}.')
        return output
    values = frame[column]
    if task == "regression" or not values.dtype.is_numeric() or label is None:
        return "prediction"
    labels = frame[label]
    if task is None and labels.dtype.is_float() and labels.n_unique() > 2:
        return "prediction"
    if not values.dtype.is_float() and values.n_unique() <= 2:
        return "prediction"
    return "score"


def _matched(
    data: Any, baseline_data: Any, column: str | None, roles: Columns, needed: Sequence[str]
) -> tuple[pl.DataFrame, str, list[str]]:
    """Joins the baseline's column to the candidate's rows by id."""
    if roles.id is None or column is None:
        raise UsageError("Two tables are matched by id=..., and the baseline is a column of the second.")
    mine = read(data, list(dict.fromkeys(needed)))
    held = [roles.id, column, *([roles.label] if roles.label else [])]
    theirs = read(baseline_data, list(dict.fromkeys(held)))
    for frame, which in ((mine, describe(data)), (theirs, describe(baseline_data))):
        twice = frame.height - frame[roles.id].n_unique()
        if twice:
            raise DataError(
                f'"{roles.id}" in {which} holds {twice:,} ids more than once; rows cannot be matched by it.'
            )
    place = matches(mine[roles.id], theirs[roles.id])
    if place is None:
        raise DataError(
            f'"{roles.id}" is {mine[roles.id].dtype} in {describe(data)} and {theirs[roles.id].dtype} in '
            f"{describe(baseline_data)}; make them alike."
        )
    both = place >= 0
    if not both.any():
        raise DataError(f'No id of "{roles.id}" is in both tables.')
    notes = _unmatched(mine, theirs, place, roles.id)
    mine, theirs = mine.filter(both), theirs[place[both]]
    if roles.label:
        differ = int((mine[roles.label] != theirs[roles.label]).fill_null(value=True).sum())
        if differ:
            raise DataError(
                f'"{roles.label}" differs between the tables in {differ:,} of {mine.height:,} matched rows.'
            )
    free = column
    while free in mine.columns:
        free += " (baseline)"
    return mine.with_columns(theirs[column].alias(free)), free, notes


def _unmatched(mine: pl.DataFrame, theirs: pl.DataFrame, place: Any, key: str) -> list[str]:
    """Counts and names the rows that only one of two tables has."""
    gone = np.ones(theirs.height, dtype=bool)
    gone[place[place >= 0]] = False
    alone = {"candidate's": mine[key].filter(place < 0), "baseline's": theirs[key].filter(gone)}
    return [
        f"{len(ids):,} rows only in the {which} table are left out: {listing(map(str, ids.head(5).to_list()), 5)}"
        + (", ..." if len(ids) > 5 else "")
        + "."
        for which, ids in alone.items()
        if len(ids)
    ]


# --- a first model with no predecessor ---


def _constant(kind: str, frame: pl.DataFrame, candidate: Evaluation, shared: Mapping[str, Any]) -> Evaluation:
    """Evaluates the model that says the same of every row: the share of positives, the mean label, or the majority."""
    import polars as pl

    if candidate.rows is None or candidate.rows.rows.label is None:
        raise UsageError(f'The baseline "{kind}" needs the rows; there are too many to keep.')
    rows = candidate.rows.rows
    mean = float(np.average(candidate.rows.rows.label, weights=rows.weight))
    column = "constant"
    while column in frame.columns:
        column += "_"
    binary = candidate.settings.task == "binary"
    if kind == "majority":
        if not binary:
            raise UsageError('The baseline "majority" is for binary labels; "prior" predicts the mean of numbers.')
        label = frame[shared["label"]]
        value = next((v for v in label.to_list() if _is_positive(v, candidate) == (mean >= 0.5)), None)
        role = {"prediction": column}
    else:
        value, role = mean, {"score" if binary else "prediction": column}
    known = {
        name for name, m in candidate.metrics if kind == "prior" or not {"score", "probability"} & {*m.statistic.needs}
    }
    asked = shared["metrics"]
    wanted = [asked] if isinstance(asked, str | Metric) else [*(asked if asked is not None else known)]
    from evalkit.metrics import find

    chosen = [m for m in wanted if (find(m) if isinstance(m, str) else m).name in known]
    if not chosen:
        raise UsageError(f'The baseline "{kind}" gives decisions; none of the metrics is of decisions.')
    made = frame.with_columns(pl.lit(value).alias(column))
    [evaluation] = evaluate(made, name=kind, **{**shared, "metrics": chosen, **role}).evaluations
    return replace(evaluation, source=candidate.source)


def _is_positive(value: Any, candidate: Evaluation) -> bool:
    return bool(value == candidate.settings.positive)
