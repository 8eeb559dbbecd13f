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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import DataError, InternalError, MissingExtra, OutputError
from evalkit.interrupts import held_back, unfinished
from evalkit.interval import Bootstrap
from evalkit.results import Evaluation, Plan, Result, Settings
from evalkit.rows import Columns
from evalkit.slicing.spec import Dimension, SliceKey, SliceSet
from evalkit.sums import AnySums, FieldSums, ScoreSums

if TYPE_CHECKING:
    import polars as pl

FORMAT = 1
_SCORE_ARRAYS = ("slices", "keys", "groups", "count", "total", "square")


def save(
    result: Result,
    folder: str | Path,
    *,
    overwrite: bool = False,
    report: bool | None = False,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a result into a folder and returns it; on any failure nothing is left behind.

    Args:
        result: the result, not narrowed.
        folder: made anew.
        overwrite: whether an existing folder is replaced.
        report: True for `report.html`; None: where the `reports` extra is installed.
        extra: more to say in `run.json`.

    Raises:
        OutputError: the folder exists, or cannot be made.
        InternalError: the disk is full.
    """
    target = Path(folder)
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists; choose another folder, or say overwrite.")
    if target.exists():
        require_own(target)
    with _written_aside(target) as aside:
        run = {**describe(result), **(extra or {})}
        _write_tables(result, aside)
        _write_sums(result, aside / "sums")
        run["files"] = [*_write_rows(result, aside), "metrics.parquet", "metrics.json", "sums", "run.json"]
        if report is not False and _write_report(result, aside, run, required=report is True):
            run["files"] = sorted([*run["files"], "report.html"])
        (aside / "run.json").write_text(json.dumps(run, indent=2, default=str) + "\n", encoding="utf-8")
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
def _written_aside(target: Path) -> Iterator[Path]:
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


def _write_report(result: Result, folder: Path, run: Mapping[str, Any], *, required: bool) -> bool:
    from evalkit.reports import write_report

    try:
        write_report(result, folder / "report.html", run=run)
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


# --- rows ---


def _write_rows(result: Result, folder: Path) -> list[str]:
    """Writes labels, every model's scores, units and slices, where all models were evaluated on the same rows."""
    kept = [evaluation for evaluation in result.evaluations if evaluation.rows is not None]
    if not kept or len(kept) < len(result.evaluations):
        return []
    first = kept[0]
    frame = _rows_of(first)
    for other in kept[1:]:
        if not _same_rows(first, other):
            return []
        frame = frame.with_columns(_outputs(other))
    frame.write_parquet(folder / "rows.parquet")
    return ["rows.parquet"]


def _outputs(evaluation: Evaluation) -> list[pl.Series]:
    import polars as pl

    if evaluation.rows is None:
        raise InternalError("no rows are kept")
    rows = evaluation.rows.rows
    found = {"score": rows.score, "prediction": rows.prediction}
    return [pl.Series(f"{role}:{evaluation.model}", values) for role, values in found.items() if values is not None]


def _rows_of(evaluation: Evaluation) -> pl.DataFrame:
    import polars as pl

    from evalkit.slicing.encode import encode

    if evaluation.rows is None:
        raise InternalError("no rows are kept")
    checked, columns = evaluation.rows, evaluation.settings.columns
    n = checked.rows.n
    series = [checked.frame[columns.id].alias("id") if columns.id else pl.Series("id", np.arange(n))]
    if checked.rows.label is not None:
        series.append(pl.Series("label", checked.rows.label))
    series += _outputs(evaluation)
    if checked.rows.weight is not None:
        series.append(pl.Series("weight", checked.rows.weight))
    if columns.unit:
        series.append(checked.frame[columns.unit].alias("unit"))
    sets = evaluation.plan.slice_sets[1:]
    limit = max((len(keys) for keys in evaluation.plan.keys), default=1)
    single = [SliceSet((d,)) for d in dict.fromkeys(d for s in sets for d in s.dimensions)]
    coded = encode(single, checked.frame, max(limit, n))
    for dimension, part in ((s.dimensions[0], coded[s.dimensions[0]]) for s in single):
        if part.rows is None:
            values = pl.Series([*part.values, None], dtype=pl.String)
            codes = np.where(part.codes < 0, len(part.values), part.codes)
            series.append(values.gather(codes).cast(pl.Categorical).alias(f"slice:{dimension}"))
    return pl.DataFrame(series)


def _same_rows(left: Evaluation, right: Evaluation) -> bool:
    if left.rows is None or right.rows is None or left.n != right.n:
        return False
    label, other = left.rows.rows.label, right.rows.rows.label
    same = label is None or (other is not None and bool(np.array_equal(label, other)))
    mine, theirs = left.settings.columns.id, right.settings.columns.id
    if mine and theirs:
        return same and bool(left.rows.frame[mine].equals(right.rows.frame[theirs]))
    return same


# --- sums ---


def _write_sums(result: Result, folder: Path) -> None:
    folder.mkdir()
    plans = []
    for number, evaluation in enumerate(result.evaluations):
        files = {}
        for place, (identity, sums) in enumerate(evaluation.sums.items()):
            name = f"{number}-{place}.parquet"
            _sums_frame(sums).write_parquet(folder / name)
            files[identity] = {"file": name, **_sums_header(sums)}
        plans.append(_plan_json(evaluation) | {"sums": files})
    text = json.dumps({"format": FORMAT, "evaluations": plans}, indent=1)
    (folder / "plan.json").write_text(text + "\n", encoding="utf-8")


def _sums_frame(sums: AnySums) -> pl.DataFrame:
    import polars as pl

    if isinstance(sums, ScoreSums):
        arrays: dict[str, Any] = {name: getattr(sums, name) for name in _SCORE_ARRAYS}
    else:
        held = sums.count.reshape(*sums.count.shape[:-1], -1).any(axis=-1)
        place = np.nonzero(held if sums.clustered else np.ones(len(sums.count), dtype=bool))
        arrays = {f"axis{axis}": index for axis, index in enumerate(place)}
        for name in ("count", "total", "square"):
            array = getattr(sums, name)
            arrays[name] = None if array is None else array[place].reshape(len(place[0]), -1)
        if sums.largest is not None and not sums.clustered:
            arrays["largest"] = sums.largest
    return pl.DataFrame({name: array for name, array in arrays.items() if array is not None})


def _sums_header(sums: AnySums) -> dict[str, Any]:
    if isinstance(sums, ScoreSums):
        names = ("shift", "dtype", "probabilities", "size")
        return {"form": "scores", **{name: getattr(sums, name) for name in names}}
    return {"form": "fields", "count": sums.count.shape, "total": sums.total.shape, "pivot": _listed(sums.pivot)}


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


def load(folder: str | Path) -> Result:
    """Returns the result that `save` wrote into a folder.

    Raises:
        DataError: the folder holds no result, one of another format, or damaged files.
    """
    import polars as pl

    path = Path(folder)
    plan_file = path / "sums" / "plan.json"
    if not plan_file.exists():
        raise DataError(f"{path} holds no saved evaluation (no sums/plan.json).")
    try:
        saved = json.loads(plan_file.read_text(encoding="utf-8"))
        if saved.get("format") != FORMAT:
            raise DataError(f"{path} was saved in format {saved.get('format')}; this version reads format {FORMAT}.")
        evaluations = [_evaluation(entry, path / "sums") for entry in saved["evaluations"]]
        return Result(evaluations)
    except (OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"The saved evaluation in {path} is damaged: {error}.") from error


def _keys(saved: Any) -> tuple[tuple[SliceKey, ...], ...]:
    return tuple(tuple(tuple((pair[0], pair[1]) for pair in key) for key in keys) for keys in saved)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _evaluation(saved: Mapping[str, Any], folder: Path) -> Evaluation:
    from evalkit.metrics import catalog

    settings = dict(saved["settings"])
    columns = Columns(**{**settings["columns"], "extra": tuple(settings["columns"]["extra"])})
    bootstrap = None if settings["bootstrap"] is None else Bootstrap(**settings["bootstrap"])
    known = catalog()
    metrics = []
    for entry in saved["metrics"]:
        if entry["metric"] not in known:
            raise DataError(f'The metric "{entry["metric"]}" is not one of evalkit\'s; load needs its definition.')
        metrics.append((entry["name"], known[entry["metric"]].bind(**entry["parameters"])))
    sets = tuple(
        SliceSet(tuple(Dimension(d["name"], d["form"], _tuples(d["argument"])) for d in dimensions))
        for dimensions in saved["slice_sets"]
    )
    return Evaluation(
        model=saved["model"],
        metrics=tuple(metrics),
        plan=Plan(sets, _keys(saved["slices"]), _keys(saved["suppressed"])),
        sums={identity: _read_sums(header, folder) for identity, header in saved["sums"].items()},
        settings=Settings(**{**settings, "columns": columns, "bootstrap": bootstrap}),
        source=saved["source"],
        n=saved["rows"],
        dropped=saved["dropped"],
    )


def _read_sums(header: Mapping[str, Any], folder: Path) -> AnySums:
    import polars as pl

    frame = pl.read_parquet(folder / header["file"])
    arrays = {name: frame[name].to_numpy() for name in frame.columns}
    if header["form"] == "scores":
        parts = {name: arrays.get(name) for name in _SCORE_ARRAYS}
        return ScoreSums(**{**parts, **{n: header[n] for n in ("shift", "dtype", "probabilities", "size")}})
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
    return FieldSums(count, total, square, arrays.get("largest"), pivot)
