"""Fairlearn's mitigations beside the original, on rows that were held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from threshold_rows import made

from evalkit.errors import ConfigError, DataError, UsageError
from evalkit.fairness import demographic_parity_difference
from evalkit.fairness.families import families
from evalkit.fairness.thresholds.mitigate import mitigated


def _data(n: int = 2000, seed: int = 0) -> dict[str, Any]:
    of = made(n, 2, seed, decimals=3)
    rng = np.random.default_rng(seed)
    return {
        "y": of.label,
        "p": 1 / (1 + np.exp(0.8 - of.score)),
        "sex": np.array(["f", "m"])[of.group],
        "x": of.score + rng.normal(size=n),
        "user": rng.integers(0, n // 4, n),
    }


def test_the_optimizer_is_fairlearns_own_fitted_to_one_half() -> None:
    from fairlearn.postprocessing import ThresholdOptimizer

    data = pl.DataFrame(_data())
    found = mitigated(data, label="y", score="p", protected="sex", seed=3, unit="user")
    assert not set(found.rows["user"]) & (set(data["user"]) - set(found.rows["user"]))
    assert found.fitted_rows + found.rows.height == 2000
    fit = data.join(found.rows.select("user").unique(), on="user", how="anti")
    assert fit.height == found.fitted_rows
    theirs = ThresholdOptimizer(
        estimator=found.fitted.estimator_, prefit=True, predict_method="predict", constraints="demographic_parity"
    ).fit(fit.select("p").to_numpy(), fit["y"].to_numpy(), sensitive_features=fit["sex"].to_numpy())
    expected = theirs.predict(
        found.rows.select("p").to_numpy(), sensitive_features=found.rows["sex"].to_numpy(), random_state=3
    )
    assert found.rows["mitigated"].to_list() == expected.tolist()
    assert found.rows["original"].to_list() == (found.rows["p"] >= 0.5).cast(pl.Int8).to_list()


def test_both_are_compared_with_slices_by_the_groups() -> None:
    found = mitigated(_data(), label="y", score="p", protected="sex")
    comparison = found.compare(metrics=["accuracy", "positive_prediction_rate"])
    assert comparison["accuracy"]["rows"] == found.rows.height
    [family] = families(comparison.pairs[0].candidate, ["sex"])
    assert len(family.groups) == 2
    gap = {
        name: demographic_parity_difference(
            found.rows["y"].to_numpy(), found.rows[name].to_numpy(), sensitive_features=found.rows["sex"].to_numpy()
        )
        for name in ("original", "mitigated")
    }
    assert gap["mitigated"] < gap["original"]


def test_words_as_labels_and_crossed_attributes() -> None:
    data = pl.DataFrame(_data()).with_columns(
        pl.when(pl.col("y") == 1).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("y"),
        (pl.col("user") % 2).alias("site"),
    )
    found = mitigated(
        data, label="y", score="p", protected=["sex", "site"], positive="yes", constraint="equalized_odds"
    )
    assert len(found.fitted.interpolated_thresholder_.interpolation_dict) == 4
    assert set(found.rows["y"].unique()) == {0, 1}
    assert "sex=f, site=0" in found.compare(metrics=["accuracy"]).to_polars()["slice"].to_list()


@pytest.mark.slow
def test_reductions_fit_the_model_itself_and_under_the_constraint() -> None:
    from sklearn.linear_model import LogisticRegression

    settings: dict[str, Any] = {"label": "y", "model": LogisticRegression(), "features": ["x"], "protected": "sex"}
    found = mitigated(_data(600), method="exponentiated_gradient", max_iter=3, **settings)
    assert found.compare(metrics=["accuracy"])["accuracy"]["rows"] == found.rows.height
    again = mitigated(_data(600), method="exponentiated_gradient", max_iter=3, **settings)
    assert found.rows.equals(again.rows)
    assert mitigated(_data(600), method="grid_search", grid_size=3, **settings).rows.columns == found.rows.columns


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"method": "threshold_optimiser"}, ConfigError, 'Did you mean "threshold_optimizer"'),
        ({"constraint": "parity"}, ConfigError, "No criterion 'parity'"),
        ({"objective": "cost"}, ConfigError, "No objective 'cost'"),
        ({"score": None}, UsageError, "needs score=, a column, or model="),
        ({"method": "exponentiated_gradient"}, UsageError, "fits an estimator"),
        ({"protected": []}, ConfigError, "Name the protected attribute"),
        ({"constraint": "equalized_odds", "objective": "selection"}, ConfigError, "no objective=selection"),
    ],
)
def test_what_cannot_be_asked_is_refused(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mitigated(_data(60), **{"label": "y", "score": "p", "protected": "sex", **wrong})


def test_a_group_of_one_label_and_a_column_of_that_name_are_refused() -> None:
    data = _data(200)
    with pytest.raises(DataError, match="lacks positives or negatives"):
        mitigated({**data, "y": np.where(data["sex"] == "f", 0, data["y"])}, label="y", score="p", protected="sex")
    with pytest.raises(ConfigError, match='have a column "original"'):
        mitigated({**data, "original": data["y"]}, label="y", score="p", protected="sex")


def test_one_group_and_scores_without_a_threshold_are_refused() -> None:
    data = _data(200)
    with pytest.raises(DataError, match='one group of "sex" alone: nothing can be equalized'):
        mitigated({**data, "sex": ["f"] * 200}, label="y", score="p", protected="sex")
    with pytest.raises(ConfigError, match='Scores in "x" lie outside \\[0, 1\\]: say threshold='):
        mitigated(data, label="y", score="x", protected="sex")
    found = mitigated(data, label="y", score="x", protected="sex", threshold=-1)
    assert found.rows["original"].to_list() == (found.rows["x"] >= -1).cast(int).to_list()
