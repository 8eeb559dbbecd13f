"""Evaluate models on every slice of the data, with intervals: a metric is a function of sums over rows.

Every public name is listed here and imported on first use, so that `import evalkit` itself takes no time.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit import fairness as fairness
    from evalkit import metrics as metrics
    from evalkit.compare import compare as compare
    from evalkit.comparison import Comparison as Comparison
    from evalkit.errors import EvalkitError as EvalkitError
    from evalkit.evaluate import evaluate as evaluate
    from evalkit.explain import explain as explain
    from evalkit.gate import gate as gate
    from evalkit.gates.verdict import Verdict as Verdict
    from evalkit.interval import bootstrap as bootstrap
    from evalkit.metric import Metric as Metric
    from evalkit.metric import metric as metric
    from evalkit.metric import ratio as ratio
    from evalkit.money import Costs as Costs
    from evalkit.results import Result as Result
    from evalkit.results import load as load
    from evalkit.slicing.spec import by as by
    from evalkit.slicing.spec import where as where
    from evalkit.statistic import Statistic as Statistic
    from evalkit.statistic import cells as cells
    from evalkit.statistic import statistic as statistic

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "Costs",
    "EvalkitError",
    "Metric",
    "Result",
    "Statistic",
    "Verdict",
    "__version__",
    "bootstrap",
    "by",
    "cells",
    "compare",
    "evaluate",
    "explain",
    "fairness",
    "gate",
    "load",
    "metric",
    "metrics",
    "ratio",
    "statistic",
    "where",
]

_MODULES = {
    "Comparison": "evalkit.comparison",
    "Costs": "evalkit.money",
    "EvalkitError": "evalkit.errors",
    "Metric": "evalkit.metric",
    "Result": "evalkit.results",
    "Statistic": "evalkit.statistic",
    "Verdict": "evalkit.gates.verdict",
    "bootstrap": "evalkit.interval",
    "by": "evalkit.slicing.spec",
    "cells": "evalkit.statistic",
    "compare": "evalkit.compare",
    "evaluate": "evalkit.evaluate",
    "explain": "evalkit.explain",
    "gate": "evalkit.gate",
    "load": "evalkit.results",
    "metric": "evalkit.metric",
    "ratio": "evalkit.metric",
    "statistic": "evalkit.statistic",
    "where": "evalkit.slicing.spec",
}


class _Package(ModuleType):
    """The package, in which `evaluate`, `metric` and `statistic` are always the functions, never their modules."""

    def __setattr__(self, name: str, value: object) -> None:
        # Importing evalkit.metric makes Python set the module as an attribute here, where the function belongs.
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

if not TYPE_CHECKING:  # hidden, so that the type checkers report a name that is not there

    def __getattr__(name: str) -> Any:
        if name in ("fairness", "metrics"):
            return import_module(f"evalkit.{name}")
        if name not in _MODULES:
            raise AttributeError(f"module 'evalkit' has no attribute {name!r}")
        value = getattr(import_module(_MODULES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
