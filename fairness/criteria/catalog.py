"""Criteria of fairness by name: what each asks for, and which gaps of which metrics measure it.

>>> criterion("equalized_odds").metrics
('recall', 'false_positive_rate')
>>> print(criterion("equalized_odds").definition)
Decisions are independent of the group given the label: recall and false positive rate are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evalkit.errors import ConfigError, listing, nearest

Combined = Literal["gap", "largest gap", "ratio", "own"]


@dataclass(frozen=True)
class Criterion:
    """A criterion of fairness.

    Attributes:
        name: its name.
        definition: what it asks for, in one sentence.
        metrics: the metrics, by their names in the catalog, whose gaps between groups tell how far it is missed.
        combined: `gap` of one metric; `largest gap` of several; `ratio` of the lowest to the highest value; `own` where
            a module of its own computes it.
        home: that module.
        source: where it comes from.
    """

    name: str
    definition: str
    metrics: tuple[str, ...]
    combined: Combined
    source: str
    home: str = "evalkit.fairness.disparities"


_ROWS: tuple[tuple[str, tuple[str, ...], Combined, str, str], ...] = (
    (
        "demographic_parity",
        ("positive_prediction_rate",),
        "gap",
        "The share of rows that are selected is alike in all groups.",
        "Calders and Verwer (2010)",
    ),
    (
        "disparate_impact",
        ("positive_prediction_rate",),
        "ratio",
        "The lowest share selected is at least four fifths of the highest.",
        "Uniform Guidelines on Employee Selection Procedures (1978), 29 CFR 1607.4 D",
    ),
    (
        "equal_opportunity",
        ("recall",),
        "gap",
        "Positives are found equally often: recall is alike in all groups.",
        "Hardt, Price and Srebro (2016)",
    ),
    (
        "predictive_equality",
        ("false_positive_rate",),
        "gap",
        "Negatives are called positive equally often: the false positive rate is alike in all groups.",
        "Chouldechova (2017); Corbett-Davies et al. (2017)",
    ),
    (
        "equalized_odds",
        ("recall", "false_positive_rate"),
        "largest gap",
        "Decisions are independent of the group given the label: recall and false positive rate are alike.",
        "Hardt, Price and Srebro (2016)",
    ),
    (
        "predictive_parity",
        ("precision",),
        "gap",
        "A positive decision is right equally often: precision is alike in all groups.",
        "Chouldechova (2017)",
    ),
    (
        "false_discovery_parity",
        ("false_discovery_rate",),
        "gap",
        "A positive decision is wrong equally often: the false discovery rate is alike in all groups.",
        "Saleiro et al. (2018), Aequitas",
    ),
    (
        "false_omission_parity",
        ("false_omission_rate",),
        "gap",
        "A negative decision is wrong equally often: the false omission rate is alike in all groups.",
        "Saleiro et al. (2018), Aequitas",
    ),
    (
        "conditional_use_accuracy_equality",
        ("precision", "negative_predictive_value"),
        "largest gap",
        "Labels are independent of the group given the decision: both predictive values are alike in all groups.",
        "Berk et al. (2021)",
    ),
    (
        "overall_accuracy_equality",
        ("accuracy",),
        "gap",
        "The share decided rightly is alike in all groups.",
        "Berk et al. (2021)",
    ),
)
_OWN: tuple[tuple[str, tuple[str, ...], str, str, str], ...] = (
    (
        "treatment_equality",
        (),
        "The ratio of false negatives to false positives is alike in all groups.",
        "Berk et al. (2021)",
        "treatment_equality",
    ),
    (
        "average_odds",
        ("recall", "false_positive_rate"),
        "Half the sum of the signed differences of recall and false positive rate from a reference is 0.",
        "Bellamy et al. (2018), AI Fairness 360",
        "average_odds",
    ),
    (
        "balance_positive_class",
        (),
        "Positives have the same mean score in all groups.",
        "Kleinberg, Mullainathan and Raghavan (2016)",
        "balance",
    ),
    (
        "balance_negative_class",
        (),
        "Negatives have the same mean score in all groups.",
        "Kleinberg, Mullainathan and Raghavan (2016)",
        "balance",
    ),
    (
        "lift",
        (),
        "A group's mean score is that of the background once both have the same share of labels.",
        "TensorFlow Model Analysis, Lift",
        "lift",
    ),
    (
        "standardized_mean_difference",
        ("mean_score",),
        "The mean score is alike in all groups, measured in standard deviations.",
        "Cohen (1988), d",
        "effect_size",
    ),
    (
        "cohens_h",
        ("positive_prediction_rate",),
        "The share selected is alike in all groups, measured on the arcsine scale.",
        "Cohen (1988), h",
        "effect_size",
    ),
    (
        "conditional_demographic_disparity",
        (),
        "A group's share of those rejected is its share of those accepted, within each stratum.",
        "Wachter, Mittelstadt and Russell (2021); Amazon SageMaker Clarify",
        "conditional_disparity",
    ),
    (
        "differential_fairness",
        (),
        "No decision is more than e^epsilon times as likely in one group as in another.",
        "Foulds et al. (2020)",
        "differential",
    ),
    (
        "generalized_entropy",
        (),
        "Benefits, 1 + decision - label, are spread evenly over people.",
        "Speicher et al. (2018)",
        "inequality",
    ),
    (
        "consistency",
        (),
        "Rows that are alike are decided alike.",
        "Zemel et al. (2013)",
        "individual",
    ),
    (
        "counterfactual_flip_rate",
        (),
        "A decision does not change when a row's group, or what names it, is changed.",
        "TensorFlow Model Analysis, FlipRate",
        "individual",
    ),
    (
        "calibration_within_groups",
        (),
        "Of a group's rows with score s, a share s is positive.",
        "Kleinberg, Mullainathan and Raghavan (2016); Arrieta-Ibarra et al. (2022)",
        "calibration",
    ),
    (
        "multicalibration",
        (),
        "In every group and every bin of the score the mean label is the mean score.",
        "Hebert-Johnson et al. (2018)",
        "multicalibration",
    ),
    (
        "predictive_sufficiency",
        (),
        "Labels are independent of the group given the score.",
        "Barocas, Hardt and Narayanan (2023), Fairness and machine learning, sufficiency",
        "multicalibration",
    ),
)
CRITERIA: dict[str, Criterion] = {
    **{name: Criterion(name, text, metrics, how, source) for name, metrics, how, text, source in _ROWS},
    **{
        name: Criterion(name, text, metrics, "own", source, f"evalkit.fairness.criteria.{home}")
        for name, metrics, text, source, home in _OWN
    },
}
"""All criteria by name."""


def criterion(name: str) -> Criterion:
    """Returns a criterion by name.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in CRITERIA:
        raise ConfigError(f'No criterion "{name}".{nearest(name, CRITERIA)} Criteria: {listing(CRITERIA, 100)}.')
    return CRITERIA[name]
