"""Epoch times: a trial's median without its first epoch, ratios with an interval on the logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ablate.stats.fit import BlockFit, fit


@dataclass(frozen=True)
class Ratio:
    """Time of a row over the time of its reference, and its 95% interval if there is one."""

    ratio: float
    low: float | None
    high: float | None


def epoch_time(seconds: Sequence[float]) -> float | None:
    """Median epoch time of a trial; the first epoch, which warms up, is left out.

    None with fewer than two epochs, or if the clock gave nothing positive.
    """
    rest = np.asarray(seconds[1:], dtype=float)
    if not len(rest) or not np.all(np.isfinite(rest)):
        return None
    middle = float(np.median(rest))
    return middle if middle > 0 else None


def time_fit(times: Any) -> BlockFit:
    """The block fit of log times; `times` [rows, seeds] in seconds, NaN where there is none."""
    return fit(np.log(np.asarray(times, dtype=float)))


def time_ratio(fitted: BlockFit, row: int, reference: int) -> Ratio | None:
    """Ratio of two rows of a `time_fit`; None where they share no seed, even indirectly."""
    contrast = fitted.difference(row, reference)
    if contrast is None:
        return None
    bounds = contrast.interval()
    low, high = (None, None) if bounds is None else (float(np.exp(b)) for b in bounds)
    return Ratio(float(np.exp(contrast.estimate)), low, high)
