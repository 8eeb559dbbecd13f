"""Every metric by name. To add one, write a function beside its statistic and name it here.

>>> import evalkit as ek
>>> ek.metrics.recall([1, 1, 0], [0.9, 0.2, 0.1])
0.5
>>> ek.metrics.find("precision@0.7").name
'precision@threshold=0.7'
"""

from evalkit.errors import ConfigError, listing, nearest
from evalkit.metric import Metric
from evalkit.metrics.calibration import brier_reliability as brier_reliability
from evalkit.metrics.calibration import brier_resolution as brier_resolution
from evalkit.metrics.calibration import brier_uncertainty as brier_uncertainty
from evalkit.metrics.calibration import calibration_intercept as calibration_intercept
from evalkit.metrics.calibration import calibration_p_value as calibration_p_value
from evalkit.metrics.calibration import calibration_slope as calibration_slope
from evalkit.metrics.calibration import cumulative_calibration_error as cumulative_calibration_error
from evalkit.metrics.calibration import expected_calibration_error as expected_calibration_error
from evalkit.metrics.calibration import maximum_calibration_error as maximum_calibration_error
from evalkit.metrics.column import count as count
from evalkit.metrics.column import mean as mean
from evalkit.metrics.column import total as total
from evalkit.metrics.confusion import accuracy as accuracy
from evalkit.metrics.confusion import balanced_accuracy as balanced_accuracy
from evalkit.metrics.confusion import cohen_kappa as cohen_kappa
from evalkit.metrics.confusion import diagnostic_odds_ratio as diagnostic_odds_ratio
from evalkit.metrics.confusion import f1 as f1
from evalkit.metrics.confusion import false_discovery_rate as false_discovery_rate
from evalkit.metrics.confusion import false_negative_rate as false_negative_rate
from evalkit.metrics.confusion import false_omission_rate as false_omission_rate
from evalkit.metrics.confusion import false_positive_rate as false_positive_rate
from evalkit.metrics.confusion import fbeta as fbeta
from evalkit.metrics.confusion import informedness as informedness
from evalkit.metrics.confusion import jaccard as jaccard
from evalkit.metrics.confusion import markedness as markedness
from evalkit.metrics.confusion import matthews_corrcoef as matthews_corrcoef
from evalkit.metrics.confusion import negative_likelihood_ratio as negative_likelihood_ratio
from evalkit.metrics.confusion import negative_predictive_value as negative_predictive_value
from evalkit.metrics.confusion import positive_likelihood_ratio as positive_likelihood_ratio
from evalkit.metrics.confusion import positive_prediction_rate as positive_prediction_rate
from evalkit.metrics.confusion import precision as precision
from evalkit.metrics.confusion import prevalence as prevalence
from evalkit.metrics.confusion import recall as recall
from evalkit.metrics.confusion import specificity as specificity
from evalkit.metrics.cost import cost_saved as cost_saved
from evalkit.metrics.cost import expected_cost as expected_cost
from evalkit.metrics.cost import normalized_cost as normalized_cost
from evalkit.metrics.cost import total_cost as total_cost
from evalkit.metrics.cost import value_per_positive as value_per_positive
from evalkit.metrics.deviance import mean_gamma_deviance as mean_gamma_deviance
from evalkit.metrics.deviance import mean_poisson_deviance as mean_poisson_deviance
from evalkit.metrics.deviance import mean_tweedie_deviance as mean_tweedie_deviance
from evalkit.metrics.errors import mae as mae
from evalkit.metrics.errors import mean_error as mean_error
from evalkit.metrics.errors import mse as mse
from evalkit.metrics.errors import rmse as rmse
from evalkit.metrics.huber import huber_loss as huber_loss
from evalkit.metrics.logarithmic import mean_squared_log_error as mean_squared_log_error
from evalkit.metrics.moments import explained_variance as explained_variance
from evalkit.metrics.moments import pearson_r as pearson_r
from evalkit.metrics.moments import r2 as r2
from evalkit.metrics.probability import brier_score as brier_score
from evalkit.metrics.probability import calibration_ratio as calibration_ratio
from evalkit.metrics.probability import log_loss as log_loss
from evalkit.metrics.probability import mean_score as mean_score
from evalkit.metrics.quantile import mean_pinball_loss as mean_pinball_loss
from evalkit.metrics.relative import mape as mape
from evalkit.metrics.relative import smape as smape
from evalkit.metrics.score_histogram import average_precision as average_precision
from evalkit.metrics.score_histogram import gini as gini
from evalkit.metrics.score_histogram import kolmogorov_smirnov as kolmogorov_smirnov
from evalkit.metrics.score_histogram import precision_at_recall as precision_at_recall
from evalkit.metrics.score_histogram import recall_at_precision as recall_at_precision
from evalkit.metrics.score_histogram import roc_auc as roc_auc
from evalkit.metrics.score_histogram import sensitivity_at_specificity as sensitivity_at_specificity
from evalkit.metrics.score_histogram import threshold_at_recall as threshold_at_recall


def catalog() -> dict[str, Metric]:
    """Returns every metric by its name, in alphabetical order."""
    return {name: value for name, value in sorted(globals().items()) if isinstance(value, Metric)}


def find(name: str) -> Metric:
    """Returns the metric of a name such as `f1`, `precision@0.7` or `fbeta@beta=2,threshold=0.3`.

    Raises:
        ConfigError: there is no such metric or parameter, or a value is not a number.
    """
    base, _, rest = name.strip().partition("@")
    found = catalog().get(base)
    if found is None:
        raise ConfigError(f'No metric "{base}".{nearest(base, catalog())} Metrics: {listing(catalog(), 100)}.')
    if not rest:
        return found
    parameters: dict[str, float | int | str | bool] = {}
    for part in rest.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            key, value = found.first_parameter or "", part
        if not key:
            raise ConfigError(f'"{base}" has no parameter for "@{rest}".')
        parameters[key.strip()] = _parse(value.strip(), key.strip(), name, found)
    return found.bind(**parameters)


def _parse(value: str, key: str, name: str, metric: Metric) -> float | int | str | bool:
    if key == "column":
        return value
    if value in ("true", "false"):
        return value == "true"
    try:
        return int(value) if value.lstrip("-").isdigit() else float(value)
    except ValueError:
        if key in metric.text_parameters():
            return value
        raise ConfigError(f'"{value}" in "{name}" is not a number.') from None
