"""How much rows vary from training to training: a law over all of them, and rows that leave it.

A few seeds say little of one row's noise. What the rows say together is a law: the variance of a
cell is φ · e^γ at error rate e, with γ by restricted maximum likelihood. A row or comparison that
varies otherwise has evidence of its own, which `moderated` weighs against the law.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# γ: 1/2 to 1 on test sets of independent to correlated images, above 1 in tables of networks that
# are not trained to convergence. Few seeds of few rows say nothing of it, hence a prior; it fades
# as seeds are added, faster than the likelihood grows.
EXPONENTS = np.arange(31) / 10
_EXPONENT_MEAN, _EXPONENT_SD_PER_DF = 1.25, 0.75


@dataclass(frozen=True)
class Prior:
    """What the law counts for beside a comparison's own seeds.

    weight: in degrees of freedom, in the variance. df: that it adds to those of the t distribution.
    """

    weight: float
    df: float


# Chosen by simulation (docs/statistics.md). The law is a mean of variances and so lies above the
# scale that a prior of as many degrees of freedom has; hence a weight below df.
LAW = Prior(weight=2.5, df=4.0)
LAW_UNEVEN = Prior(weight=1.0, df=1.0)  # where a row stands out from it
UNEVEN_LEVEL = 0.10


def error_rates(values: Any, *, accuracy: bool, examples: int | None) -> Floats | None:
    """Mean error rate of each row [rows, seeds] of accuracies in [0, 1], None for other metrics.

    An error rate counts as at least half an image of the `examples` tested. NaN for a row without
    a value.
    """
    if not accuracy:
        return None
    y = np.atleast_2d(np.asarray(values, dtype=float))
    present = np.isfinite(y)
    count = present.sum(axis=1)
    mean = np.where(present, y, 0.0).sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 0, np.maximum(1.0 - mean, 0.5 / (examples or 1_000_000)), np.nan)


def moderated(law: float, own: float, own_df: float, weight: float) -> float:
    """A variance between what the law and what its own seeds say, weighed by degrees of freedom.

    (w·law + d·own)/(w + d) with w = `weight`, d = `own_df`: the posterior variance of Smyth (2004),
    "Linear models and empirical Bayes methods for assessing differential expression".
    """
    return (weight * law + own_df * own) / (weight + own_df)


def moderated_df(law_df: float, own_df: float, prior: Prior) -> float:
    """Degrees of freedom of `moderated`: those of the prior and its own, if the law has as many.

    The law has `law_df` of them, `own_df` of which are the comparison's own. Where rows do vary as
    it says, the weighted mean has 1 / ((1 − b²)/law_df + b²/own_df) by Satterthwaite (1946), b =
    own_df / (w + own_df): the least of the two holds.
    """
    if not own_df:
        return min(prior.df, law_df)
    b = own_df / (prior.weight + own_df)
    return min(prior.df + own_df, 1 / ((1 - b * b) / law_df + b * b / own_df))


def log_prior(exponent: float, seeds: int) -> float:
    """Log density of γ before the table of so many seeds is seen, up to a constant."""
    spread = _EXPONENT_SD_PER_DF * max(1, seeds - 1)
    return -0.5 * ((exponent - _EXPONENT_MEAN) / spread) ** 2


def scale(errors: Floats, exponent: float) -> Floats:
    """u_v = e^γ [rows], of geometric mean 1; 1 for a row without an error rate."""
    logs = exponent * np.log(errors)
    known = np.isfinite(logs)
    middle = float(logs[known].mean()) if known.any() else 0.0
    return np.where(known, np.exp(np.where(known, logs - middle, 0.0)), 1.0)


def standing_out(squares: Floats, expected: Floats, df: Floats) -> tuple[int, float, float]:
    """(row, its variance over that of the others, p) of the row with the largest variance.

    squares: sum of squared residuals of each row [rows]; expected: what it is at equal noise, in
    units of a cell's variance; df: the row's degrees of freedom, 0 where it has none. p by Cochran
    (1941): F of the largest against the others, times the rows. p is 1 where there are fewer than
    three rows, or the others do not vary: two rows share their residuals.
    """
    from scipy.special import fdtrc

    rows = np.flatnonzero((df > 0) & (expected > 1e-9))
    if len(rows) < 3:
        return 0, 1.0, 1.0
    variances = squares[rows] / expected[rows]
    row = int(rows[int(variances.argmax())])
    others = rows[rows != row]
    rest = float(squares[others].sum() / expected[others].sum())
    if not rest > 0:
        return row, float("inf"), 1.0
    ratio = float(variances.max()) / rest
    p = float(fdtrc(float(df[row]), float(expected[others].sum()), ratio))
    return row, ratio, min(1.0, len(rows) * p)
