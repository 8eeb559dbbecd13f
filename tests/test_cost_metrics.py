"""Metrics of costs: names, columns, degenerate costs, tails and intervals. Values are held to oracles by the laws."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import evalkit as ek
from evalkit.metrics import catalog, find
from evalkit.statistic import column_names

NAMES = ["cost_saved", "expected_cost", "normalized_cost", "total_cost", "value_per_positive"]
FRAUD: dict[str, Any] = {
    "y": [1, 1, 0, 0, 1],
    "p": [0.9, 0.2, 0.6, 0.1, 0.4],
    "amount": [50.0, 8.0, 20.0, 30.0, 2.0],
    "call": [1, 0, 0, 1, 1],
}


def fraud(*metrics: str, data: dict[str, Any] | pl.DataFrame = FRAUD, **roles: Any) -> Any:
    settings: dict[str, Any] = {"label": "y", "score": "p", "metrics": list(metrics)} | roles
    return ek.evaluate(data, **settings)


def many(n: int = 4000, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 4, n)
    y = (rng.random(n) < p).astype(np.int64)
    return pl.DataFrame({"y": y, "p": p, "amount": rng.gamma(2, 10, n), "u": np.arange(n) // 4, "s": np.arange(n) % 2})


# --- names ---


def test_a_name_holds_a_column_a_number_and_a_choice() -> None:
    found = find("expected_cost@fn=amount,fp=5").statistic.parameters
    assert (found["fn"], found["fp"], found["tp"]) == ("amount", 5, 0)
    assert find("cost_saved@versus=always").statistic.parameters["versus"] == "always"


@pytest.mark.parametrize("name", ["expected_cost@fn=amount,fp=5", "cost_saved@fn=amount,versus=always", "total_cost"])
def test_a_name_is_read_as_it_is_written(name: str) -> None:
    assert find(name).name == name
    assert find(find(name).name).statistic.identity == find(name).statistic.identity


def test_columns_of_costs_are_read_each_once() -> None:
    assert column_names(find("total_cost@fn=amount,fp=fee,tp=amount").statistic) == ("amount", "fee")
    assert column_names(find("cost_saved@versus=always").statistic) == ()


def test_a_choice_that_is_none_names_the_nearest() -> None:
    with pytest.raises(ek.EvalkitError, match=r'one of never, always, not "alway"\. Did you mean "always"'):
        find("cost_saved@versus=alway")


def test_text_for_a_number_is_refused() -> None:
    with pytest.raises(ek.EvalkitError, match='"cap" of expected_cost must be a number, not "much"'):
        find("expected_cost").bind(cap="much")


def test_a_column_that_reads_as_a_number_and_nan_are_refused() -> None:
    with pytest.raises(ek.EvalkitError, match='is the text "5": give the number'):
        find("expected_cost").bind(fn="5")
    with pytest.raises(ek.EvalkitError, match="must be a number, not NaN"):
        find("expected_cost@fn=nan")


@pytest.mark.parametrize("cost", [None, np.inf, True])
def test_a_cost_that_is_no_finite_number_is_refused(cost: Any) -> None:
    with pytest.raises(ek.EvalkitError, match="A cost must be a finite number or the name of a column"):
        ek.evaluate(many(), label="y", score="p", metrics=[find("expected_cost").bind(fn=cost)])


def test_a_cap_must_be_above_0() -> None:
    with pytest.raises(ek.EvalkitError, match="cap must be above 0"):
        fraud("expected_cost@cap=-1")


def test_a_missing_column_of_costs_names_the_nearest() -> None:
    with pytest.raises(ek.EvalkitError, match=r'"amuont".*Did you mean "amount"'):
        fraud("expected_cost@fn=amuont")


def test_missing_costs_are_refused() -> None:
    with pytest.raises(ek.EvalkitError, match='"amount" has 1 missing values'):
        fraud("expected_cost@fn=amount", data=FRAUD | {"amount": [50.0, None, 20.0, 30.0, 2.0]})
    with pytest.raises(ek.EvalkitError, match='"amount" has 1 NaN'):
        fraud("expected_cost@fn=amount", data=FRAUD | {"amount": [50.0, np.nan, 20.0, 30.0, 2.0]})


def test_a_saved_cost_comes_back_with_its_histogram(tmp_path: Path) -> None:
    result = fraud("roc_auc", "expected_cost@fn=amount,fp=5")
    result.save(tmp_path / "run")
    loaded = ek.load(tmp_path / "run")
    assert loaded.to_polars().equals(result.to_polars())
    assert list(loaded.evaluations[0].sums) == list(result.evaluations[0].sums)
    twice = (loaded + loaded)["expected_cost@fn=amount,fp=5"]
    assert twice.value == pytest.approx(result["expected_cost@fn=amount,fp=5"].value)


# --- decisions ---


def test_costs_of_columns_are_those_of_the_outcomes() -> None:
    result = fraud("total_cost@fn=amount,fp=5")
    assert result.value == pytest.approx(8.0 + 2.0 + 5.0)


def test_predictions_decide_where_there_are_any() -> None:
    assert fraud("total_cost@fn=amount,fp=5", prediction="call").value == pytest.approx(8.0 + 5.0)


def test_a_model_that_never_calls_saves_nothing() -> None:
    result = fraud("cost_saved@threshold=1", "value_per_positive@threshold=1", "normalized_cost@fn=1,fp=9,threshold=1")
    assert [result[name].value for name in result.metrics] == [0.0, 0.0, 1.0]


def test_what_is_saved_is_the_difference_of_two_costs() -> None:
    table = many()
    result = fraud(
        "expected_cost@fn=amount,fp=5",
        "expected_cost@fn=amount,fp=5,threshold=2",
        "expected_cost@fn=amount,fp=5,threshold=-1",
        "cost_saved@fn=amount,fp=5",
        "cost_saved@fn=amount,fp=5,versus=always",
        data=table,
    )
    cost, never, always, saved, saved_of_always = (result[name].value for name in result.metrics)
    assert saved == pytest.approx(never - cost)
    assert saved_of_always == pytest.approx(always - cost)


def test_bayes_decides_each_row_by_its_own_costs() -> None:
    by_hand = [50 * 0.9 >= 5 * 0.1, 8 * 0.2 >= 5 * 0.8, 20 * 0.6 >= 5 * 0.4, 30 * 0.1 >= 5 * 0.9, 2 * 0.4 >= 5 * 0.6]
    cost = sum(
        5 * (1 - y) if called else y * amount
        for y, amount, called in zip(FRAUD["y"], FRAUD["amount"], by_hand, strict=True)
    )
    assert fraud("total_cost@bayes=true,fn=amount,fp=5").value == pytest.approx(cost)


def test_bayes_with_constant_costs_is_their_threshold() -> None:
    table = many()
    result = fraud("expected_cost@bayes=true,fn=9", "expected_cost@fn=9,threshold=0.1", data=table)
    assert result[result.metrics[0]].value == result[result.metrics[1]].value


@pytest.mark.parametrize(
    ("costs", "decided"),
    [("fp=0,fn=0", None), ("fp=-1,fn=1", "always"), ("fp=1,fn=-1", "never"), ("fp=1,fn=0", "never")],
)
def test_bayes_needs_no_division(costs: str, decided: str | None) -> None:
    value = fraud(f"total_cost@bayes=true,{costs}").value
    cost = dict(part.split("=") for part in costs.split(","))
    expected = {None: 0.0, "always": 2 * float(cost["fp"]), "never": 3 * float(cost["fn"])}
    assert value == expected[decided]


def test_bayes_where_errors_pay_calls_low_scores() -> None:
    """With fp = fn = -1 a call of p pays if p <= 1 / 2: the positives at .2 and .4 are called, that at .9 missed."""
    assert fraud("total_cost@bayes=true,fn=-1,fp=-1").value == -1.0 - 1.0


def test_bayes_needs_probabilities_and_no_threshold() -> None:
    with pytest.raises(ek.EvalkitError, match="needs probabilities"):
        fraud("expected_cost@bayes=true", data=FRAUD | {"p": [3.0, -1.0, 0.0, 1.0, 2.0]})
    with pytest.raises(ek.EvalkitError, match="leave threshold out"):
        fraud("expected_cost@bayes=true,threshold=0.3")
    with pytest.raises(ek.EvalkitError, match="needs scores"):
        ek.evaluate(FRAUD, label="y", prediction="call", metrics=["expected_cost@bayes=true"])


def test_bayes_taken_back_decides_by_a_threshold_again() -> None:
    metric = find("expected_cost@bayes=true").bind(bayes=False)
    assert metric.statistic.needs == ("label", "decision")


# --- undefined ---


def test_costs_without_what_they_divide_by_are_undefined() -> None:
    negatives = {"y": [0, 0, 0], "p": [0.9, 0.2, 0.1]}
    names = ["expected_cost@prevalence=0.1", "cost_saved@prevalence=0.1", "normalized_cost", "value_per_positive"]
    values = fraud("expected_cost", *names, data=negatives)
    assert values["expected_cost"].value == pytest.approx(1 / 3)
    assert all(np.isnan(values[name].value) for name in names)


def test_a_prevalence_outside_0_and_1_is_refused() -> None:
    with pytest.raises(ek.EvalkitError, match="prevalence must lie between 0 and 1"):
        _ = fraud("expected_cost@prevalence=1.5").value


def test_the_value_of_a_positive_at_another_prevalence_is_the_saving_over_it() -> None:
    names = ("cost_saved@fn=amount,fp=5,prevalence=0.02", "value_per_positive@fn=amount,fp=5,prevalence=0.02")
    result = fraud(*names, data=many())
    saved, value = (result[name] for name in result.metrics)
    assert [value.value, value.low, value.high] == pytest.approx(
        [x / 0.02 for x in (saved.value, saved.low, saved.high)]
    )


def test_benefits_leave_the_normalized_cost_undefined() -> None:
    assert np.isnan(fraud("normalized_cost@tp=-20").value)


def test_the_samples_own_prevalence_changes_nothing() -> None:
    table = many()
    base = float(table["y"].to_numpy().mean())
    one, other = find("expected_cost").bind(fn="amount"), find("expected_cost").bind(fn="amount", prevalence=base)
    result = ek.evaluate(table, label="y", score="p", metrics=[one, other])
    assert result[result.metrics[0]].value == pytest.approx(result[result.metrics[1]].value)


# --- intervals and tails ---


def test_an_interval_of_the_total_is_the_means_times_the_rows() -> None:
    table = many()
    for roles in ({}, {"unit": "u"}):
        result = fraud("expected_cost@fn=amount,fp=5", "total_cost@fn=amount,fp=5", data=table, **roles)
        mean, total = (result[name] for name in result.metrics)
        ends = [total.low / table.height, total.high / table.height]
        assert ends == pytest.approx([mean.low, mean.high], rel=1e-9)


def test_a_heavy_tail_is_flagged_and_a_cap_offered() -> None:
    table = many().with_columns(amount=pl.Series(np.random.default_rng(1).lognormal(0, 3, 4000)))
    result = fraud("expected_cost@fn=amount,fp=5", "expected_cost@cap=20,fn=amount,fp=5", data=table).to_polars()
    assert result["approximate"].to_list() == [True, False]
    assert "heavy tail: the largest row is" in result["note"][0]
    assert result["note"][0].endswith("of the sum; see cap=")
    assert result["value"][1] < result["value"][0]


def test_slices_have_costs_of_their_own() -> None:
    table = many()
    result = ek.evaluate(table, label="y", score="p", metrics=["total_cost@fn=amount,fp=5"], slices=["s"])
    halves = [result.at(f"s={i}").value for i in (0, 1)]
    assert sum(halves) == pytest.approx(result.at("overall").value)


@pytest.mark.slow
def test_the_intervals_of_costs_cover() -> None:
    """1,000 replicates of 1,000 rows, a tenth of them errors; 95% less what 1,000 replicates may miss by chance."""
    rng = np.random.default_rng(0)
    n, replicates = 1000, 1000
    p = rng.beta(1, 3, n * replicates)
    y = (rng.random(len(p)) < p).astype(np.int64)
    table = pl.DataFrame({"y": y, "p": p, "a": rng.gamma(2, 5, len(p)), "r": np.arange(len(p)) // n})
    names = ["expected_cost@fn=a,fp=2", "cost_saved@fn=a,fp=2", "normalized_cost@fn=4", "value_per_positive@fn=a,fp=2"]
    result = ek.evaluate(table, label="y", score="p", metrics=names, slices=["r"], keep_rows=False)
    for name in names:
        true = result.at("overall")[name].value
        rows = result[name].to_polars().filter(pl.col("slice") != "overall")
        share = float(((rows["low"] <= true) & (rows["high"] >= true)).to_numpy().mean())
        assert 0.93 <= share <= 0.97, (name, share)


def test_the_catalog_says_that_costs_go_down_and_savings_up() -> None:
    better = {name: catalog()[name].better for name in NAMES}
    assert better == dict(zip(NAMES, ["higher", "lower", "lower", "lower", "higher"], strict=True))
