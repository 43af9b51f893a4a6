"""What the scores of a test set say beyond their mean accuracy: calibration, and classes apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from ablate.stats.noise import Floats

BINS = 15


def log_sum_exp(scores: Any) -> Floats:
    """log Σ exp of each line [N] of logits [N, K]: what turns a logit into log probability."""
    values = np.asarray(scores, dtype=np.float64)
    highest = values.max(axis=1, keepdims=True)
    found: Floats = highest[:, 0] + np.log(np.exp(values - highest).sum(axis=1))
    return found


def calibration_error(scores: Any, labels: Any, bins: int = BINS) -> float:
    """Expected calibration error of logits [N, K], as a fraction (Guo et al., 2017, section 2)."""
    values = np.asarray(scores, dtype=np.float64)
    confidence = np.exp(values.max(axis=1) - log_sum_exp(values))
    return binned_error(confidence, values.argmax(axis=1) == np.asarray(labels), bins)


def binned_error(confidence: Any, correct: Any, bins: int = BINS) -> float:
    """Mean |accuracy − confidence| over equal bins of confidence, weighted by their images.

    confidence: [N], probability of the class predicted; correct: [N]. Bin m of M is
    ((m − 1)/M, m/M].
    """
    sure, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if sure.ndim != 1 or sure.shape != right.shape or not len(sure):
        raise ValueError(f"one confidence per image, not {sure.shape} for {right.shape}")
    edges = np.arange(1, bins) / bins
    place = np.searchsorted(edges, sure, side="left")
    apart = np.bincount(place, right - sure, minlength=bins)  # images × (accuracy − confidence)
    return float(np.abs(apart).sum() / len(sure))


def class_accuracy(predicted: Any, labels: Any, classes: int) -> Floats:
    """Share of each class's images [classes] that are predicted right; NaN for one without any."""
    truth = np.asarray(labels)
    return class_means(np.asarray(predicted) == truth, truth, classes)


def class_means(values: Any, labels: Any, classes: int) -> Floats:
    """Mean of `values` [N] over the images of each class [classes]; NaN for one without any."""
    truth = np.asarray(labels)
    images = np.bincount(truth, minlength=classes)
    sums = np.bincount(truth, np.asarray(values, dtype=float), minlength=classes)
    return np.where(images > 0, sums / np.maximum(images, 1), np.nan)
