"""How close the passes over rows come to what an accelerator and its link can move.

    python benchmarks/device.py [--rows 1000000000] [--host-rows 100000000] [--cpu-rows 16000000] [--repeats 3]

Keeps rows (float32 score, int8 label, two slice codes of int8 and int16) on the device and adds up, in one fused pass,
the 500 cells of both slices: a histogram of scores in 8,192 bins, the confusion matrix, and the sums, squares and
largest loss of `log_loss` and `brier_score`. Prints rows and bytes a second beside the device's own copy bandwidth in
the same run, every way of adding, the same pass on this machine's CPU, and with rows in host memory beside the link's
bandwidth. Needs JAX and NumPy alone; without an accelerator it runs small, on the CPU.
"""

import argparse
import functools
import os
import platform
import statistics
import time
from collections import deque
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import evalkit
from evalkit import score_keys
from evalkit.compilation import has_float64, scoped
from evalkit.kernels import Asked, accumulate, field_kernel
from evalkit.metrics.confusion import confusion
from evalkit.metrics.probability import probability
from evalkit.score_counts import count_scores, zeros

REGIONS, PRODUCTS, BINS, SHIFT = 10, 50, 8192, 14
CELLS, PADDED = REGIONS * PRODUCTS, 512
CHUNK = 1 << 22
ROW_BYTES = 4 + 1 + 1 + 2
COPIED_BYTES = 1 << 30
QUEUED = 4
METHODS = ("scatter", "copies", "sorted", "matrix")
PIVOT = np.zeros(PADDED)


def asked() -> tuple[Asked, ...]:
    products = ((0, 0), (0, 3), (0, 4), (3, 3), (4, 4))
    by_threshold = Asked.of(confusion.bind(threshold=0.5), False, None, ())
    return by_threshold, Asked.of(probability, False, products, (4,))


@functools.partial(jax.jit, static_argnums=1)
def made(seed, rows):
    """Rows that look like predictions: scores crowd near 0, labels follow them."""
    a, b, c, d = jax.random.split(jax.random.key(seed), 4)
    score = jax.random.uniform(a, (rows,), jnp.float32) ** 2
    label = (jax.random.uniform(b, (rows,), jnp.float32) < score).astype(jnp.int8)
    region = jax.random.randint(c, (rows,), 0, REGIONS, jnp.int32).astype(jnp.int8)
    product = jax.random.randint(d, (rows,), 0, PRODUCTS, jnp.int32).astype(jnp.int16)
    return score, label, region, product


def bins_table():
    last = int(score_keys.keys(np.ones(1, np.float32), probabilities=True)[0]) >> SHIFT
    return (np.arange(last + 1) * BINS // (last + 1)).astype(np.int32), np.array([0, last, 0], np.int32)


def cells_of(region, product):
    return region.astype(jnp.int32) * PRODUCTS + product.astype(jnp.int32)


def fused_pass(method, on_cpu):
    """Returns `(histogram, rows, n, table) -> histogram, sums`: one compiled function, on a CPU one for each part."""
    count = count_scores(PADDED * BINS * 2, SHIFT, probabilities=True)
    bounds, bins = bins_table()[1], np.int32(BINS)

    def histogram(sums, score, label, codes, n, table):
        return count(sums, (score, label, codes, ()), n, table, bounds, bins)[0]

    kernels = [field_kernel(one, PADDED, method, on_cpu) for one in asked()]
    histogram = jax.jit(histogram, donate_argnums=0) if on_cpu else histogram
    cells = jax.jit(cells_of) if on_cpu else cells_of

    def whole(sums, rows, n, table):
        score, label, region, product = rows
        codes = cells(region, product)
        arrays = {"score": score, "label": label}
        return histogram(sums, score, label, codes, n, table), [k(arrays, codes, None, n, PIVOT) for k in kernels]

    return whole if on_cpu else jax.jit(whole, donate_argnums=0)


def empty():
    return zeros(PADDED * BINS * 2, weighted=False, wide=True)


def run(step, chunks, table):
    """Passes over all chunks without waiting in between; returns the seconds, the histogram and the sums."""
    sums, answers, waiting = jax.block_until_ready(empty()), [], deque()
    start = time.perf_counter()
    for rows, n in chunks:
        sums, answer = step(sums, rows, np.int32(n), table)
        answers.append(answer)
        waiting.append(answer)
        if len(waiting) > QUEUED:
            jax.block_until_ready(waiting.popleft())
    jax.block_until_ready((sums, answers))
    return time.perf_counter() - start, sums, answers


def medians(step, chunks, table, repeats):
    """Warms up, then returns the median seconds and what the last run answered."""
    run(step, chunks[:2], table)
    runs = [run(step, chunks, table) for _ in range(repeats)]
    return statistics.median(seconds for seconds, _, _ in runs), runs[-1]


def totals(answers):
    found = [{}, {}]
    for answer in answers:
        for sums, part in zip(found, answer, strict=True):
            accumulate(sums, part)
    return [one.unpack(sums, CELLS) for one, sums in zip(asked(), found, strict=True)]


def copy_bandwidth(size, repeats):
    """Bytes read and written a second by copying an array on the device."""
    copy = jax.jit(lambda x: x ^ 1)
    source = jnp.zeros(size // 4, jnp.int32)
    copy(source).block_until_ready()
    times = []
    for _ in range(max(repeats, 5)):
        start = time.perf_counter()
        for _ in range(8):
            result = copy(source)
        result.block_until_ready()
        times.append((time.perf_counter() - start) / 8)
    return 2 * size / statistics.median(times)


def link_bandwidth(rows, repeats):
    """Bytes a second from host memory to the device, in the chunks and arrays of the pass."""
    times = []
    for _ in range(max(repeats, 3)):
        start = time.perf_counter()
        jax.block_until_ready([jax.device_put(chunk) for chunk, _ in rows])
        times.append(time.perf_counter() - start)
    return sum(array.nbytes for chunk, _ in rows for array in chunk) / statistics.median(times)


def line(name, rows, seconds, against=None, what=""):
    rate = rows / seconds
    ratio = f"{rate * ROW_BYTES / against:8.1%} of {what} ({against / 1e9:,.1f} GB/s)" if against else ""
    print(
        f"{name:<34}{rows:>14,}{seconds:>9.3f} s{rate / 1e6:>11,.1f} M rows/s{rate * ROW_BYTES / 1e9:>9.2f} GB/s{ratio}"
    )


def chunked(rows):
    """Rows on the default device, in chunks of one size; the last one may be short."""
    return [
        (jax.block_until_ready(made(seed, CHUNK)), min(CHUNK, rows - start))
        for seed, start in enumerate(range(0, rows, CHUNK))
    ]


def check(results, rows):
    """Counts must be equal, and sums within 1e-6: of the device and of the CPU on the same rows."""
    (_, first_sums, first), (_, second_sums, second) = results
    histograms = [np.asarray(sums["count"]) for sums in (first_sums, second_sums)]
    same = np.array_equal(*histograms) and int(histograms[0].sum(dtype=np.int64)) == rows
    for one, other in zip(totals(first), totals(second), strict=True):
        same &= np.array_equal(one["count"], other["count"])
        same &= np.allclose(one["total"], other["total"], rtol=1e-6, atol=0)
    print(f"device and CPU agree on {rows:,} rows: {'yes' if same else 'NO'}")


def cpu_name():
    info = Path("/proc/cpuinfo")
    named = [x for x in info.read_text().splitlines() if x.startswith("model name")] if info.exists() else []
    return named[0].split(":")[1].strip() if named else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("rows", "host-rows", "cpu-rows", "repeats"):
        parser.add_argument(f"--{name}", type=int)
    given = parser.parse_args()
    device, small = jax.devices()[0], jax.devices()[0].platform == "cpu"
    repeats = given.repeats or 3
    rows = given.rows or (2 * CHUNK if small else 1_000_000_000)
    host_rows = given.host_rows or (CHUNK if small else 100_000_000)
    cpu_rows = given.cpu_rows or (2 * CHUNK if small else 4 * CHUNK)
    print(f"{device.device_kind} ({device.platform}); {cpu_name()}, {os.cpu_count()} cores")
    print(
        f"evalkit {evalkit.__version__}, JAX {jax.__version__}, NumPy {np.__version__}, Python",
        platform.python_version(),
    )
    if small:
        print("No accelerator here: a small run on the CPU.")
    free = (device.memory_stats() or {}).get("bytes_limit", 1 << 62)
    rows = min(rows, int(0.7 * (free - 2 * COPIED_BYTES)) // ROW_BYTES, (1 << 31) - 1)
    with scoped(has_float64()):
        table = jnp.asarray(bins_table()[0])
        copied = copy_bandwidth(COPIED_BYTES // (16 if small else 1), repeats)
        chunks = chunked(rows)
        step = fused_pass(None, small)
        seconds, _ = medians(step, chunks, table, repeats)
        line("rows on the device", rows, seconds, copied, "its copies")
        some = chunks[: max(1, len(chunks) // 8)]
        for method in METHODS if not small else ():
            line(f"  adding by {method}", sum(n for _, n in some),
                 medians(fused_pass(method, small), some, table, repeats)[0], copied, "its copies")  # fmt: skip
        host = [(jax.tree.map(np.asarray, chunk), n) for chunk, n in chunks[: max(1, host_rows // CHUNK)]]
        link = None if small else link_bandwidth(host, repeats)
        line("rows in host memory", sum(n for _, n in host), medians(step, host, table, repeats)[0], link, "the link")
        few = host[: max(1, cpu_rows // CHUNK)]
        cpu = jax.devices("cpu")[0]
        with jax.default_device(cpu):
            on_cpu = [(jax.device_put(chunk, cpu), n) for chunk, n in few]
            seconds, result = medians(fused_pass(None, True), on_cpu, jax.device_put(table, cpu), repeats)
            line("the same on this machine's CPU", sum(n for _, n in few), seconds)
        check((run(step, chunks[: len(few)], table), result), sum(n for _, n in few))


if __name__ == "__main__":
    main()
