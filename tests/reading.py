"""How tests read a source: all its batches as one frame again, codes turned back into text."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import polars as pl

from evalkit.sources.part import is_text
from evalkit.sources.source import Batch, Part, Source, open_source


def frame_of(batch: Batch) -> pl.DataFrame:
    coded = {
        name: pl.Series(name, [values[code] if code >= 0 else None for code in codes], pl.String)
        for name, (codes, values) in batch.coded.items()
    }
    return batch.frame.with_columns(**coded) if batch.frame.width else pl.DataFrame(coded)


def batches(
    source: Source, columns: Sequence[str], coded: Collection[str] = (), most: int = 1 << 20
) -> Iterator[Batch]:
    for part in source.parts:
        start = 0
        for batch in part.batches(columns, coded, most):
            assert batch.start == start
            assert 0 < batch.n <= most
            start += batch.n
            yield batch
        assert part.rows in (None, start)


def whole(
    data: Any, columns: Sequence[str] | None = None, coded: Collection[str] = (), most: int = 1 << 20, **named: Any
) -> pl.DataFrame:
    source = open_source(data, **named)
    chosen = list(source.columns if columns is None else columns)
    empty = pl.DataFrame(schema={name: source.columns[name] for name in chosen})
    frames = []
    for batch in batches(source, chosen, coded, most):
        assert set(batch.frame.columns) | set(batch.coded) == set(chosen)
        assert not set(batch.frame.columns) & set(batch.coded)
        frame = frame_of(batch).select(chosen)
        assert frame.height == batch.n
        frames.append(frame)
    if coded:
        text = [name for name in chosen if name in coded and is_text(source.columns[name])]
        empty = empty.cast(dict.fromkeys(text, pl.String))
    return pl.concat([empty, *frames], how="vertical_relaxed")


def first_batch(part: Part, columns: Sequence[str], coded: Collection[str] = ()) -> Batch:
    return next(iter(part.batches(columns, coded)))
