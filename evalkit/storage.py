"""Results on disk: written whole or not at all, checked when read.

A folder holds `metrics.parquet` and `metrics.json` (the table), `sums/` (what adds up: `plan.json` and a Parquet file
for each model and statistic), `rows.parquet` (labels, scores and slices, for paired comparisons), `run.json` (what was
run) and `report.html`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit import saved_rows
from evalkit.errors import DataError, InternalError, MissingExtra, OutputError
from evalkit.interrupts import held_back, unfinished
from evalkit.interval import Bootstrap
from evalkit.results import Evaluation, Plan, Result, Settings
from evalkit.rows import Columns
from evalkit.score_bins import ScoreBins
from evalkit.slicing.spec import Dimension, SliceKey, SliceSet
from evalkit.statistic import Statistic
from evalkit.sums import AnySums, FieldSums, ScoreSums

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from evalkit.comparison import Comparison
    from evalkit.fairness.assessment import Assessment
    from evalkit.gates.verdict import Verdict
    from evalkit.metric import Metric

    Metrics = Sequence[tuple[str, Metric]]

FORMAT = 3
_SCORE_AMOUNTS = ("count", "total", "square")


def save(
    result: Result,
    folder: str | Path,
    *,
    overwrite: bool = False,
    report: bool | None = False,
    extra: Mapping[str, Any] | None = None,
    comparison: Comparison | None = None,
    verdict: Verdict | None = None,
    assessment: Assessment | None = None,
    also: Mapping[str, Assessment] | None = None,
    texts: Mapping[str, str] | None = None,
) -> Path:
    """Writes a result into a folder and returns it; on any failure nothing is left behind.

    Args:
        result: the result, not narrowed.
        folder: made anew.
        overwrite: whether an existing folder is replaced.
        report: True for `report.html`; None: where the `reports` extra is installed.
        extra: more to say in `run.json`.
        comparison: of these models, written beside them.
        verdict: of a gate, likewise.
        assessment: of these models' fairness, likewise.
        also: other assessments, each written with its own result into a folder of its name, and shown in the report.
        texts: further files by name.

    Raises:
        OutputError: the folder exists, or cannot be made.
        InternalError: the disk is full.
    """
    target = _replaceable(folder, overwrite=overwrite)
    with written_aside(target) as aside:
        run = {**describe(result), **(extra or {})}
        _write_tables(result, aside)
        write_sums(result, aside / "sums")
        run["files"] = [*saved_rows.write(result, aside), "metrics.parquet", "metrics.json", "sums", "run.json"]
        for name, text in (texts or {}).items():
            (aside / name).write_text(text, encoding="utf-8")
            run["files"].append(name)
        if comparison is not None:
            run["comparison"] = _describe_comparison(comparison)
            run["files"] += _write_comparison(comparison, aside)
        if assessment is not None:
            run["fairness"] = _describe_assessment(assessment)
            run["files"] += _write_assessment(assessment, aside)
        for name, other in (also or {}).items():
            save(other.result, aside / name, report=False, assessment=other, extra=extra)
            run["also"] = [*run.get("also", []), name]
            run["files"].append(name)
        shown = [*([] if assessment is None else [assessment]), *(also or {}).values()]
        _finish(aside, run, result, comparison, verdict, report, shown)
    return target


def save_verdict(
    verdict: Verdict,
    folder: str | Path,
    *,
    result: Result,
    comparison: Comparison | None,
    overwrite: bool = False,
    report: bool | None = None,
) -> Path:
    """Writes a gate's verdict in every form, the deltas it is of and a report into a folder, whole or not at all.

    Args:
        verdict: what the gate decided.
        folder: made anew, or replaced where it holds results.
        result: the models' results, for the report.
        comparison: of candidate and baseline, where there is one.
        overwrite: whether an existing folder of results is replaced.
        report: True for `report.html`; None: where its extra is installed.

    Raises:
        OutputError: the folder exists, or cannot be made.
        InternalError: the disk is full.
    """
    target = _replaceable(folder, overwrite=overwrite)
    with written_aside(target) as aside:
        run = {**describe(result), "command": "gate", "gates": verdict.times_used, "files": ["run.json"]}
        if comparison is not None:
            run["comparison"] = _describe_comparison(comparison)
            run["files"] += _write_comparison(comparison, aside)
        _finish(aside, run, result, comparison, verdict, report)
    return target


def _finish(
    aside: Path,
    run: dict[str, Any],
    result: Result,
    comparison: Comparison | None,
    verdict: Verdict | None,
    report: bool | None,
    assessments: Sequence[Assessment] = (),
) -> None:
    """Writes the verdict, the report and last what was run."""
    from evalkit.gates.write import write

    if verdict is not None:
        run["files"] += write(verdict, aside)
    if report is not False and _write_report(
        result,
        aside,
        run,
        {"comparison": comparison, "verdict": verdict, "assessments": assessments},
        required=report is True,
    ):
        run["files"].append("report.html")
    run["files"] = sorted(run["files"])
    (aside / "run.json").write_text(json.dumps(run, indent=2, default=str) + "\n", encoding="utf-8")


def _replaceable(folder: str | Path, *, overwrite: bool) -> Path:
    """Returns the folder's path; raises OutputError where it may not be written."""
    target = Path(folder)
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists; choose another folder, or say overwrite.")
    if target.exists():
        require_own(target)
    return target


def require_own(folder: Path) -> None:
    """Raises OutputError for a folder that may not be replaced: one that holds anything but evalkit's results."""
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder.")
    try:
        ours = (
            not any(folder.iterdir()) or "evalkit" in json.loads((folder / "run.json").read_text("utf-8"))["versions"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise OutputError(
            f"{folder} holds something else than results of evalkit; it is left alone. Choose another folder."
        )


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Gives a folder beside the target that takes its place at the end."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise OutputError(f"Cannot write beside {target}: {error.strerror or error}.") from error
    try:
        with unfinished(aside):
            yield aside
            with held_back():
                _swap(aside, target)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if _disk_full(error):
            raise InternalError(f"The disk is full; nothing was written to {target}.") from error
        if isinstance(error, OSError):
            raise OutputError(f"Cannot write {target}: {error.strerror or error}.") from error
        raise


def _disk_full(error: BaseException) -> bool:
    """Tells by the error's number, or by its words where a library wrapped it."""
    full = {errno.ENOSPC, errno.EDQUOT}
    return (isinstance(error, OSError) and error.errno in full) or "No space left on device" in str(error)


def _swap(aside: Path, target: Path) -> None:
    if not target.exists():
        aside.chmod(0o755)
        aside.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
    target.rename(old / "old")
    try:
        aside.chmod(0o755)
        aside.rename(target)
    except BaseException:
        (old / "old").rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _write_tables(result: Result, folder: Path) -> None:
    table = result.to_polars()
    table.write_parquet(folder / "metrics.parquet")
    (folder / "metrics.json").write_text(json.dumps(records(table), indent=1) + "\n", encoding="utf-8")


def records(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Returns the rows of a table as JSON takes them: NaN and infinity become null, slice keys lists of pairs."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    rows = []
    for row in table.iter_rows(named=True):
        keys = [[pair["column"], pair["value"]] for pair in row["slice_key"]]
        rows.append({**{name: plain(value) for name, value in row.items()}, "slice_key": keys})
    return rows


def _write_comparison(comparison: Comparison, folder: Path) -> list[str]:
    """Writes the deltas, and where rows are paired which decisions changed, by slice and row by row."""
    import polars as pl

    table = comparison.to_polars()
    table.write_parquet(folder / "deltas.parquet")
    (folder / "deltas.json").write_text(json.dumps(records(table), indent=1) + "\n", encoding="utf-8")
    files = ["deltas.parquet", "deltas.json"]
    changed = comparison.flippable
    for name, make in (
        ("flips", comparison.flips),
        ("flipped_rows", lambda model: comparison.flipped_rows(model, n=None)),
    ):
        if changed and not any(pair.plan.hidden for pair in comparison.pairs):
            frames = [make(model).insert_column(0, pl.lit(model).alias("model")) for model in changed]
            pl.concat(frames, how="diagonal").write_parquet(folder / f"{name}.parquet")
            files.append(f"{name}.parquet")
    return files


def _describe_assessment(assessment: Assessment) -> dict[str, Any]:
    told = {"models": assessment.result.models, "title": assessment.title, "about": assessment.about}
    return {**assessment.asked.to_dict(), **told}


def _write_assessment(assessment: Assessment, folder: Path) -> list[str]:
    """Writes groups and gaps, as a table, as JSON and as a section for people."""
    assessment.to_polars().write_parquet(folder / "fairness.parquet")
    (folder / "fairness.json").write_text(assessment.to_json() + "\n", encoding="utf-8")
    (folder / "fairness.md").write_text(assessment.to_markdown(), encoding="utf-8")
    return ["fairness.parquet", "fairness.json", "fairness.md"]


def _describe_comparison(comparison: Comparison) -> dict[str, Any]:
    margins = comparison.margins
    return {
        "baseline": comparison.baseline,
        "candidates": comparison.candidates,
        "paired": {pair.candidate.model: pair.how for pair in comparison.pairs},
        "notes": comparison.notes,
        "margin": None if margins is None else margins.size,
        "margin_kind": None if margins is None else margins.kind,
    }


def _write_report(
    result: Result,
    folder: Path,
    run: Mapping[str, Any],
    more: Mapping[str, Any],
    *,
    required: bool,
) -> bool:
    from evalkit.reports import write_report

    try:
        write_report(result, folder / "report.html", run=run, **more)
    except MissingExtra:
        if required:
            raise
        return False
    return True


# --- what was run ---


def describe(result: Result) -> dict[str, Any]:
    """Returns what was run: versions, settings, the data's fingerprint, timings."""
    import jax
    import polars as pl

    import evalkit

    return {
        "format": FORMAT,
        "versions": {
            "evalkit": evalkit.__version__,
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "jax": jax.__version__,
            "polars": pl.__version__,
        },
        "models": [_describe_one(evaluation) for evaluation in result.evaluations],
    }


def _describe_one(evaluation: Evaluation) -> dict[str, Any]:
    settings = evaluation.settings
    return {
        "model": evaluation.model,
        "source": evaluation.source,
        "rows": evaluation.n,
        "dropped": evaluation.dropped,
        "skipped": list(evaluation.skipped),
        "task": settings.task,
        "columns": asdict(settings.columns),
        "positive": settings.positive,
        "metrics": [name for name, _ in evaluation.metrics],
        "slices": [str(s) for s in evaluation.plan.slice_sets[1:]],
        "level": settings.level,
        "intervals": "analytic" if settings.bootstrap is None else asdict(settings.bootstrap),
        "min_rows": settings.min_rows,
        "suppress_below": settings.suppress_below,
        "suppressed": sum(len(keys) for keys in evaluation.plan.hidden),
        "fingerprint": fingerprint(evaluation),
        "seconds": {step: round(taken, 3) for step, taken in evaluation.seconds.items()},
    }


def fingerprint(evaluation: Evaluation) -> str | None:
    """Returns a digest of labels, scores, predictions and weights; None where rows are not kept."""
    if evaluation.rows is None:
        return None
    rows = evaluation.rows.rows
    digest = hashlib.blake2b(digest_size=16)
    for name in ("label", "score", "prediction", "weight"):
        values = getattr(rows, name)
        digest.update(name.encode())
        if values is not None:
            digest.update(str(values.dtype).encode())
            digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    return digest.hexdigest()


# --- sums ---


def write_sums(result: Result, folder: Path) -> None:
    """Writes the sums of a result's evaluations, and what they are of, into a new folder."""
    folder.mkdir()
    plans = []
    for number, evaluation in enumerate(result.evaluations):
        files = {}
        for place, (identity, sums) in enumerate(evaluation.sums.items()):
            files[identity] = _write_one(sums, folder, f"{number}-{place}")
        plans.append(_plan_json(evaluation) | {"sums": files, "statistics": definitions(evaluation)})
    text = json.dumps({"format": FORMAT, "evaluations": plans}, indent=1)
    (folder / "plan.json").write_text(text + "\n", encoding="utf-8")


def _write_one(sums: AnySums, folder: Path, name: str) -> dict[str, Any]:
    """Writes sums, and beside a histogram its bins and the finer one, and returns what tells where and how."""
    _sums_frame(sums).write_parquet(folder / f"{name}.parquet")
    header = {"file": f"{name}.parquet", **_sums_header(sums)}
    if isinstance(sums, ScoreSums):
        header["bins"] = None
        if sums.bins is not None:
            header["bins"] = f"{name}-bins.parquet"
            _frame({"starts": sums.bins.starts}).write_parquet(folder / f"{name}-bins.parquet")
        header["fine"] = None if sums.fine is None else _write_one(sums.fine, folder, f"{name}-fine")
    return header


def definitions(evaluation: Evaluation) -> dict[str, Any]:
    """Returns what each statistic sums, by its identity: sums of other definitions are not read, nor added."""
    found = {m.statistic.identity: m.statistic for _, m in evaluation.metrics}
    return {identity: _definition(statistic) for identity, statistic in found.items()}


def _definition(statistic: Statistic) -> dict[str, Any]:
    parameters = {name: value if _plain(value) else str(value) for name, value in statistic.parameters.items()}
    return {
        "name": statistic.name,
        "form": statistic.form,
        "fields": list(statistic.fields),
        "parameters": parameters,
    }


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | None)


def _frame(arrays: Mapping[str, Any]) -> pl.DataFrame:
    """Returns a frame of the arrays that there are."""
    import polars as pl

    return pl.DataFrame({name: array for name, array in arrays.items() if array is not None})


def _sums_frame(sums: AnySums) -> pl.DataFrame:
    if isinstance(sums, ScoreSums):
        arrays: dict[str, Any] = {"slices": sums.slices, "groups": sums.groups}
        arrays |= {"keys": sums.keys} if sums.bins is None else {"bins": sums.bin_numbers.astype(np.int32)}
        for name in _SCORE_AMOUNTS:
            if getattr(sums, name) is not None:
                arrays |= {f"{name}{label}": getattr(sums, name)[:, label] for label in (0, 1)}
    else:
        held = sums.count.reshape(*sums.count.shape[:-1], -1).any(axis=-1)
        place = np.nonzero(held if sums.clustered else np.ones(len(sums.count), dtype=bool))
        arrays = {f"axis{axis}": index for axis, index in enumerate(place)}
        for name in ("count", "total", "square"):
            array = getattr(sums, name)
            arrays[name] = None if array is None else array[place].reshape(len(place[0]), -1)
        if sums.largest is not None and not sums.clustered:
            arrays["largest"] = sums.largest
    return _frame(arrays)


def _sums_header(sums: AnySums) -> dict[str, Any]:
    if isinstance(sums, ScoreSums):
        names = ("dtype", "probabilities", "size")
        return {"form": "scores", **{name: getattr(sums, name) for name in names}}
    header = {"form": "fields", "count": sums.count.shape, "total": sums.total.shape, "pivot": _listed(sums.pivot)}
    return {**header, "largest": _listed(sums.largest)} if sums.clustered else header


def _listed(array: Any) -> list[float] | None:
    return None if array is None else array.tolist()


def _plan_json(evaluation: Evaluation) -> dict[str, Any]:
    settings = asdict(evaluation.settings)
    if not isinstance(settings["positive"], str | int | float | bool | None):
        settings["positive"] = str(settings["positive"])
    return {
        "model": evaluation.model,
        "source": evaluation.source,
        "rows": evaluation.n,
        "dropped": evaluation.dropped,
        "skipped": list(evaluation.skipped),
        "metrics": [
            {"name": name, "metric": m.name_of_function, "parameters": dict(m.parameters)}
            for name, m in evaluation.metrics
        ],
        "settings": settings,
        "slice_sets": [[_dimension_json(d) for d in s.dimensions] for s in evaluation.plan.slice_sets],
        "slices": [[[list(pair) for pair in key] for key in keys] for keys in evaluation.plan.keys],
        "suppressed": [[[list(pair) for pair in key] for key in keys] for keys in evaluation.plan.hidden],
    }


def _dimension_json(dimension: Dimension) -> dict[str, Any]:
    argument = dimension.argument
    if dimension.form == "where":
        argument = str(argument)
    return {"name": dimension.name, "form": dimension.form, "argument": argument}


# --- reading ---


def load(folder: str | Path, *, rows: bool = False) -> Result:
    """Returns the result that `save` wrote into a folder.

    Args:
        folder: where it was saved.
        rows: whether its rows are read too, where they were written.

    Raises:
        DataError: the folder holds no result, one of another format, or damaged files.
    """
    import polars as pl

    path = Path(folder)
    if not (path / "sums" / "plan.json").exists():
        raise DataError(f"{path} holds no saved evaluation (no sums/plan.json).")
    try:
        evaluations = read_sums(path / "sums")
        return Result(saved_rows.read(path, evaluations) if rows else evaluations)
    except (OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"The saved evaluation in {path} is damaged: {error}.") from error


def read_sums(folder: Path, metrics: Sequence[Metrics] | None = None) -> list[Evaluation]:
    """Returns the evaluations whose sums `write_sums` wrote, without rows.

    Args:
        folder: where they are.
        metrics: names and metrics of each evaluation; None: those of evalkit with the names that were saved.

    Raises:
        DataError: they are of another format, or a statistic is now defined otherwise.
    """
    saved = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    if saved.get("format") != FORMAT:
        raise DataError(
            f"{folder.parent} was saved in format {saved.get('format')}, and this version reads format {FORMAT}; "
            "evaluate again."
        )
    given = [None] * len(saved["evaluations"]) if metrics is None else metrics
    return [_evaluation(entry, folder, own) for entry, own in zip(saved["evaluations"], given, strict=True)]


def _keys(saved: Any) -> tuple[tuple[SliceKey, ...], ...]:
    return tuple(tuple(tuple((pair[0], pair[1]) for pair in key) for key in keys) for keys in saved)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _evaluation(saved: Mapping[str, Any], folder: Path, metrics: Metrics | None) -> Evaluation:
    settings = dict(saved["settings"])
    columns = Columns(**{**settings["columns"], "extra": tuple(settings["columns"]["extra"])})
    bootstrap = None if settings["bootstrap"] is None else Bootstrap(**settings["bootstrap"])
    sets = tuple(
        SliceSet(tuple(Dimension(d["name"], d["form"], _tuples(d["argument"])) for d in dimensions))
        for dimensions in saved["slice_sets"]
    )
    made = Evaluation(
        model=saved["model"],
        metrics=tuple(_metrics_named(saved["metrics"]) if metrics is None else metrics),
        plan=Plan(sets, _keys(saved["slices"]), _keys(saved["suppressed"])),
        sums={identity: _read_one(header, folder) for identity, header in saved["sums"].items()},
        settings=Settings(**{**settings, "columns": columns, "bootstrap": bootstrap}),
        source=saved["source"],
        n=saved["rows"],
        dropped=saved["dropped"],
        skipped=tuple(saved["skipped"]),
    )
    _require_definitions(made, saved["statistics"])
    return made


def _metrics_named(saved: Sequence[Mapping[str, Any]]) -> Metrics:
    from evalkit.metrics import catalog

    known = catalog()
    unknown = next((entry["metric"] for entry in saved if entry["metric"] not in known), None)
    if unknown is not None:
        raise DataError(f'The metric "{unknown}" is not one of evalkit\'s; load needs its definition.')
    return [(entry["name"], known[entry["metric"]].bind(**entry["parameters"])) for entry in saved]


def _require_definitions(evaluation: Evaluation, saved: Mapping[str, Any]) -> None:
    """Refuses sums of a statistic that is now defined otherwise."""
    known = json.loads(json.dumps(definitions(evaluation)))
    for identity, definition in saved.items():
        if identity in known and known[identity] != definition:
            part = next(part for part, value in known[identity].items() if definition.get(part) != value)
            raise DataError(
                f'The saved sums of "{identity}" have other {part} ({definition.get(part)!r}) than this version '
                f"({known[identity][part]!r}); evaluate again."
            )


def _read_one(header: Mapping[str, Any], folder: Path) -> AnySums:
    import polars as pl

    frame = pl.read_parquet(folder / header["file"])
    arrays = {name: frame[name].to_numpy() for name in frame.columns}
    if header["form"] == "scores":
        return _scores(header, arrays, folder)
    place = tuple(arrays[f"axis{axis}"] for axis in range(sum(n.startswith("axis") for n in arrays)))
    count = np.zeros(header["count"], dtype=np.int64)
    total = np.zeros(header["total"])
    count[place] = arrays["count"].reshape(count[place].shape)
    total[place] = arrays["total"].reshape(total[place].shape)
    square = None
    if "square" in arrays:
        fields = total.shape[-1]
        wide = arrays["square"].shape[1] == fields * fields and fields > 1
        square = arrays["square"].reshape(len(total), fields, fields) if wide else arrays["square"]
    pivot = None if header["pivot"] is None else np.asarray(header["pivot"], dtype=np.float64)
    largest = (
        arrays.get("largest") if header.get("largest") is None else np.asarray(header["largest"], dtype=np.float64)
    )
    return FieldSums(count, total, square, largest, pivot)


def _scores(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], folder: Path) -> ScoreSums:
    import polars as pl

    bins, numbers = None, None
    if header["bins"] is not None:
        starts = pl.read_parquet(folder / header["bins"])["starts"].to_numpy()
        bins, numbers = ScoreBins(starts, header["dtype"], header["probabilities"]), arrays["bins"]
    amounts: dict[str, Any] = {
        name: np.stack([arrays[f"{name}{label}"] for label in (0, 1)], axis=1)
        for name in _SCORE_AMOUNTS
        if name == "count" or f"{name}0" in arrays
    }
    fine: Any = None if header["fine"] is None else _read_one(header["fine"], folder)
    sums = ScoreSums(
        slices=arrays["slices"],
        keys=arrays["keys"] if bins is None or numbers is None else bins.starts[numbers],
        groups=arrays.get("groups"),
        **{"total": None, "square": None, **amounts},
        bins=bins,
        dtype=header["dtype"],
        probabilities=header["probabilities"],
        size=header["size"],
        fine=fine,
    )
    return sums if numbers is None else sums.with_bins(numbers)
