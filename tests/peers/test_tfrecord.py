"""TensorFlow writes records, and evalkit reads them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from evalkit.sources.checksum import masked_crc32c
from evalkit.sources.source import open_source


def example(k: int) -> tf.train.Example:
    columns = {
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[(-1) ** k * k])),
        "text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[f"größe {k % 7}".encode()])),
        "tags": tf.train.Feature(int64_list=tf.train.Int64List(value=range(k % 3))),
        "names": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a"] * (k % 4))),
    }
    if k % 5:
        columns["score"] = tf.train.Feature(float_list=tf.train.FloatList(value=[k / 1000]))
    return tf.train.Example(features=tf.train.Features(feature=columns))


@pytest.mark.parametrize(("ending", "compression"), [("tfrecord", ""), ("tfrecord.gz", "GZIP")])
def test_records_that_tensorflow_wrote_are_read(ending: str, compression: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{ending}"
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type=compression)) as writer:
        for k in range(1000):
            writer.write(example(k).SerializeToString())
    columns = ["score", "label", "text", "tags", "names"]
    found = pl.concat(batch.frame for batch in open_source(path).parts[0].batches(columns, most_rows=300))
    assert found["score"].to_list() == [float(np.float32(k / 1000)) if k % 5 else None for k in range(1000)]
    assert found["label"].to_list() == [(-1) ** k * k for k in range(1000)]
    assert found["text"].to_list() == [f"größe {k % 7}" for k in range(1000)]
    assert found["tags"].to_list() == [list(range(k % 3)) for k in range(1000)]
    assert found["names"].to_list() == [["a"] * (k % 4) for k in range(1000)]


def test_the_framing_is_that_of_tensorflow(tmp_path: Path) -> None:
    contents = [b"", b"a", bytes(range(256)) * 9]
    with tf.io.TFRecordWriter(str(tmp_path / "x")) as writer:
        for content in contents:
            writer.write(content)
    written = (tmp_path / "x").read_bytes()
    lengths = [len(content).to_bytes(8, "little") for content in contents]
    expected = b"".join(
        length + masked_crc32c([length]).tobytes() + content + masked_crc32c([content]).tobytes()
        for length, content in zip(lengths, contents, strict=True)
    )
    assert written == expected
