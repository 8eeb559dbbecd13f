"""Tables in memory, and batches that come one after another."""

import pickle
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from reading import batches, whole

from evalkit.errors import ColumnError, DataError
from evalkit.sources import memory
from evalkit.sources.source import open_source
from evalkit.table import read

ROWS = pl.DataFrame({"n": [1, 2, 3], "text": ["a", None, "b"]})


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        ROWS.lazy(),
        ROWS.to_arrow(),
        ROWS.to_dict(as_series=False),
        [ROWS[:1], ROWS[1:].to_arrow()],
        {"n": np.asarray([1, 2, 3]), "text": np.asarray(["a", None, "b"], object)},
    ],
    ids=["frame", "lazy", "arrow", "mapping", "list", "arrays"],
)
def test_a_table_gives_its_rows(data: Any) -> None:
    assert_frame_equal(whole(data, coded=["text"]), ROWS)
    assert_frame_equal(read(data), ROWS)
    assert_frame_equal(read(open_source(data)), ROWS)


def test_pandas_and_jax_give_their_rows() -> None:
    assert whole(pd.DataFrame({"a": [1.5, float("nan")], "b": ["x", "y"]}))["b"].to_list() == ["x", "y"]
    assert whole({"a": jnp.asarray([1, 2])})["a"].to_list() == [1, 2]


def test_a_large_frame_is_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PART_ROWS", 10)
    source = open_source(pl.DataFrame({"n": range(25)}))
    assert [part.rows for part in source.parts] == [10, 10, 5]
    assert len({part.fingerprint() for part in source.parts}) == 3


def test_codes_of_categories_are_their_texts() -> None:
    frame = pl.DataFrame({"c": pl.Series(["b", None, "a"], dtype=pl.Enum(["a", "b"]))})
    [batch] = batches(open_source(frame), ["c"], ["c"])
    codes, values = batch.coded["c"]
    assert [None if k < 0 else values[k] for k in codes] == ["b", None, "a"]


def test_a_null_within_an_arrow_dictionary_is_null() -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), pa.array(["a", None]))
    from evalkit.sources.part import codes_of

    assert codes_of(array)[0].tolist() == [0, -1, -1]


def test_columns_of_unlike_length_are_refused() -> None:
    with pytest.raises(DataError, match="Columns differ in length"):
        open_source({"a": [1], "b": [1, 2]})


def test_what_is_no_data_is_refused() -> None:
    with pytest.raises(DataError, match="Data of type int cannot be read"):
        open_source(3)


@pytest.mark.parametrize("nothing", ["", [], ()])
def test_no_data_are_refused(nothing: Any) -> None:
    with pytest.raises(DataError, match="No data are named"):
        open_source(nothing)


def stream(rows: int = 10) -> Iterator[pl.DataFrame]:
    for k in range(rows):
        yield pl.DataFrame({"n": [k] * 5, "text": [f"t{k}"] * 5})


def test_an_iterator_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "HEAD_ROWS", 12)
    assert_frame_equal(whole(stream(), coded=["text"], most=2), pl.concat(stream()))


def test_an_iterator_is_taken_from_only_as_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "HEAD_ROWS", 12)
    taken: list[int] = []

    def watched() -> Iterator[pl.DataFrame]:
        for k, frame in enumerate(stream()):
            taken.append(k)
            yield frame

    [part] = open_source(watched()).parts
    assert len(taken) == 3
    reader = part.batches(["n"])
    for _ in range(4):
        next(reader)
    assert len(taken) == 4


def test_an_iterator_is_read_once() -> None:
    source = open_source(stream())
    assert source.sample(["n"], 7).height >= 7
    assert sum(batch.n for batch in batches(source, ["n"])) == 50
    with pytest.raises(DataError, match=r"An iterator of batches is read once; give files or a list"):
        list(batches(source, ["n"]))


def test_an_iterator_stays_in_its_process() -> None:
    with pytest.raises(DataError, match="cannot be sent to other processes"):
        pickle.dumps(open_source(stream()).parts)


def test_an_iterator_without_batches_is_refused() -> None:
    with pytest.raises(DataError, match="The iterator of batches is empty"):
        open_source(iter([]))


def test_a_batch_without_a_column_is_named() -> None:
    source = open_source(iter([{"a": [1] * 1_000_000}, {"b": [1]}]))
    with pytest.raises(ColumnError, match=r'No column "a" in batch 2 of the data\.'):
        list(batches(source, ["a"]))


def test_a_batch_of_another_type_is_named() -> None:
    source = open_source(iter([{"a": [1] * 1_000_000}, {"a": ["x"]}]))
    with pytest.raises(DataError, match=r'"a" is String in batch 2 of the data and Int64 in those before'):
        list(batches(source, ["a"]))


def test_first_batches_of_several_types_have_the_type_that_holds_all() -> None:
    source = open_source(iter([{"a": [None]}, {"a": [1]}, {"a": [0.5]}]))
    assert source.columns == {"a": pl.Float64}
    assert [batch.frame["a"].dtype for batch in batches(source, ["a"])] == [pl.Float64] * 3
