"""The one rule of every printed interval, worked out a second time and by other means.

Nothing of `ablate` is used. docs/statistics.md states the rule: a law of noise over all rows of a
table, a comparison's own noise over its seeds, and a moderated t between the two (Smyth, 2004).
Here the restricted likelihood is that of error contrasts K'y, φ is their generalised sum of
squares, estimates are statsmodels' weighted least squares on row and seed, and who stands out is
told by the hat matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, optimize
from scipy import stats as scipy_stats
from statsmodels.api import WLS

Lines = Mapping[Any, Sequence[float]]


@dataclass(frozen=True)
class Told:
    """An estimate with its moderated t; numbers of one contrast."""

    estimate: float
    se: float
    df: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        half = float(scipy_stats.t.ppf(0.5 + level / 2, self.df)) * self.se
        return self.estimate - half, self.estimate + half

    @property
    def p(self) -> float:
        return float(2 * scipy_stats.t.sf(abs(self.estimate) / self.se, self.df))


class Rule:
    """A table by the names of its rows, [seeds] each, NaN where a cell is missing.

    examples: that were tested, if values are shares of them that are right; None for any other
    metric, whose rows are equally noisy by the law.
    """

    def __init__(self, lines: Lines, examples: int | None) -> None:
        self.names = list(lines)
        self.y = np.array([lines[name] for name in self.names], dtype=float)
        self.row, self.seed = np.nonzero(np.isfinite(self.y))
        self.cells = self.y[self.row, self.seed]
        rows, seeds = self.y.shape
        # no column for the first seed: whatever links the rows, it is 0
        self.X = np.hstack([np.eye(rows)[self.row], np.eye(seeds)[self.seed, 1:]])
        self.K = linalg.null_space(self.X.T)
        self.df = self.K.shape[1]
        self.exponent = 0.0
        self.u = np.ones(rows)
        if examples is not None:
            errors = np.maximum(1 - np.nanmean(self.y, axis=1), 0.5 / examples)
            grid = [step / 10 for step in range(31)]
            self.exponent = max(grid, key=lambda each: self._posterior(_scaled(errors, each), each))
            self.u = _scaled(errors, self.exponent)
        self.phi = self._quadratic(self.u) / self.df
        self.stands_out = self._cochran(self.u) < 0.10
        self.weight, self.prior_df = (1.0, 1.0) if self.stands_out else (2.5, 4.0)

    def _quadratic(self, u: np.ndarray) -> float:
        """y'K (K'VK)⁻¹ K'y with V = diag(u): ν φ."""
        k = self.K.T @ self.cells
        return float(k @ np.linalg.solve(self.K.T @ (u[self.row][:, None] * self.K), k))

    def _posterior(self, u: np.ndarray, exponent: float) -> float:
        """Restricted log likelihood at the best φ, and the log of the fading normal prior."""
        q = self._quadratic(u)
        log_det = np.linalg.slogdet(self.K.T @ (u[self.row][:, None] * self.K))[1]
        likelihood = -0.5 * (self.df * np.log(q / self.df) + log_det)
        spread = 0.75 * max(1, self.y.shape[1] - 1)
        return float(likelihood + scipy_stats.norm.logpdf(exponent, 1.25, spread))

    def _cochran(self, u: np.ndarray) -> float:
        """p of the row with the largest share of squared residuals, over the rows."""
        scaled = self.X / np.sqrt(u[self.row])[:, None]
        basis = linalg.orth(scaled)
        left = np.eye(len(self.cells)) - basis @ basis.T
        residual = left @ (self.cells / np.sqrt(u[self.row]))
        free = {i: float(np.sum(np.diag(left)[self.row == i])) for i in range(len(self.names))}
        # a row whose every cell has a parameter of its own leaves nothing
        rows = [i for i, own in free.items() if own > 1e-9 and np.sum(self.row == i) > 1]
        if len(rows) < 3:
            return 1.0
        squares = {i: float(np.sum(residual[self.row == i] ** 2)) for i in rows}
        largest = max(rows, key=lambda i: squares[i] / free[i])
        others = [i for i in rows if i != largest]
        rest = sum(free[i] for i in others)
        ratio = squares[largest] / free[largest] / (sum(squares[i] for i in others) / rest)
        p = scipy_stats.f.sf(ratio, np.sum(self.row == largest) - 1, rest)
        return min(1.0, len(rows) * float(p))

    def contrast(self, weights: Mapping[Any, float]) -> Told:
        """Σ weight · row: w·law and (m − 1)·own over w + m − 1, as a share of the law's."""
        c = np.zeros(len(self.names))
        for name, weight in weights.items():
            c[self.names.index(name)] += weight
        model = WLS(self.cells, self.X, weights=1 / self.u[self.row]).fit()
        tested = model.t_test(np.concatenate([c, np.zeros(self.X.shape[1] - len(c))]))
        estimate, by_law = float(tested.effect[0]), float(tested.sd.item()) ** 2
        assert np.isclose(model.scale, self.phi)  # least squares and error contrasts agree
        used = np.abs(c) > 1e-12
        whole = np.isfinite(self.y[used]).all(axis=0)
        own_df = max(int(whole.sum()) - 1, 0)
        law, w = self.phi * float(np.sum(c**2 * self.u)), self.weight
        if not own_df:
            return Told(estimate, by_law**0.5, min(self.prior_df, self.df))
        own = float(np.var(c[used] @ self.y[used][:, whole], ddof=1))
        share = (w * law + own_df * own) / (w + own_df) / law
        b = own_df / (w + own_df)
        by_satterthwaite = 1 / ((1 - b**2) / self.df + b**2 / own_df)
        df = min(self.prior_df + own_df, by_satterthwaite)
        return Told(estimate, (by_law * share) ** 0.5, df)

    def difference(self, row: Any, reference: Any) -> Told:
        return self.contrast({row: 1.0, reference: -1.0})


def brute_force(
    values: np.ndarray, examples: int, coefficients: Sequence[float] | np.ndarray
) -> tuple[float, float, float]:
    """(estimate, standard error, degrees of freedom) of a contrast over values [rows, seeds]."""
    told = Rule(dict(enumerate(values)), examples).contrast(dict(enumerate(coefficients)))
    return told.estimate, told.se, told.df


def _scaled(errors: np.ndarray, exponent: float) -> np.ndarray:
    """e^γ of geometric mean 1."""
    powers = errors**exponent
    return powers / scipy_stats.gmean(powers)


def combined(parts: Sequence[tuple[float, Told]]) -> Told:
    """Σ weight · effect of independent tables, degrees of freedom by Satterthwaite."""
    variances = [weight**2 * told.se**2 for weight, told in parts]
    df = sum(variances) ** 2 / sum(
        v**2 / told.df for v, (_, told) in zip(variances, parts, strict=True)
    )
    return Told(sum(weight * told.estimate for weight, told in parts), sum(variances) ** 0.5, df)


def two_way(row: np.ndarray, reference: np.ndarray, seeds: Told) -> Told:
    """New images and new seeds: [seeds, images] of 0 and 1, the seeds' noise that of the table."""
    apart = row.astype(float) - reference
    n, images = apart.shape
    by_image = np.var(apart.mean(0), ddof=1) / images
    interaction = apart - apart.mean(0) - apart.mean(1, keepdims=True) + apart.mean()
    left = np.sum(interaction**2) / ((n - 1) * (images - 1)) / (n * images)
    of_seeds = seeds.se**2
    variance = by_image + max(0.0, of_seeds - left)
    if of_seeds > variance:
        return Told(float(apart.mean()), seeds.se, seeds.df)
    df = float(images - 1)
    if of_seeds > left:
        parts = (
            by_image**2 / (images - 1),
            of_seeds**2 / seeds.df,
            left**2 / (n - 1) / (images - 1),
        )
        df = variance**2 / sum(parts)
    return Told(float(apart.mean()), float(variance**0.5), df)


def smallest_seen(se: float, df: float, comparisons: int, alpha: float = 0.05) -> float:
    """The difference that is claimed four times in five, by the non-central t."""
    level = alpha / 2 / comparisons
    critical = scipy_stats.t.ppf(1 - level, df)
    power = lambda shift: scipy_stats.nct.sf(critical, df, shift / se) - 0.8  # noqa: E731
    return float(optimize.brentq(power, 1e-9, 30 * critical * se))


def seeds_for(margin: float, told: Told, seeds: int, rows: int, comparisons: int) -> int:
    """How many would see the margin, if noise is as it was and no row stands out."""
    for n in range(2, 10_000):
        b, law_df = (n - 1) / (2.5 + n - 1), (rows - 1) * (n - 1)
        df = min(4 + n - 1, 1 / ((1 - b**2) / law_df + b**2 / (n - 1)))
        if smallest_seen(told.se * (seeds / n) ** 0.5, df, comparisons) <= margin:
            return n
    raise AssertionError(told)
