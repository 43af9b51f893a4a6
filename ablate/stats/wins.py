"""How often a row would win: not how much on average, but what one training more would show."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ablate.stats.fit import Contrast


@dataclass(frozen=True)
class Wins:
    """The share of new seeds at which a row beats its reference, in [0, 1], and its interval."""

    share: float
    low: float
    high: float


def wins(contrast: Contrast, *, higher_is_better: bool = True, level: float = 0.95) -> Wins | None:
    """P(a new seed with the trick beats a new seed without it); None where the noise is unknown.

    Both rows are trained with that seed. Φ(Δ/σ), σ² = `variance_per_seed`; the interval by that of
    the noncentrality of t = Δ/se, which is exact for the paired t (Wolfe and Hogg, 1971).
    """
    if not contrast.se or not contrast.variance_per_seed:
        return None
    from scipy.special import nctdtrinc, ndtr

    better = 1.0 if higher_is_better else -1.0
    t = better * contrast.estimate / contrast.se
    # seeds that the standard error is worth, fewer where cells are missing
    seeds = math.sqrt(contrast.variance_per_seed) / contrast.se
    low, high = (float(nctdtrinc(contrast.df, 0.5 + side * level / 2, t)) for side in (1.0, -1.0))
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    return Wins(*(float(ndtr(value / seeds)) for value in (t, low, high)))
