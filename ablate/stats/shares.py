"""Shares: of trainings, such as those that diverged, which are few, and of images, as log-odds."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np

from ablate.stats.noise import Floats


def log_odds(shares: Any, *, examples: int | None) -> Floats:
    """log p/(1 − p) of each share; one of none or of all of the examples is half of one from it."""
    values = np.asarray(shares, dtype=float)
    least = 0.5 / (examples or 1_000_000)
    kept = np.clip(values, least, 1 - least)
    found: Floats = np.log(kept / (1 - kept))
    return found


def share_interval(count: int, of: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share of which `count` of `of` were seen (Clopper and Pearson, 1934).

    It covers at least `level`, whatever the share is.
    """
    if not 0 <= count <= of or of < 1:
        raise ValueError(f"a share of {count} in {of}")
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(count, of - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 1 - tail)) if count < of else 1.0
    return low, high


def fisher_exact(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Two-sided p that two shares, (count, of) each, are equal (Fisher, 1935).

    Given how many there are in all, as in R: the probability of every split that is no likelier
    than the one seen.
    """
    (a, n), (b, m) = first, second
    if not (0 <= a <= n and 0 <= b <= m):
        raise ValueError(f"shares of {a} in {n} and of {b} in {m}")
    both = a + b
    ways = [comb(n, k) * comb(m, both - k) for k in range(max(0, both - m), min(n, both) + 1)]
    seen = comb(n, a) * comb(m, b)
    return sum(way for way in ways if way <= seen) / sum(ways)
