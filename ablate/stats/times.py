"""Epoch times: a trial's median without its first epoch, ratios with an interval on the logs.

And whether a trial of one thread had a processor to itself, without which its time says how busy
the machine was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ablate.stats.fit import BlockFit, fit

# Of the share of the quietest. Undisturbed trials have 0.99 to 1.00 of a processor, those that lose
# it to other programs mostly 0.2 to 0.6 (docs/cost.md). A tenth is also what a time may be too long
# by and stay unnoticed.
_QUIET = 0.9


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


def processor_share(seconds: Sequence[float], processor: Sequence[float]) -> float | None:
    """Processor seconds in a second of a trial's epochs: the median, the first left out.

    None with fewer than two epochs, or if one's times are not known.
    """
    rest = np.array([seconds[1:], processor[1:]], dtype=float)
    if not rest.size or not np.all(np.isfinite(rest)) or not np.all(rest[0] > 0):
        return None
    share = float(np.median(rest[1] / rest[0]))
    return share if share > 0 else None


def disturbed(shares: Sequence[float | None]) -> tuple[bool, ...]:
    """Which trials, of one thread each, did not have a processor as the quietest of them had.

    shares: of a processor, None where not known, of which nothing is said. More than one is one:
    what is beyond it was used beside the training, to write a checkpoint.
    """
    known = [None if share is None else min(share, 1.0) for share in shares]
    most = max((share for share in known if share is not None), default=0.0)
    return tuple(share is not None and share < _QUIET * most for share in known)


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
