"""What `evalkit demo` does: three models on real data, that of the RAND Health Insurance Experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.console import Format, out, progress, say, view
from evalkit.job import STEPS_OF_A_MODEL, can_report, require_free, require_report, tell_written
from evalkit.money import Costs

if TYPE_CHECKING:
    import polars as pl

    from evalkit.comparison import Comparison
    from evalkit.fairness.assessment import Assessment
    from evalkit.gates.verdict import Verdict

_MOST_LISTED = 3
FOLDER = "evalkit-demo"
MODELS = ("baseline", "candidate", "year_one")
SLICES = (
    "sex",
    "race",
    "age=edges(18, 35, 50)",
    "income=quantiles(4)",
    "site",
    ("sex", "race"),
    ("race", "income=quantiles(4)"),
)
QUESTION = (
    "Predicted: will a person's medical spending in the next year be above the 80th percentile of everybody's "
    "(130 to 150 dollars)?"
)
DATA = (
    "Data: the RAND Health Insurance Experiment of 1974 to 1982, a row for each person and year, of families that no "
    "model was trained on; intervals are clustered by family."
)
ABOUT = (
    "Models: baseline (demographics and health), candidate (and this year's use of care), "
    "year_one (overfitted to one year, worse)."
)
COSTS = Costs(fn=150, fp=40, currency="USD", unit="person and year")
ABOUT_COSTS = (
    "Costs, made up for the demo: 40 dollars for a call to somebody who would have spent little, 150 for a high "
    "spender who was not called."
)
PROTECTED = ("sex", "race", "income=quantiles(4)", ("sex", "race"), ("race", "income=quantiles(4)"))
AUDITED = (
    "positive_prediction_rate",
    "recall",
    "false_positive_rate",
    "precision",
    "accuracy",
    "roc_auc",
    "calibration_ratio",
)
WITHIN = 0.1
ABOUT_AUDIT = (
    "Who would be called, who would be missed and how often the candidate is wrong, by sex, race, income and their "
    "crosses. Gaps shown to be at most .1 are certified; intervals are clustered by family."
)
TWO_LABELS = "two-labels"
TITLE_OF_LABELS = "The same score, two labels"
ABOUT_LABELS = (
    "A score that predicts cost is often read as need. Here the candidate's score, cut into ten bins, is held against "
    "two labels: cost, the spending that it was trained for, and need, a physical limitation. Obermeyer, Powers, "
    "Vogeli and Mullainathan (2019) found Black patients to be sicker than White ones at the same score of a "
    "commercial model that predicted cost. Whether that holds in these data of the 1970s is what the differences over "
    "all bins say; where the limitation of a person was not recorded the row is left out."
)
RULES = """# The demo's gate; `evalkit gate evalkit-demo --config evalkit-demo/gate.yaml --candidate year_one` decides.
gate:
  rules:
    - metric: roc_auc           # on all rows the candidate must be shown to be no worse than the baseline
      delta: 0
    - metric: roc_auc           # and in no slice may it be shown to be worse
      slices: all
      delta: 0
    - metric: accuracy
      slices: all
      delta: 0
"""


def run(folder: str | None, *, overwrite: bool, report: bool | None, form: Format, quiet: bool) -> None:
    """Evaluates the demo's models, prints and writes the results.

    Args:
        folder: where to; None: `evalkit-demo`, which may be replaced if a demo wrote it.
        overwrite: whether another existing folder of results is replaced.
        report: whether report.html is written; None: where its extra is installed.
        form: how results are printed.
        quiet: whether progress and messages are left out.

    Raises:
        MissingExtra: the `demo` extra is not installed.
        OutputError: the folder may not be written.
    """
    target = Path(folder or FOLDER)
    overwrite = overwrite or (folder is None and _may_replace(target))
    require_free(target, overwrite=overwrite)
    require_report(report)
    say("\n".join((QUESTION, DATA, ABOUT, ABOUT_COSTS, "")), quiet=quiet)
    with progress(6 + STEPS_OF_A_MODEL * len(MODELS), quiet=quiet) as step:
        from evalkit.demo_models import scored_test

        step("training three models")
        rows = scored_test()
        comparison = _compared(rows, step)
        step("estimating intervals")
        shown = _view(comparison, form)
        step("deciding")
        verdicts = [_verdict(comparison, name) for name in comparison.candidates]
        step("comparing groups")
        audit, labels = _audited(comparison), _of_two_labels(rows)
        told = [*_told(audit), *_told_of_labels(labels)]
        step(f"writing {target}")
        _write(comparison, verdicts[0], (audit, labels), target, overwrite=overwrite, report=report)
    shown()
    if form is Format.table:
        _show(verdicts)
        out("\n" + "\n".join(told))
    tell_written(target, report=report, quiet=quiet)
    say(f"Decide yourself: evalkit gate {target} --config {target / 'gate.yaml'} --candidate year_one", quiet=quiet)
    best = target / ("report.html" if can_report() and report is not False else "metrics.json")
    say(f"Open {best} to see everything.", quiet=quiet)


def _view(comparison: Comparison, form: Format) -> Callable[[], None]:
    """Returns what prints the models' results, and how they differ; as JSON the comparison alone."""
    from evalkit.compare_view import view as of_comparison

    if form is Format.json:
        return of_comparison(comparison, form)
    each, differences = view(comparison.result, form), of_comparison(comparison, form)

    def show() -> None:
        each()
        out(f"\nAgainst {comparison.baseline}:")
        differences()

    return show


def _verdict(comparison: Comparison, candidate: str) -> Verdict:
    import yaml

    from evalkit.gate import gate

    return gate(comparison, yaml.safe_load(RULES), candidate=candidate)


def _show(verdicts: Sequence[Verdict]) -> None:
    from evalkit.gates import text

    for verdict in verdicts:
        out("")
        text.show(verdict, most=_MOST_LISTED)


def _audited(comparison: Comparison) -> Assessment:
    """Returns the assessment of the candidate's fairness."""
    from evalkit.fairness.assessment import assess_result
    from evalkit.results import Result

    [candidate] = [e for e in comparison.result.evaluations if e.model == MODELS[1]]
    return assess_result(
        Result([candidate]), protected=PROTECTED, metrics=AUDITED, within=WITHIN, title="Fairness", about=ABOUT_AUDIT
    )


def _of_two_labels(rows: pl.DataFrame) -> Assessment:
    """Returns the candidate's score held against two labels, by race within bins of the score."""
    from evalkit.fairness.assessment import assess

    found = assess(
        rows,
        labels={"cost": "label", "need": "need"},
        score=MODELS[1],
        protected=["race"],
        control=[f"{MODELS[1]}=quantiles(10)"],
        metrics=["prevalence"],
        unit="family",
        id="row_id",
        drop_invalid=True,
        criteria=False,
    )
    return replace(found, title=TITLE_OF_LABELS, about=ABOUT_LABELS)


def _told(audit: Assessment) -> list[str]:
    """Returns what the audit found, in a few sentences; the report and fairness.md hold all of it."""
    from evalkit.fairness.sentences import too_few

    gaps = audit.gaps
    flagged, certified = int(gaps["flagged"].sum()), int(gaps["certified"].sum())
    first = (
        f"Groups of {MODELS[1]}: of {gaps.height} gaps in {len(AUDITED)} metrics {flagged} are flagged and {certified} "
        f"certified to be at most {WITHIN:g}, each at {audit.asked.level:.0%}. {too_few(gaps)}"
    )
    return [first, *audit.findings()[:_MOST_LISTED]]


def _told_of_labels(labels: Assessment) -> list[str]:
    """Returns the difference of groups at the same score, by label."""
    averages = labels.conditional
    if averages is None:
        return []
    return [
        f"At the same score, {row['model']}: {row['slice']} has the label {row['delta']:+.3f} more often than "
        f"{row['reference']} [{row['low']:+.3f}, {row['high']:+.3f}], p = {row['p_value']:.2g}."
        for row in averages.iter_rows(named=True)
    ]


def _write(
    comparison: Comparison,
    verdict: Verdict,
    assessments: tuple[Assessment, Assessment],
    target: Path,
    *,
    overwrite: bool,
    report: bool | None,
) -> None:
    from evalkit.storage import save

    audit, labels = assessments

    save(
        comparison.result,
        target,
        overwrite=overwrite,
        report=report,
        extra={"command": "demo"},
        comparison=comparison,
        verdict=verdict,
        assessment=audit,
        also={TWO_LABELS: labels},
        texts={"gate.yaml": RULES},
    )


def _may_replace(target: Path) -> bool:
    """Returns whether the default folder is there, and evalkit's own; refuses what somebody else put there."""
    if not target.exists():
        return False
    from evalkit.storage import require_own

    require_own(target)
    return True


def _compared(rows: pl.DataFrame, step: Callable[[str], None]) -> Comparison:
    from evalkit.compare import compare

    baseline, *candidates = MODELS
    return compare(
        rows,
        label="label",
        baseline=baseline,
        candidate=candidates,
        unit="family",
        id="row_id",
        slices=SLICES,
        costs=COSTS,
        progress=step,
    )
