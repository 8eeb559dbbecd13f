"""TFRecord files of tf.Example: what an encoder written here puts in comes out, and damage is named."""

import gzip
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from reading import batches, whole

from evalkit.errors import DataError
from evalkit.sources import tfrecord
from evalkit.sources.checksum import masked_crc32c
from evalkit.sources.example import MalformedError, features
from evalkit.sources.source import open_source
from evalkit.table import read

Values = Sequence[bytes] | Sequence[float] | Sequence[int]


def varint(value: int) -> bytes:
    value %= 1 << 64
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(kind: int, values: Values, *, packed: bool = True) -> bytes:
    if kind == 1:
        content = b"".join(field(1, value) for value in values)  # type: ignore[arg-type]
    elif kind == 2:
        parts = [struct.pack("<f", value) for value in values]
        content = field(1, b"".join(parts)) if packed else b"".join(varint(1 << 3 | 5) + part for part in parts)
    else:
        parts = [varint(value) for value in values]  # type: ignore[arg-type]
        content = field(1, b"".join(parts)) if packed else b"".join(varint(1 << 3) + part for part in parts)
    return field(kind, content)


def example(columns: Mapping[str, bytes]) -> bytes:
    entries = b"".join(field(1, field(1, name.encode()) + field(2, value)) for name, value in columns.items())
    return field(1, entries)


def record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    sums = masked_crc32c([length, content])
    return length + struct.pack("<I", sums[0]) + content + struct.pack("<I", sums[1])


def write(path: Path, records: Sequence[bytes]) -> Path:
    content = b"".join(record(one) for one in records)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def row(score: float | None, label: int, text: str, tags: Sequence[int], **how: Any) -> bytes:
    columns = {
        "label": feature(3, [label], **how),
        "text": feature(1, [text.encode()]),
        "tags": feature(3, tags, **how),
    }
    return example(columns if score is None else {"score": feature(2, [score], **how), **columns})


SCHEMA: dict[str, Any] = {"label": pl.Int64, "score": pl.Float32, "tags": pl.List(pl.Int64), "text": pl.String}
ROWS = st.lists(
    st.tuples(
        st.none() | st.floats(width=32, allow_nan=False),
        st.integers(-(2**63), 2**63 - 1),
        st.text(st.characters(codec="utf-8"), max_size=5),
        st.lists(st.integers(-5, 300), max_size=3),
    ),
    max_size=20,
)
ANCHOR = (0.5, 1, "a", [1, 2])  # tells every column's type


@given(rows=ROWS, packed=st.booleans(), most=st.integers(1, 30), zipped=st.booleans())
def test_what_was_encoded_is_read(
    rows: list[Any], packed: bool, most: int, zipped: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [ANCHOR, *rows]
    path = tmp_path_factory.mktemp("records") / ("x.tfrecord.gz" if zipped else "x.tfrecord")
    write(path, [row(*values, packed=packed) for values in rows])
    score, label, text, tags = zip(*rows, strict=True)
    expected = pl.DataFrame({"label": label, "score": score, "tags": tags, "text": text}, SCHEMA)
    assert_frame_equal(whole(path, coded=["text"], most=most), expected)
    assert_frame_equal(read(path), expected)


def test_a_feature_that_is_absent_or_empty_is_null(tmp_path: Path) -> None:
    empty, none = example({"x": feature(2, [])}), example({"x": b""})
    path = write(tmp_path / "x.tfrecord", [example({"x": feature(2, [1.5])}), empty, none, example({}), b""])
    assert whole(path)["x"].to_list() == [1.5, None, None, None, None]


def test_bytes_that_are_no_text_stay_bytes(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.tfrecord", [example({"x": feature(1, [b"\xff\x00"])}), example({"x": feature(1, [b"a"])})]
    )
    assert whole(path)["x"].to_list() == [b"\xff\x00", b"a"]


def test_a_sample_takes_records_from_the_whole_file(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord", [example({"n": feature(3, [k])}) for k in range(3000)])
    sample = open_source(path).sample(["n"], 100)["n"]
    assert sample.to_list() == list(range(0, 3000, 30))


def test_records_of_a_store_are_read_by_url() -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/records/x.tfrecord", record(row(*ANCHOR)))
    assert whole("memory://records")["text"].to_list() == ["a"]
    store.store.clear()


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "x.tfrecord", []))
    assert source.columns == {}
    assert list(source.parts[0].batches([])) == []


GOOD = [row(*ANCHOR) for _ in range(5)]
SIZE = len(record(GOOD[0]))


@pytest.mark.parametrize(
    ("place", "number", "what"),
    [
        (0, 0, "the checksum of its length is wrong"),
        (2 * SIZE + 7, 2, "the checksum of its length is wrong"),
        (3 * SIZE + 9, 3, "the checksum of its length is wrong"),
        (1 * SIZE + 20, 1, "the checksum of its content is wrong"),
        (5 * SIZE - 1, 4, "the checksum of its content is wrong"),
    ],
)
def test_a_byte_that_was_changed_names_the_record(place: int, number: int, what: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord", GOOD)
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"^Cannot read .*x\.tfrecord: record {number} is damaged: {what}\.$"):
        open_source(path)


@pytest.mark.parametrize("kept", [1, 11, 12, 30, SIZE - 1, SIZE + 3, 5 * SIZE - 2])
def test_a_file_cut_short_names_the_record(kept: int, tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord", GOOD)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=rf"record {kept // SIZE} is damaged: the file ends within it\.$"):
        open_source(path)


def test_a_gzip_file_cut_short_names_the_record(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord.gz", GOOD)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"^Cannot read .*x\.tfrecord\.gz: record \d is damaged: .+") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_gzip_file_names_itself(tmp_path: Path) -> None:
    (tmp_path / "x.tfrecord.gz").write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match=r"^Cannot read .*x\.tfrecord\.gz: record 0 is damaged"):
        open_source(tmp_path / "x.tfrecord.gz")


@pytest.mark.parametrize("length", [2**31 + 1, 2**63, 2**64 - 1])
def test_a_length_that_no_message_has_is_refused(length: int, tmp_path: Path) -> None:
    header = struct.pack("<Q", length)
    path = tmp_path / "x.tfrecord"
    path.write_bytes(record(GOOD[0]) + header + struct.pack("<I", masked_crc32c([header])[0]) + bytes(100))
    with pytest.raises(DataError, match=rf"record 1 is damaged: it claims {length:,} bytes"):
        open_source(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x0a\x7f\x00", "a field is longer than what it is part of"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "a field is longer than what it is part of"),
        (b"\x0a" + b"\xff" * 11, "more than ten bytes"),
        (b"\x0a", "it ends within a field"),
        (b"\x0a\x80", "it ends within a number"),
        (b"\x0b\x00", "wire type 3"),
        (b"\x02\x00", "number 0"),
        (example({"x": field(2, field(1, b"\x00\x00\x80"))}), "its packed floats are not whole"),
        (example({"x": field(3, field(1, b"\x80"))}), "it ends within a number"),
        (field(1, field(1, field(1, b"x") + b"\x12\x05\x0a")), "a field is longer than what it is part of"),
    ],
)
def test_bytes_that_are_no_example_say_why_and_where(content: bytes, why: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord", [GOOD[0], content])
    with pytest.raises(DataError, match=rf"^Cannot read .*x\.tfrecord: record 1 is no tf\.Example: .*{why}"):
        open_source(path)


@given(content=st.binary(max_size=60))
def test_garbage_is_read_or_refused_in_one_way(content: bytes) -> None:
    for message in (content, field(1, content), field(1, field(1, content)), example({"x": content})):
        with suppress(MalformedError):
            assert all(kind in (1, 2, 3) for kind, _ in features(message).values())


def test_fields_that_are_not_known_are_passed_over() -> None:
    unknown = (
        varint(9 << 3) + varint(7) + varint(10 << 3 | 1) + bytes(8) + varint(11 << 3 | 5) + bytes(4) + field(12, b"x")
    )
    entry = unknown + field(1, b"x") + unknown + field(2, unknown + feature(3, [4]) + unknown)
    assert features(unknown + field(1, unknown + field(1, entry)) + unknown) == {b"x": (3, [4])}


def test_the_last_entry_of_a_name_counts_and_lists_of_one_feature_are_joined() -> None:
    twice = field(
        1, field(1, field(1, b"x") + field(2, feature(3, [1]))) + field(1, field(1, b"x") + field(2, feature(3, [2])))
    )
    assert features(twice) == {b"x": (3, [2])}
    joined = example({"x": feature(3, [1]) + feature(3, [2, 3], packed=False)})
    assert features(joined) == {b"x": (3, [1, 2, 3])}
    assert features(example({"x": feature(3, [1]) + feature(2, [0.5])})) == {b"x": (2, [0.5])}


@pytest.mark.parametrize(
    ("later", "what"),
    [
        (feature(3, [1]), "holds integers, where records before hold floats"),
        (feature(2, [1.0, 2.0]), "holds 2 values, where records before hold one"),
    ],
)
def test_a_later_record_of_another_kind_is_named(
    later: bytes, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tfrecord, "_INFER_RECORDS", 2)
    path = write(tmp_path / "x.tfrecord", [example({"x": feature(2, [0.5])})] * 4 + [example({"x": later})])
    with pytest.raises(DataError, match=rf'x\.tfrecord: "x" of record 4 {what}\.$'):
        list(batches(open_source(path), ["x"]))


def test_a_later_text_that_is_not_utf8_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfrecord, "_INFER_RECORDS", 1)
    path = write(tmp_path / "x.tfrecord", [example({"x": feature(1, [b"a"])}), example({"x": feature(1, [b"\xff"])})])
    with pytest.raises(DataError, match=r'"x" of record 1 is no UTF-8 text'):
        list(batches(open_source(path), ["x"]))


def test_large_records_come_in_small_blocks(tmp_path: Path) -> None:
    large = [example({"image": feature(1, [bytes([255]) * 3_000_000]), "n": feature(3, [k])}) for k in range(8)]
    path = write(tmp_path / "x.tfrecord", large)
    assert max(batch.n for batch in batches(open_source(path), ["n"])) <= 3
    assert whole(path, ["n"])["n"].to_list() == list(range(8))
