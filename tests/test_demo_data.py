import sys

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from evalkit.demo_data import load_randhie, next_year_pairs, split_by_family
from evalkit.demo_models import fit_models, scored_test
from evalkit.errors import MissingExtra


@pytest.fixture(scope="module")
def years() -> pl.DataFrame:
    return load_randhie()


@pytest.fixture(scope="module")
def pairs() -> pl.DataFrame:
    return next_year_pairs()


@pytest.fixture(scope="module")
def scored() -> pl.DataFrame:
    return scored_test()


def test_every_person_year_is_loaded_once(years: pl.DataFrame) -> None:
    assert years.shape == (20_190, 48)
    assert years["person"].n_unique() == 5_912
    assert not years.select("person", "year").is_duplicated().any()
    assert years["year"].value_counts().sort("year")["count"].to_list() == [5_638, 5_575, 5_548, 1_715, 1_714]


def test_an_imputed_race_is_null(years: pl.DataFrame) -> None:
    assert years.filter(pl.col("race").is_null())["person"].n_unique() == 81
    assert years.filter(pl.col("black").is_null())["person"].n_unique() == 81
    assert set(years["race"].drop_nulls()) == {"black", "not black"}
    assert years.filter(race="black")["black"].unique().to_list() == [1.0]


def test_slice_columns_are_readable(years: pl.DataFrame) -> None:
    assert set(years["sex"]) == {"female", "male"}
    assert years.filter(sex="female")["female"].unique().to_list() == [1]
    assert set(years["site"]) == {f"site {number}" for number in range(1, 7)}
    assert (years["site"].str.slice(-1) == years["person"].cast(pl.String).str.slice(0, 1)).all()


def test_a_person_has_one_family_and_there_are_1898(years: pl.DataFrame) -> None:
    assert years["family"].n_unique() == 1_898
    assert years.select("person", "family").n_unique() == 5_912


def test_pairs_are_14266_of_5639_people_and_a_fifth_are_positive(pairs: pl.DataFrame) -> None:
    assert pairs.height == 14_266
    assert pairs["person"].n_unique() == 5_639
    assert pairs["family"].n_unique() == 1_854
    assert pairs["label"].sum() == 2_874


def test_the_label_compares_the_next_study_year_with_its_own_80th_percentile(
    years: pl.DataFrame, pairs: pl.DataFrame
) -> None:
    dollars = {(person, year): amount for person, year, amount in years.select("person", "year", "meddol").rows()}
    cutoffs = {year: np.quantile(years.filter(year=year)["meddol"].to_numpy(), 0.8) for year in range(2, 6)}
    expected = [dollars[person, year + 1] > cutoffs[year + 1] for person, year in pairs.select("person", "year").rows()]
    assert pairs["label"].to_list() == expected


def test_nobody_is_on_both_sides_of_the_split(pairs: pl.DataFrame) -> None:
    train, test = split_by_family(pairs)
    assert train.height + test.height == pairs.height
    assert set(train["family"]).isdisjoint(test["family"])
    assert set(train["person"]).isdisjoint(test["person"])
    assert (train["family"].n_unique(), test["family"].n_unique()) == (927, 927)


def test_the_split_does_not_depend_on_the_order_of_the_rows(pairs: pl.DataFrame) -> None:
    _, test = split_by_family(pairs)
    _, shuffled = split_by_family(pairs.sample(fraction=1, shuffle=True, seed=1))
    assert shuffled.sort("person", "year").equals(test)


def test_the_scored_test_half_has_the_columns_the_demo_reads(scored: pl.DataFrame) -> None:
    keys = ["row_id", "person", "family", "year", "label", "need", "sex", "race", "age", "income", "site"]
    assert scored.columns == [*keys, "baseline", "candidate", "year_one"]
    assert scored.height == scored["row_id"].n_unique() == 7_230
    for name in ("baseline", "candidate", "year_one"):
        assert scored[name].dtype == pl.Float64
        assert scored[name].is_between(0, 1).all()


@pytest.mark.parametrize(("model", "area"), [("baseline", 0.72), ("candidate", 0.79), ("year_one", 0.673)])
def test_the_candidate_is_better_than_the_baseline_and_year_one_is_worse(
    scored: pl.DataFrame, model: str, area: float
) -> None:
    assert roc_auc_score(scored["label"].to_numpy(), scored[model].to_numpy()) == pytest.approx(area, abs=0.01)


def test_scoring_twice_gives_the_same_scores(scored: pl.DataFrame) -> None:
    assert scored_test().equals(scored)


def test_missing_statsmodels_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsmodels", None)
    with pytest.raises(MissingExtra, match=r"statsmodels.*evalkit\[demo\]"):
        load_randhie()


def test_missing_scikit_learn_says_what_to_install(monkeypatch: pytest.MonkeyPatch, pairs: pl.DataFrame) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(MissingExtra, match=r"scikit-learn.*evalkit\[demo\]"):
        fit_models(pairs)
