"""The demo's data: the RAND Health Insurance Experiment, which statsmodels carries, so nothing is downloaded.

    >>> from evalkit.demo_data import next_year_pairs, split_by_family
    >>> pairs = next_year_pairs()
    >>> pairs.height, pairs["person"].n_unique()
    (14266, 5639)
    >>> train, test = split_by_family(pairs)
    >>> set(train["family"]) & set(test["family"])
    set()

From 1974 to 1982 families in six places were given insurance plans by lot and their use of care was recorded
for three or five years. The task: from one year's columns, will a person's `meddol` (dollars of medical care, without
outpatient mental care) be above the 80th percentile of the next year?

Source: statsmodels/datasets/randhie/src, public domain; Cameron and Trivedi, Microeconometrics (2005). Its codebook,
randdesc.txt beside it, says what each column is; the six sites are numbered there, not named.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import polars as pl

from evalkit.errors import MissingExtra

FAMILY_KEY = ("site", "plan", "income", "mdeoff", "pioff")
HIGH_COST_QUANTILE = 0.8
SPLIT_SEED = 0


def load_randhie() -> pl.DataFrame:
    """Returns the 20,190 person-years of 5,912 people, ordered by person and year.

    The columns keep the codebook's names (`plan`, `meddol` and `income` in dollars, `mdvis` in visits), except:

    - `person` (zper) and `age` in years (xage: the age in that year, so it grows from year to year);
    - `black`: null for 81 people whose value is their site's mean (.03 to .51), written in for an unknown one;
    - `race` ("black", "not black" or null) and `sex` ("female", "male"), from `black` and `female`;
    - `site`: "site 1" to "site 6";
    - `family`: a number from 1 to 1,898, one for each (site, plan, income, mdeoff, pioff). The file has no family
      column and this is an approximation. These five are constant within a person, so a person has one family. But
      563 people hold one income for each site, close to its mean and so probably imputed; those among them with the
      same plan and offers are one family here (of up to 36 people). Standard errors by family are the wider for it.

    Raises:
        MissingExtra: statsmodels is not installed.
    """
    years = pl.read_csv(_source(), infer_schema_length=None).rename({"zper": "person", "xage": "age"})
    family_key = [pl.col(name).fill_null(-1.0) for name in FAMILY_KEY]
    return (
        years.with_columns(
            family=pl.struct(family_key).rank("dense").cast(pl.Int64),
            black=pl.when(pl.col("black").is_in([0.0, 1.0])).then("black"),
            sex=pl.when(pl.col("female") == 1).then(pl.lit("female")).otherwise(pl.lit("male")),
            site=pl.format("site {}", "site"),
        )
        .with_columns(race=pl.col("black").replace_strict({1.0: "black", 0.0: "not black"}, return_dtype=pl.String))
        .sort("person", "year")
    )


def next_year_pairs() -> pl.DataFrame:
    """Returns one row for each person and year that the person's next year follows: 14,266 rows of 5,639 people.

    The columns are those of `load_randhie` for `year`, 1 to 4, and `label` (0 or 1): 1 where the next year's `meddol`
    is above the 80th percentile (linearly interpolated) of everybody's `meddol` in that next study year: 129.53,
    144.38, 128.09 and 150.11 dollars in years 2 to 5. The base rate is .2015, not .2, because those who stay from one
    year to the next are not quite everybody.

    Raises:
        MissingExtra: statsmodels is not installed.
    """
    years = load_randhie()
    cutoff = pl.col("meddol").quantile(HIGH_COST_QUANTILE, "linear").over("year")
    next_year = years.select("person", pl.col("year") - 1, label=(pl.col("meddol") > cutoff).cast(pl.Int8))
    return years.join(next_year, on=["person", "year"]).sort("person", "year")


def split_by_family(pairs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the rows to train on and the rows to test on: half of the families each, drawn once with a fixed seed.

    No family, and so no person, is on both sides. The rows keep their order.

    Args:
        pairs: Rows with a `family` column, as `next_year_pairs` returns them.
    """
    families = np.random.default_rng(SPLIT_SEED).permutation(pairs["family"].unique().sort().to_numpy())
    in_train = pairs["family"].is_in(families[: len(families) // 2].tolist())
    return pairs.filter(in_train), pairs.filter(~in_train)


def _source() -> Path:
    # Finding the package without importing it spares a second: statsmodels imports pandas and SciPy.
    package = importlib.util.find_spec("statsmodels")
    if package is None or not package.submodule_search_locations:
        raise MissingExtra("statsmodels", "demo")
    return Path(package.submodule_search_locations[0]) / "datasets" / "randhie" / "src" / "randhie.csv"
