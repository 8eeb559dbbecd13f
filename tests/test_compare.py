"""What `ek.compare` answers, held against evaluations of each model, against brute force and against laws."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy import stats

import evalkit as ek
from evalkit.adjust import holm
from evalkit.comparison import Comparison
from evalkit.errors import UsageError
from evalkit.significance import mcnemar

METRICS = ["accuracy", "recall", "precision", "f1", "balanced_accuracy", "matthews_corrcoef", "roc_auc", "log_loss"]
Flags = NDArray[np.bool_]


def table(n: int = 300, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(np.int64)
    old, new = np.clip(0.3 + 0.3 * y + rng.normal(0, 0.25, (2, n)), 0.01, 0.99).round(2)
    new = np.where(rng.random(n) < 0.5, old, new)
    return pl.DataFrame(
        {
            "id": rng.permutation(n) + 1000,
            "y": y,
            "old": old,
            "new": new,
            "third": np.clip(new + rng.normal(0, 0.05, n), 0.01, 0.99).round(2),
            "w": rng.choice([0.5, 1.0, 2.0], n),
            "u": rng.integers(0, 40, n),
            "sex": pl.Series([["f", "m", None][code] for code in rng.choice(3, n, p=[0.5, 0.4, 0.1])]),
            "age": rng.integers(18, 80, n),
            "tags": pl.Series(
                [[["a"], ["a", "b"], []][code] for code in rng.integers(0, 3, n)], dtype=pl.List(pl.String)
            ),
        }
    )


FRAME = table()


def compared(frame: Any = FRAME, candidate: Any = "new", baseline: Any = "old", **more: Any) -> Comparison:
    return ek.compare(frame, **{"label": "y", "baseline": baseline, "candidate": candidate, "metrics": METRICS, **more})


NUMBERS = [
    "baseline",
    "candidate",
    "delta",
    "delta_low",
    "delta_high",
    "p_value",
    "p_adjusted",
    "q_value",
    "delta_shrunk",
]


def assert_same(left: Comparison, right: Comparison, *, tolerance: float = 1e-9) -> None:
    """Raises unless two comparisons have the same slices, metrics and numbers."""
    mine, theirs = left.to_polars(), right.to_polars()
    assert mine.select("slice", "metric", "status", "delta_method").equals(
        theirs.select("slice", "metric", "status", "delta_method")
    )
    for column in NUMBERS:
        np.testing.assert_allclose(
            mine[column].to_numpy(), theirs[column].to_numpy(), rtol=tolerance, atol=tolerance, err_msg=column
        )


# --- oracles ---


@pytest.mark.parametrize("roles", [{}, {"weight": "w"}, {"unit": "u"}, {"weight": "w", "unit": "u"}])
def test_a_delta_is_the_difference_of_two_evaluations(roles: dict[str, str]) -> None:
    made = compared(slices=["sex"], **roles).to_polars()
    alone = [
        ek.evaluate(FRAME, label="y", score=s, metrics=METRICS, slices=["sex"], **roles).to_polars()["value"].to_numpy()  # type: ignore[arg-type]
        for s in ("old", "new")
    ]
    np.testing.assert_array_equal(made["baseline"].to_numpy(), alone[0])
    np.testing.assert_array_equal(made["candidate"].to_numpy(), alone[1])
    np.testing.assert_allclose(made["delta"].to_numpy(), alone[1] - alone[0], atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_every_default_kind_of_metric_has_a_test(metric: str) -> None:
    row = compared()[metric]
    assert row["status"] == "ok"
    assert row["delta_low"] < row["delta"] < row["delta_high"]
    assert 0 < row["p_value"] <= 1


def test_metrics_that_do_not_depend_on_the_model_have_no_test() -> None:
    for name in ("prevalence", "count"):
        row = compared(metrics=[name])[name]
        assert (row["delta"], row["delta_method"]) == (0.0, "none")
        assert "does not depend on the model" in row["note"]


def test_accuracy_is_tested_by_the_rows_that_one_model_has_right() -> None:
    right = {s: (FRAME[s].to_numpy() >= 0.5) == (FRAME["y"].to_numpy() == 1) for s in ("old", "new")}
    lost, gained = int((right["old"] & ~right["new"]).sum()), int((~right["old"] & right["new"]).sum())
    row = compared()["accuracy"]
    expected = max(mcnemar(lost, gained).p_value, mcnemar(lost, gained, method="asymptotic").p_value)
    assert row["changed"] == lost + gained
    assert row["delta"] == pytest.approx((gained - lost) / FRAME.height)
    assert row["p_value"] == pytest.approx(expected)


# --- laws ---


@pytest.mark.parametrize("roles", [{}, {"weight": "w"}, {"unit": "u"}])
def test_swapping_the_models_negates_the_delta_and_swaps_the_ends(roles: dict[str, str]) -> None:
    ours = compared(slices=["sex"], **roles).to_polars()
    back = compared(slices=["sex"], candidate="old", baseline="new", **roles).to_polars()
    for mine, other in (("delta", "delta"), ("delta_low", "delta_high"), ("delta_high", "delta_low")):
        np.testing.assert_allclose(ours[mine].to_numpy(), -back[other].to_numpy(), atol=1e-9, err_msg=mine)
    np.testing.assert_allclose(ours["p_value"].to_numpy(), back["p_value"].to_numpy(), atol=1e-9)


@pytest.mark.parametrize("roles", [{}, {"weight": "w"}])
def test_a_slice_is_what_filtering_first_gives(roles: dict[str, str]) -> None:
    ours = compared(slices=["sex"], **roles).to_polars()
    for value, text in (("f", "sex=f"), (None, "sex=null")):
        alone = compared(FRAME.filter(pl.col("sex").eq_missing(value)), **roles).to_polars()
        mine = ours.filter(pl.col("slice") == text)
        for column in ("delta", "delta_low", "delta_high", "p_value"):
            np.testing.assert_allclose(mine[column].to_numpy(), alone[column].to_numpy(), atol=1e-9, err_msg=text)


def test_the_order_of_rows_does_not_matter() -> None:
    shuffled = FRAME.sample(fraction=1, shuffle=True, seed=3)
    assert_same(compared(shuffled, slices=["sex", "tags"]), compared(slices=["sex", "tags"]))


SLICES: list[Any] = [
    "sex",
    "tags",
    ek.by("age", edges=[30, 50]),
    ["sex", "tags"],
    ek.where("young", pl.col("age") < 30),
    ek.by("sex", values=["f", "m"]),
]


def save(frame: pl.DataFrame, score: str, folder: Path, **more: Any) -> Path:
    result = ek.evaluate(frame, label="y", score=score, id="id", metrics=METRICS, slices=SLICES, **more)
    result.save(folder)
    return folder


@pytest.mark.parametrize("roles", [{}, {"weight": "w"}, {"unit": "u"}])
def test_two_saved_runs_of_shuffled_rows_compare_as_one_table(tmp_path: Path, roles: dict[str, str]) -> None:
    old = save(FRAME.sample(fraction=1, shuffle=True, seed=4), "old", tmp_path / "old", **roles)
    new = save(FRAME, "new", tmp_path / "new", **roles)
    found = ek.compare(new, baseline=old)
    assert found.pairs[0].how == "rows"
    assert not found.notes
    assert_same(found, compared(slices=SLICES, id="id", **roles))
    assert found.flips().equals(compared(slices=SLICES, id="id", **roles).flips())


def test_one_saved_result_of_two_models_compares_as_their_table(tmp_path: Path) -> None:
    both = compared(slices=SLICES, id="id")
    both.save(tmp_path / "both")
    assert_same(ek.compare(tmp_path / "both", baseline="old", candidate="new"), both)


def test_two_tables_are_joined_by_id_and_unmatched_rows_are_counted_and_named() -> None:
    mine, theirs = FRAME.drop("old").head(280), FRAME.select("id", "y", "old").tail(290)
    found = compared(mine, baseline_data=theirs.sample(fraction=1, shuffle=True, seed=1), id="id")
    assert_same(found, compared(FRAME[10:280], id="id"))
    ids = FRAME["id"].to_list()
    alone = {"10 rows only in the candidate's table": ids[:10], "20 rows only in the baseline's table": ids[280:]}
    for says, held in alone.items():
        note = next(note for note in found.notes if note.startswith(says))
        named = note.partition(": ")[2].rstrip(".").split(", ")[:5]
        assert len(named) == 5
        assert {int(name) for name in named} <= set(held)


# --- the same model, constant baselines, several candidates ---


def test_one_model_under_two_names_is_refused() -> None:
    with pytest.raises(UsageError, match="one model under two names"):
        compared(FRAME.with_columns(copy=pl.col("old")), candidate="copy")


@pytest.mark.parametrize("roles", [{}, {"weight": "w"}, {"unit": "u"}])
def test_a_model_against_itself_never_differs(roles: dict[str, str]) -> None:
    frame = FRAME.with_columns(copy=pl.col("old"))
    found = compared(frame, candidate="copy", same_model=True, slices=["sex"], **roles)
    deltas = found.to_polars()
    assert (deltas["delta"] == 0).all()
    p = deltas["p_value"].to_numpy()
    assert (np.isnan(p) | (p == 1)).all()
    assert found.moved_against().is_empty()
    assert found.flips()["changed"].sum() == 0


@pytest.mark.parametrize(
    "label",
    [
        pl.col("y"),
        pl.col("y") == 1,
        pl.when(pl.col("y") == 1).then(pl.lit("yes")).otherwise(pl.lit("no")),
    ],
)
@pytest.mark.parametrize("kind", ["prior", "majority"])
def test_a_constant_baseline_is_the_share_of_positives_or_the_majority(label: pl.Expr, kind: str) -> None:
    frame = FRAME.with_columns(y=label)
    text = frame["y"].dtype == pl.String
    found = compared(frame, baseline=kind, metrics=["accuracy"], positive="yes" if text else None)
    assert found["accuracy"]["baseline"] == pytest.approx(1 - FRAME["y"].to_numpy().mean())
    assert found.baseline == kind


def test_the_prior_is_the_weighted_share_and_its_log_loss_the_entropy() -> None:
    p = float(np.average(FRAME["y"], weights=FRAME["w"]))
    found = compared(baseline="prior", weight="w", metrics=["log_loss", "roc_auc"])
    assert found["log_loss"]["baseline"] == pytest.approx(-p * np.log(p) - (1 - p) * np.log(1 - p))
    assert found["roc_auc"]["baseline"] == 0.5


def test_the_prior_of_numbers_is_their_mean() -> None:
    frame = pl.DataFrame({"y": [1.5, 2.5, 8.0, 4.0], "p": [1.0, 3.0, 7.0, 4.5]})
    found = ek.compare(frame, label="y", baseline="prior", candidate="p", metrics=["mse", "r2"])
    assert found["mse"]["baseline"] == pytest.approx(np.var(frame["y"].to_numpy()))
    assert found["r2"]["baseline"] == pytest.approx(0.0)


def test_several_candidates_are_adjusted_together() -> None:
    found = compared(candidate=["new", "third"], metrics=["accuracy", "roc_auc"], slices=["sex"]).to_polars()
    overall = found.filter(pl.col("slice") == "overall")
    assert overall.height == 4
    np.testing.assert_allclose(overall["p_adjusted"].to_numpy(), holm(overall["p_value"].to_numpy()))
    p = np.sort(overall["p_value"].to_numpy())
    by_hand = np.minimum(1, np.maximum.accumulate(p * np.array([4, 3, 2, 1])))
    np.testing.assert_allclose(np.sort(overall["p_adjusted"].to_numpy()), by_hand)


# --- margins ---


def test_margins_give_the_p_values_of_their_formulas() -> None:
    margin = 0.03
    found = compared(margin=margin, metrics=["roc_auc", "log_loss"])
    for name, better in (("roc_auc", 1), ("log_loss", -1)):
        row, delta = found[name], found.deltas()[name]
        error, degrees = np.sqrt(delta.variance[0]), delta.contrast.degrees[0]
        worse = stats.t.sf((better * row["delta"] + margin) / error, degrees)
        other = stats.t.sf((margin - better * row["delta"]) / error, degrees)
        assert row["margin"] == margin
        assert row["p_noninferior"] == pytest.approx(worse)
        assert row["p_equivalent"] == pytest.approx(max(worse, other))


def test_a_relative_margin_allows_for_the_baselines_own_variance() -> None:
    found = compared(margin={"log_loss": 0.1}, margin_kind="relative", metrics=["log_loss", "roc_auc"])
    delta = found.deltas()["log_loss"]
    d, c = float(delta.contrast.value[0]), float(delta.baseline.value[0])
    of_d, of_c, of_m = (float(v[0]) for v in (delta.variance, delta.baseline.variance, delta.candidate.variance))
    k = 1.1  # not worse by a tenth: candidate - 1.1 baseline is below 0
    error = np.sqrt(of_m + k**2 * of_c - k * (of_m + of_c - of_d))
    expected = stats.t.sf(-(d - 0.1 * c) / error, delta.contrast.degrees[0])
    assert found["log_loss"]["p_noninferior"] == pytest.approx(expected)
    assert np.isnan(found["roc_auc"]["p_noninferior"])


# --- invalid rows, small slices, models ---


def test_rows_invalid_for_any_model_are_dropped_for_all() -> None:
    frame = FRAME.with_columns(
        old=pl.when(pl.int_range(pl.len()) < 5).then(None).otherwise(pl.col("old")),
        new=pl.when(pl.int_range(pl.len()).is_between(3, 9)).then(float("nan")).otherwise(pl.col("new")),
    )
    with pytest.raises(UsageError, match="drop_invalid"):
        compared(frame)
    found = compared(frame, drop_invalid=True)
    assert "10 rows were dropped as invalid." in found.notes
    assert_same(found, compared(FRAME[10:]))


def test_suppressed_slices_leave_nothing_behind(tmp_path: Path) -> None:
    frame = FRAME.with_columns(
        site=pl.when(pl.int_range(pl.len()) < 4)
        .then(pl.lit("tiny"))
        .otherwise(pl.lit("site") + (pl.col("u") % 3).cast(pl.String))
    )
    found = compared(frame, slices=["site"], suppress_below=20, id="id")
    hidden = found.to_polars().filter(pl.col("status") == "suppressed")
    assert "site=tiny" in hidden["slice"].to_list()
    for column in ("delta", "baseline", "candidate", "p_value", "changed"):
        assert hidden[column].fill_nan(None).null_count() == hidden.height, column
    assert "site=tiny" not in found.flips()["slice"].to_list()
    folder = found.save(tmp_path / "run")
    assert not (folder / "rows.parquet").exists()
    assert not (folder / "flipped_rows.parquet").exists()
    saved = pl.read_parquet(folder / "deltas.parquet").filter(pl.col("slice") == "site=tiny")
    assert saved["delta"].fill_nan(None).null_count() == saved.height


def test_rows_of_suppressed_slices_are_not_shown_as_flipped() -> None:
    frame = FRAME.with_columns(site=pl.when(pl.int_range(pl.len()) < 4).then(pl.lit("tiny")).otherwise(pl.col("sex")))
    found = compared(frame, slices=["site"], suppress_below=20, id="id")
    with pytest.raises(UsageError, match="suppress"):
        found.flipped_rows()


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_models_are_compared_on_the_columns_they_read(library: str) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    frame: Any = FRAME.select("y", "age", "third", "sex")
    frame = frame.to_pandas() if library == "pandas" else frame
    features = ["age", "third"]
    x, y = frame[features], FRAME["y"].to_numpy()
    old, new = linear.LogisticRegression(C=1e-4).fit(x, y), linear.LogisticRegression().fit(x, y)
    scored = FRAME.with_columns(old=pl.Series(old.predict_proba(x)[:, 1]), new=pl.Series(new.predict_proba(x)[:, 1]))
    found = compared(frame, {"new": new}, old, features=features, slices=["sex"])
    np.testing.assert_allclose(
        found.to_polars()["delta"].to_numpy(), compared(scored, slices=["sex"]).to_polars()["delta"].to_numpy()
    )


# --- flips ---


def test_flips_are_counted_as_by_brute_force() -> None:
    found = compared(slices=["sex", "tags"], metrics=["accuracy"])
    places = {"overall": np.ones(FRAME.height, dtype=bool)}
    places |= {f"sex={'null' if v is None else v}": FRAME["sex"].eq_missing(v).to_numpy() for v in ("f", "m", None)}
    places |= {f"tags={v}": FRAME["tags"].list.contains(v).to_numpy() for v in ("a", "b")}
    label, old, new = (FRAME["y"].to_numpy() == 1, *(FRAME[s].to_numpy() >= 0.5 for s in ("old", "new")))
    rows = {row["slice"]: row for row in found.flips().iter_rows(named=True)}
    for text, place in places.items():
        changed = place & (old != new)
        expected = {
            "rows": place.sum(),
            "changed": changed.sum(),
            "fixed": (changed & (new == label)).sum(),
            "broken": (changed & (old == label)).sum(),
            "to_positive": (changed & new).sum(),
            "to_negative": (changed & old).sum(),
        }
        assert {key: rows[text][key] for key in expected} == expected, text
        assert rows[text]["churn"] == pytest.approx(changed.sum() / place.sum())


def test_flipped_rows_are_the_broken_ones_first_and_then_by_how_far_scores_moved() -> None:
    found = compared(metrics=["accuracy"], slices=["sex"], id="id").flipped_rows(n=None)
    old, new = (FRAME[s].to_numpy() >= 0.5 for s in ("old", "new"))
    assert sorted(found["id"].to_list()) == sorted(FRAME["id"].to_numpy()[old != new].tolist())
    broken = (found["kind"] == "broken").to_numpy()
    assert not (broken[1:] & ~broken[:-1]).any()
    moved = (found["candidate_score"] - found["baseline_score"]).abs().to_numpy()
    for kind in (broken, ~broken):
        assert (np.diff(moved[kind]) <= 0).all()
    joined = found.join(FRAME, on="id", how="left", maintain_order="left")
    assert found["slice:sex"].to_list() == joined["sex"].to_list()
    assert found["label"].to_list() == joined["y"].to_list()
    assert compared(metrics=["accuracy"]).flipped_rows(n=3).height == 3


def test_flips_at_another_threshold() -> None:
    old, new = (FRAME[s].to_numpy() >= 0.7 for s in ("old", "new"))
    assert compared(metrics=["accuracy"]).flips(threshold=0.7)["changed"][0] == (old != new).sum()


# --- where it moved ---


def test_a_slice_that_moves_against_the_whole_is_named_and_noise_is_not() -> None:
    rng = np.random.default_rng(5)
    n = 6000
    y, g = rng.integers(0, 2, n), rng.integers(0, 10, n)
    right = np.where(g == 3, 0.6, 0.85)
    old, new = (np.where(rng.random(n) < share, y, 1 - y) for share in (np.full(n, 0.75), right))
    frame = {"y": y, "old": old, "new": new, "g": g}
    found = ek.compare(frame, label="y", baseline="old", candidate="new", metrics=["accuracy"], slices=["g"])
    assert found.moved_against()["slice"].to_list() == ["g=3"]
    assert found.heterogeneity()["p_value"][0] < 1e-6
    shrunk = found.to_polars().filter(pl.col("slice") != "overall")
    spread = [float(np.ptp(shrunk[column].to_numpy())) for column in ("delta_shrunk", "delta")]
    assert spread[0] < spread[1]


# --- errors ---


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"candidate": "nwe"}, 'No column "nwe".*Did you mean "new"'),
        ({"baseline": "odl"}, 'No column "odl".*Did you mean "old"'),
        ({"candidate": None}, "Name the candidate"),
        ({"candidate": ["new", "new"]}, "Two candidates have one name"),
        ({"metrics": ["acuracy"]}, 'No metric "acuracy"'),
        ({"margin": -0.1}, "A margin is a number of at least 0"),
        ({"margin": 0.1, "margin_kind": "relativ"}, "margin_kind must be"),
        ({"margin": {"acuracy": 0.1}}, 'No metric "acuracy"'),
        ({"output": "scores"}, "output must be"),
        ({"baseline": "majority", "metrics": ["roc_auc"]}, "none of the metrics is of decisions"),
        ({"baseline_data": FRAME}, "matched by id"),
        ({"baseline_data": FRAME.with_columns(id=pl.col("id") // 2), "id": "id"}, "ids more than once"),
        ({"baseline_data": FRAME.with_columns(id=pl.col("id") + 5000), "id": "id"}, "No id of"),
        ({"baseline_data": FRAME.with_columns(id=pl.col("id").cast(pl.String)), "id": "id"}, "make them alike"),
        ({"baseline_data": FRAME.with_columns(y=1 - pl.col("y")), "id": "id"}, "differs between the tables in 300 of"),
        ({"data": FRAME.with_columns(prior=pl.col("old")), "baseline": "prior"}, "also the name of a constant model"),
    ],
)
def test_what_is_wrong_with_a_call_is_said_in_one_sentence(call: dict[str, Any], says: str) -> None:
    given = {"frame": FRAME, **call}
    given["frame"] = given.pop("data", given["frame"])
    with pytest.raises(UsageError, match=says) as raised:
        compared(**given)
    assert "\n" not in str(raised.value)


def test_what_is_asked_of_a_comparison_must_be_there() -> None:
    found = compared(candidate=["new", "third"], metrics=["accuracy"], slices=["sex"])
    for ask, says in (
        (lambda: found.pair("nwe"), 'No candidate "nwe"'),
        (found.pair, "Name one of several"),
        (lambda: found.row("f1", candidate="new"), 'No metric "f1"'),
        (lambda: found.row("accuracy", "sex=x", "new"), 'No slice "sex=x"'),
    ):
        with pytest.raises(UsageError, match=says):
            ask()


def test_results_are_compared_as_they_were_evaluated() -> None:
    result = ek.evaluate(FRAME, label="y", score="old", metrics=["accuracy"])
    with pytest.raises(UsageError, match="leave out label"):
        ek.compare(result, baseline=result, label="y")
    with pytest.raises(UsageError, match='No model "odl"'):
        ek.compare(result, baseline="odl")
    with pytest.raises(UsageError, match="no candidate besides the baseline"):
        ek.compare(result, baseline="old")


def test_a_folder_is_gated_against_the_baseline_it_was_compared_with(tmp_path: Path) -> None:
    comparison = compared(metrics=["accuracy", "roc_auc"], id="id")
    comparison.save(tmp_path / "run")
    rules = [{"metric": "roc_auc", "delta": -0.5}]
    assert ek.gate(tmp_path / "run", rules).baseline == comparison.baseline


def test_a_baseline_keeps_the_name_that_it_is_given() -> None:
    found = ek.compare(
        FRAME, label="y", baseline={"champion": "old"}, candidate={"challenger": "new"}, metrics=["roc_auc"]
    )
    assert (found.baseline, found.candidates) == ("champion", ["challenger"])


def test_a_metric_of_cost_is_found_without_its_amounts() -> None:
    found = ek.compare(FRAME, label="y", baseline="old", candidate="new", metrics=["accuracy"], costs=ek.Costs(fn=3))
    assert found["expected_cost"]["metric"] == "expected_cost@fn=3"
