"""A contrast, its standard error and degrees of freedom, by dense algebra and statsmodels.

The formulas of docs/statistics.md in other words, and none of `ablate.stats`.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg
from scipy import stats as scipy_stats
from statsmodels.api import WLS


def dummies(values):
    """(design [cells, rows + seeds − 1], cells, row of each)."""
    row, seed = np.nonzero(np.isfinite(values))
    rows, seeds = values.shape
    design = np.zeros((len(row), rows + seeds - 1))
    design[np.arange(len(row)), row] = 1
    late = seed > 0
    design[np.flatnonzero(late), rows + seed[late] - 1] = 1
    return design[:, np.abs(design).sum(axis=0) > 0], values[row, seed], row


def restricted(values, noise):
    """The restricted log-likelihood, profiled over the scale, as that of K'y with K'X = 0."""
    design, y, row = dummies(values)
    kernel = linalg.null_space(design.T)
    covariance = kernel.T @ np.diag(noise[row]) @ kernel
    free = kernel.T @ y
    df = len(free)
    phi = free @ np.linalg.solve(covariance, free) / df
    return -0.5 * (df * np.log(phi) + np.linalg.slogdet(covariance)[1])


def brute_force(values, examples, coefficients):
    """(estimate, se, df) of a contrast, by the page's formulas and dense algebra."""
    error = np.maximum(1 - np.nanmean(values, axis=1), 0.5 / examples)
    seeds = values.shape[1]
    exponents = np.arange(0, 3.05, 0.1)
    belief = -0.5 * ((exponents - 1.25) / (0.75 * max(1, seeds - 1))) ** 2
    found = [restricted(values, error**g) for g in exponents]
    noise = error ** exponents[int(np.argmax(np.array(found) + belief))]
    design, y, row = dummies(values)
    model = WLS(y, design, weights=1 / noise[row]).fit()
    c = np.asarray(coefficients, dtype=float)
    theirs = model.t_test(np.concatenate([c, np.zeros(design.shape[1] - len(c))]))
    used = c != 0
    whole = np.isfinite(values[used]).all(axis=0)
    d = (c[used, None] * values[used][:, whole]).sum(axis=0)
    law = model.scale * np.sum(c**2 * noise)
    own = len(d) - 1
    weight, prior = (1, 1) if cochran(values, noise, model) < 0.1 else (2.5, 4)
    if own < 1:  # only the law knows
        return theirs.effect[0], theirs.sd.item(), min(prior, model.df_resid)
    squeezed = (weight * law + own * d.var(ddof=1)) / (weight + own)
    b = own / (weight + own)
    df = min(prior + own, 1 / ((1 - b**2) / model.df_resid + b**2 / own))
    return theirs.effect[0], theirs.sd.item() * (squeezed / law) ** 0.5, df


def cochran(values, noise, model):
    """p that the row with the largest variance has no more than the others, times the rows."""
    _, _, row = dummies(values)
    design = model.model.wexog
    free = 1 - np.diag(design @ np.linalg.pinv(design))
    squares = np.bincount(row, model.wresid**2)
    expected = np.bincount(row, free)
    told = expected > 1e-9  # a cell of its own for each parameter leaves nothing
    if told.sum() < 3:
        return 1.0
    top = int(np.argmax(np.where(told, squares / np.where(told, expected, 1), 0)))
    others = told & (np.arange(len(squares)) != top)
    rest = expected[others].sum()
    ratio = squares[top] / expected[top] / (squares[others].sum() / rest)
    within = np.isfinite(values[top]).sum() - 1
    return told.sum() * scipy_stats.f.sf(ratio, within, rest)
