"""Reading a large file takes little memory, whatever its size."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PROGRAM = """
import resource, sys
from evalkit.sources.source import open_source
source = open_source(sys.argv[1])
columns = ["score", "label", "region"]
list(zip(range(1), source.parts[0].batches(columns, ["region"])))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(batch.n for part in source.parts for batch in part.batches(columns, ["region"]))
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_twenty_million_rows_are_read_in_bounded_memory(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    regions = pa.array([f"region {k}" for k in range(10)])
    schema = pa.schema({"score": pa.float64(), "label": pa.int64(), "region": pa.string()})
    with pq.ParquetWriter(tmp_path / "rows.parquet", schema, compression="none") as writer:
        for _ in range(20):
            codes = pa.DictionaryArray.from_arrays(random.integers(0, 10, 1_000_000).astype("i4"), regions)
            columns = [random.random(1_000_000), random.integers(0, 2, 1_000_000), codes.cast(pa.string())]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=250_000)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "rows.parquet")], check=True, capture_output=True, text=True
    )
    rows, megabytes = map(int, done.stdout.split())
    assert rows == 20_000_000
    assert megabytes < 300, "the columns take 480 MB, a batch of them 24 MB; the file itself is mapped"
