"""Coarser slices from the sums of finer ones are those of the rows."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import evalkit as ek
from evalkit.cli import main
from evalkit.errors import DataError, UsageError

N = 3_000
EXACT = ("model", "slice", "metric", "status", "rows", "support", "approximate")


def rows() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    score = rng.beta(2, 3, N)
    return pl.DataFrame(
        {
            "y": (rng.random(N) < score).astype(int),
            "p": score.round(3),
            "value": 1000 + 10 * rng.normal(size=N),
            "guess": 1000 + 10 * rng.normal(size=N),
            "w": rng.choice([0.5, 1.0, 2.0], N),
            "u": rng.integers(0, 300, N),
            "sex": rng.choice(["female", "male"], N),
            "race": pl.Series(rng.choice(["a", "b", "c"], N)).replace("c", None),
            "age": rng.integers(18, 80, N),
        }
    )


def same(rolled: ek.Result, whole: ek.Result) -> None:
    keys = ["metric", "slice"]
    mine, other = (r.to_polars().filter(pl.col("slice").is_in(rolled.slices)).sort(keys) for r in (rolled, whole))
    assert_frame_equal(mine.select(EXACT), other.select(EXACT))
    numbers = ["value", "low", "high", "weight"]
    assert_frame_equal(mine.select(numbers), other.select(numbers), rel_tol=1e-9, abs_tol=1e-12)


SCORES: dict[str, Any] = {"label": "y", "score": "p"}
NUMBERS: dict[str, Any] = {"label": "value", "prediction": "guess"}


@pytest.mark.parametrize(
    "asked",
    [
        SCORES,
        {**SCORES, "weight": "w"},
        {**SCORES, "unit": "u"},
        {**SCORES, "engine": "local"},
        {**SCORES, "budget_bytes": 20_000},
        {**SCORES, "metrics": ["recall", "roc_auc"], "intervals": ek.bootstrap(50, seed=1)},
        NUMBERS,
        {**NUMBERS, "weight": "w"},
    ],
    ids=["scores", "weights", "units", "part by part", "binned", "bootstrap", "numbers", "weighted numbers"],
)
def test_a_cross_rolls_up_to_what_the_rows_give(asked: dict[str, Any]) -> None:
    age = ek.by("age", edges=[30, 50])
    wanted, cross = ["sex", "race", [age, "sex"]], ["sex", "race", age]
    rolled = ek.evaluate(rows(), **asked, slices=[cross]).roll_up(*wanted)
    assert len(rolled.slices) == 1 + 2 + 3 + 6
    same(rolled, ek.evaluate(rows(), **asked, slices=[*wanted, cross]))


def test_a_column_stands_for_the_slices_of_it_that_there_are() -> None:
    age = ek.by("age", edges=[30, 50])
    crossed = ek.evaluate(rows(), **SCORES, metrics=["recall"], slices=[["sex", age]])
    assert [key for key in crossed.roll_up("age").slices if key != "overall"] == [
        "age=(-inf, 30)",
        "age=[30, 50)",
        "age=[50, inf)",
    ]
    same(crossed.roll_up(["sex", "age"]), crossed)


def test_what_does_not_add_up_is_refused() -> None:
    chosen = ek.evaluate(rows(), **SCORES, metrics=["recall"], slices=[[ek.by("race", values=["a"]), "sex"], "race"])
    with pytest.raises(DataError, match="do not hold each row once"):
        chosen.roll_up("sex")
    with pytest.raises(UsageError, match=r"age cannot be made of the slices there are \(race=\[a\],sex; race\)"):
        chosen.roll_up("age")
    hidden = ek.evaluate(rows()[:60], **SCORES, metrics=["recall"], slices=[["sex", "race"]], suppress_below=12)
    with pytest.raises(UsageError, match="Suppressed slices cannot be rolled up"):
        hidden.roll_up("sex")


def test_merged_days_are_rolled_up_on_the_command_line(tmp_path: Path) -> None:
    days = [rows()[:1000], rows()[1000:]]
    for number, day in enumerate(days):
        ek.evaluate(day, **SCORES, slices=[["sex", "race"]]).save(tmp_path / str(number))
    folders = [str(tmp_path / str(number)) for number in range(2)]
    assert main(["merge", *folders, "--out", str(tmp_path / "both"), "--slice", "sex", "--quiet"]) == 0
    same(ek.load(tmp_path / "both"), ek.evaluate(rows(), **SCORES, slices=["sex"]))
