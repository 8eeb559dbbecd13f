"""Rates of groups, called as fairlearn's: `(y_true, y_pred, sample_weight=None, ...)` to one number.

Undefined is NaN: a true positive rate without positives, which fairlearn calls 0.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from evalkit.errors import DataError
from evalkit.fairness.frames.grouped import Cells, group_values, readings
from evalkit.fairness.frames.known import known


def true_positive_rate(y_true: Any, y_pred: Any, sample_weight: Any = None, pos_label: Any = None) -> float:
    """Share of positives that are predicted positive: recall.

    Args:
        y_true: [rows] labels.
        y_pred: [rows] predicted labels.
        sample_weight: [rows] weights.
        pos_label: the positive label; None: 1, of labels 0 and 1, or -1 and 1.

    Source: fairlearn.

    >>> true_positive_rate([0, 1, 1], [1, 1, 0])
    0.5
    """
    return _rate(true_positive_rate, y_true, y_pred, sample_weight, pos_label=pos_label)


def true_negative_rate(y_true: Any, y_pred: Any, sample_weight: Any = None, pos_label: Any = None) -> float:
    """Share of negatives that are predicted negative; see `true_positive_rate`. Source: fairlearn.

    >>> true_negative_rate([0, 0, 1], [1, 0, 0])
    0.5
    """
    return _rate(true_negative_rate, y_true, y_pred, sample_weight, pos_label=pos_label)


def false_positive_rate(y_true: Any, y_pred: Any, sample_weight: Any = None, pos_label: Any = None) -> float:
    """Share of negatives that are predicted positive; see `true_positive_rate`. Source: fairlearn.

    >>> false_positive_rate([0, 0, 0, 0, 1], [1, 0, 0, 0, 0])
    0.25
    """
    return _rate(false_positive_rate, y_true, y_pred, sample_weight, pos_label=pos_label)


def false_negative_rate(y_true: Any, y_pred: Any, sample_weight: Any = None, pos_label: Any = None) -> float:
    """Share of positives that are predicted negative; see `true_positive_rate`. Source: fairlearn.

    >>> false_negative_rate([1, 1, 1, 1, 0], [1, 0, 0, 0, 0])
    0.75
    """
    return _rate(false_negative_rate, y_true, y_pred, sample_weight, pos_label=pos_label)


def selection_rate(y_true: Any, y_pred: Any, *, pos_label: Any = 1, sample_weight: Any = None) -> float:
    """Share of rows whose prediction is the positive label; `y_true` is not read. Source: fairlearn.

    >>> selection_rate([0, 0, 1, 1], [1, 0, 0, 0])
    0.25
    """
    return _rate(selection_rate, y_true, y_pred, sample_weight, pos_label=pos_label)


def mean_prediction(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
    """Mean of the predictions; `y_true` is not read. Source: fairlearn.

    >>> mean_prediction([0, 0, 1], [0.5, 0.25, 0.75])
    0.5
    """
    return _rate(mean_prediction, y_true, y_pred, sample_weight)


def count(y_true: Any, y_pred: Any) -> int:
    """Number of rows. Source: fairlearn.

    >>> count([0, 1, 1], [0, 0, 1])
    3
    """
    return int(_rate(count, y_true, y_pred, None))


def _rate(function: Any, y_true: Any, y_pred: Any, sample_weight: Any, **keywords: Any) -> float:
    truth, prediction = (np.asarray(side).reshape(-1) for side in (y_true, y_pred))
    if len(truth) != len(prediction):
        raise DataError(f"y_true has {len(truth):,} rows, but y_pred has {len(prediction):,}.")
    if not len(truth):
        raise DataError("There are no rows.")
    asked = known(functools.partial(function, **keywords), frozenset())
    if asked is None:
        raise ValueError(f"{function.__name__} is not known")
    everyone = Cells(np.zeros(len(truth), np.int32), np.zeros(1, np.int32), 1)
    return float(group_values(readings([asked], [sample_weight], truth, prediction), everyone, 1)[0, 0])
