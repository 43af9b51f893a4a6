"""What a number of seeds can see: known before anything is trained, or from the residual."""

from __future__ import annotations

import math
from typing import NamedTuple

from ablate.stats.fit import degrees_of_freedom

Z95 = 1.959963984540054  # 97.5% quantile of the standard normal
_MOST_SEEDS = 100_000
MANY_SEEDS = 100  # beyond which nobody asks how many exactly
SURE = 0.9  # how sure each end of a range of seeds is


class SeedsRange(NamedTuple):
    """Seeds that a margin takes, from noise that is itself an estimate.

    In nine studies of ten `high` seeds are enough, in nine of ten `low` or more are needed. None:
    more than `MANY_SEEDS`.
    """

    low: int | None
    high: int | None


def smallest_detectable(
    se: float, df: float, comparisons: int, *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """The difference seen `power` of the time at two-sided level alpha / comparisons.

    From the non-central t; the far tail (below 1e-6 here) is left out. None without df.
    """
    if df < 1 or comparisons < 1 or not se > 0:
        return None
    from scipy.special import nctdtrinc, stdtrit

    critical = float(stdtrit(df, 1 - alpha / (2 * comparisons)))
    shift = float(nctdtrinc(df, 1 - power, critical))
    return shift * se if math.isfinite(shift) else None


def seeds_needed(
    variance_per_seed: float,
    rows: int,
    comparisons: int,
    margin: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    most_df: int | None = None,
) -> int | None:
    """The smallest n ≥ 2 whose smallest detectable difference is at most `margin`.

    variance_per_seed: se² · n of the difference. It uses the noise, never the difference that was
    seen. most_df: degrees of freedom that seeds cannot raise further, as of shares from orders that
    were drawn. None where no practical number of seeds is enough.
    """
    if rows < 2 or margin <= 0:
        return None

    def enough(n: int) -> bool:
        se, df = math.sqrt(variance_per_seed / n), degrees_of_freedom(rows, n)
        df = df if most_df is None else min(df, most_df)
        seen = smallest_detectable(se, df, comparisons, alpha=alpha, power=power)
        return seen is not None and seen <= margin

    high = 2
    while not enough(high):
        high *= 2
        if high > _MOST_SEEDS:
            return None
    low = max(2, high // 2)
    while low < high:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle + 1
    return high


def seeds_range(
    variance_per_seed: float,
    df: float,
    rows: int,
    comparisons: int,
    margin: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    most_df: int | None = None,
) -> SeedsRange | None:
    """`seeds_needed` at both ends of the χ² interval of a variance with `df` degrees of freedom.

    None without a margin or without degrees of freedom.
    """
    if rows < 2 or margin <= 0 or df <= 0:
        return None
    from scipy.special import chdtri

    ends = []
    for above in (1 - SURE, SURE):  # of the χ² distribution above its quantile
        variance = variance_per_seed * df / float(chdtri(df, above))
        needed = seeds_needed(
            variance, rows, comparisons, margin, alpha=alpha, power=power, most_df=most_df
        )
        ends.append(None if needed is None or needed > MANY_SEEDS else needed)
    return SeedsRange(*ends)


def expected_noise(error: float, examples: int) -> float:
    """Run-to-run standard deviation of an accuracy, √(error / 2N): what to expect, not a bound."""
    return math.sqrt(error / (2 * examples))


def rerun_band(error_a: float, error_b: float, examples: int) -> float:
    """Half-width of the 95% band that one seed each of two rows spans from re-running alone."""
    return Z95 * math.sqrt((error_a + error_b) / (2 * examples))
