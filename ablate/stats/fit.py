"""The weighted block fit: y ~ row + seed, with cells that may be missing, and its contrasts.

Rows share their seeds, so a seed's luck is common to all of them and cancels in a difference. Rows
differ in noise: what they say of it together is a law (`ablate.stats.noise`), and every contrast
has seeds of its own. Its variance lies between the two, whatever it is a contrast of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ablate.stats import noise
from ablate.stats.noise import Floats, Prior

# Residuals below this share of the values are rounding: the seeds agree exactly.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of rows, Σc = 0.

    estimate: in the unit of the values. se: its standard error; None where the noise is unknown
    (no residual degrees of freedom, or seeds that agree exactly). df: degrees of freedom of se.
    variance_per_seed: se² × n of a balanced table, for planning; None where se is None.
    """

    estimate: float
    se: float | None
    df: float
    variance_per_seed: float | None

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Two-sided t interval, not corrected for other comparisons."""
        if self.se is None:
            return None
        from scipy.special import stdtrit

        half = float(stdtrit(self.df, 0.5 + level / 2)) * self.se
        return self.estimate - half, self.estimate + half

    def p_value(self) -> float | None:
        """Two-sided p of "no difference"."""
        if self.se is None:
            return None
        from scipy.special import stdtr

        return float(2 * stdtr(self.df, -abs(self.estimate) / self.se))

    def p_equivalence(self, margin: float) -> float | None:
        """p of the two one-sided tests (TOST) that the difference lies within ± margin."""
        if self.se is None:
            return None
        from scipy.special import stdtr

        return float(stdtr(self.df, (abs(self.estimate) - margin) / self.se))


@dataclass(frozen=True)
class Uneven:
    """A row whose seeds differ more than those of the others.

    ratio: of its variance to theirs, after the law of `by_law`, else as measured. p: by Cochran's
    test over the rows.
    """

    row: int
    ratio: float
    p: float
    by_law: bool


@dataclass(frozen=True)
class BlockFit:
    """A fitted table.

    values: [rows, seeds], NaN where a cell is missing. noise: [rows], u_v: by the law, the variance
    of a cell of row v is phi · u_v. exponent: of the error rate in u_v, 0 where the law is equal
    noise. phi: None without residual degrees of freedom, or if the residual is 0.
    df: cells − rank of the design, which is cells − rows − seeds + 1 where all rows are connected.
    prior: what the law counts for in a contrast's variance.
    """

    values: Floats
    noise: Floats
    exponent: float
    phi: float | None
    df: int
    prior: Prior

    @cached_property
    def _design(self) -> tuple[Floats, Floats, Floats]:
        return _weighted_design(self.values, self.noise)

    @cached_property
    def _solved(self) -> tuple[Floats, Floats]:
        """Coefficients [rows + seeds] and the pseudo-inverse of the normal matrix."""
        design, target, _ = self._design
        solution = np.asarray(np.linalg.lstsq(design, target, rcond=None)[0], dtype=np.float64)
        inverse = np.asarray(np.linalg.pinv(design.T @ design), dtype=np.float64)
        return solution, inverse

    def contrast(self, coefficients: Sequence[float] | Floats) -> Contrast | None:
        """The contrast Σ c_v · row_v, [rows] with Σc = 0; None where the cells cannot tell it.

        It cannot be told when a row has no cell, or no chain of shared seeds links the rows.

        With V the variance by the law, s² that of Σ c_v y_vs over the m seeds that have all of its
        rows and σ² = phi · Σ c_v² u_v what the law says of s²: se² = V · (wσ² + (m − 1)s²) /
        ((w + m − 1)σ²) with about d₀ + m − 1 degrees of freedom, w and d₀ of `prior`
        (`noise.moderated`, `noise.moderated_df`; Smyth, 2004). In a balanced table V is σ²/m. Two
        rows alone have the paired t.
        """
        c = np.asarray(coefficients, dtype=float)
        if c.shape != (len(self.values),) or abs(c.sum()) > 1e-9 * max(1.0, np.abs(c).sum()):
            raise ValueError("a contrast has one coefficient per row, and they sum to 0")
        padded = np.concatenate([c, np.zeros(self.values.shape[1])])
        design, _, _ = self._design
        solution, inverse = self._solved
        projected = inverse @ (design.T @ (design @ padded))
        if not np.allclose(projected, padded, atol=1e-6):
            return None
        estimate = float(padded @ solution)
        if abs(estimate) <= _ROUNDING * np.abs(c).sum() * float(np.nanmax(np.abs(self.values))):
            estimate = 0.0  # rows that are equal have no sign
        if self.phi is None:
            return Contrast(estimate, None, self.df, None)
        by_law = self.phi * float(np.sum(c**2 * self.noise))
        own, own_df = self._own(c)
        share = noise.moderated(by_law, own, own_df, self.prior.weight) / by_law if by_law else 1.0
        variance = self.phi * float(padded @ inverse @ padded) * share
        df = noise.moderated_df(self.df, own_df, self.prior)
        return Contrast(estimate, float(np.sqrt(max(variance, 0.0))), df, by_law * share)

    def _own(self, c: Floats) -> tuple[float, int]:
        """Variance of the contrast over the seeds that have all of its rows, and its df."""
        used = np.abs(c) > 1e-12 * np.abs(c).max(initial=0.0)
        cells = self.values[used]
        whole = np.isfinite(cells).all(axis=0)
        seeds = int(whole.sum())
        if seeds < 2:
            return 0.0, 0
        return float(np.var(c[used] @ cells[:, whole], ddof=1)), seeds - 1

    def difference(self, row: int, reference: int) -> Contrast | None:
        """Row minus reference; None where the cells cannot tell it."""
        if row == reference:
            raise ValueError("a row has no difference to itself")
        c = np.zeros(len(self.values))
        c[row], c[reference] = 1.0, -1.0
        return self.contrast(c)

    def uneven(self, level: float = 0.05) -> Uneven | None:
        """The row whose noise stands out at this level: from the law, else from equal noise.

        None where none does.
        """
        if self.phi is None:
            return None
        for by_law in (True, False):
            scale = self.noise if by_law else np.ones_like(self.noise)
            row, ratio, p = noise.standing_out(*_row_squares(self.values, scale))
            if p < level:
                return Uneven(row, ratio, p, by_law)
        return None


def fit(values: Any, errors: Any = None) -> BlockFit:
    """Weighted least squares of `values` [rows, seeds] (NaN: missing) on row + seed.

    errors: error rate of each row [rows], see `noise.error_rates`, whose power is the rows' noise;
    None where rows are equally noisy.
    """
    y = np.atleast_2d(np.asarray(values, dtype=float))
    u, exponent = np.ones(len(y)), 0.0
    if errors is not None:
        e = np.asarray(errors, dtype=float)
        empty = ~np.isfinite(y).any(axis=1)
        if e.shape != (len(y),) or not np.all((e > 0) & np.isfinite(e) | empty):
            raise ValueError("errors: one finite number above 0 per row")
        e = np.where(empty, np.nan, e)
        exponent = _exponent(y, e)
        u = noise.scale(e, exponent)
    design, target, weights = _weighted_design(y, u)
    cells = len(target)
    if not cells:
        return BlockFit(y, u, exponent, None, 0, noise.LAW)
    df = cells - int(np.linalg.matrix_rank(design))
    residual = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
    scale = np.abs(target).max() + np.abs(weights).max() * 1e-3
    if df < 1 or np.abs(residual).max() <= _ROUNDING * scale:
        return BlockFit(y, u, exponent, None, df, noise.LAW)
    _, _, p = noise.standing_out(*_row_squares(y, u))
    prior = noise.LAW_UNEVEN if p < noise.UNEVEN_LEVEL else noise.LAW
    return BlockFit(y, u, exponent, float(residual @ residual) / df, df, prior)


def degrees_of_freedom(rows: int, seeds: int) -> float:
    """Of a contrast's standard error in a balanced table without a row that stands out."""
    if rows < 2 or seeds < 2:
        return 0.0
    return noise.moderated_df((rows - 1) * (seeds - 1), seeds - 1, noise.LAW)


def _exponent(y: Floats, errors: Floats) -> float:
    """γ of e^γ with the highest restricted likelihood times the prior.

    −½ (ν log φ + Σ log u + log |X'WX|), of the determinant the eigenvalues that the design does not
    make 0 (Harville, 1974).
    """
    centred = y - np.nanmean(y) if np.isfinite(y).any() else y
    best, chosen = -np.inf, 0.0
    rank = 0
    for exponent in map(float, noise.EXPONENTS):
        design, target, weights = _weighted_design(centred, noise.scale(errors, exponent))
        rank = rank or int(np.linalg.matrix_rank(design))
        df = len(target) - rank
        if df < 1:
            return chosen
        eigenvalues, vectors = np.linalg.eigh(design.T @ design)
        eigenvalues, vectors = eigenvalues[-rank:], vectors[:, -rank:]
        explained = (vectors.T @ (design.T @ target)) ** 2 / eigenvalues
        left = float(target @ target - explained.sum())
        if not left > 0:
            return chosen
        likelihood = -0.5 * (
            df * np.log(left / df) - 2 * np.log(weights).sum() + np.log(eigenvalues).sum()
        )
        # Of two rows it is flat, and 1.2 as likely as 1.3: the last digit must not decide.
        if (found := likelihood + noise.log_prior(exponent, y.shape[1])) > best + 1e-6:
            best, chosen = found, exponent
    return chosen


def _row_squares(y: Floats, u: Floats) -> tuple[Floats, Floats, Floats]:
    """Of each row: its squared weighted residuals, what they would be at φ = 1, and its cells less
    one."""
    design, target, _ = _weighted_design(y, u)
    rows = np.nonzero(np.isfinite(y))[0]
    basis, values, _ = np.linalg.svd(design, full_matrices=False)
    basis = basis[:, values > 1e-9 * values.max(initial=0.0)]
    residual = target - basis @ (basis.T @ target)
    free = 1.0 - (basis**2).sum(axis=1)
    count = np.bincount(rows, minlength=len(y))
    return (
        np.bincount(rows, residual**2, minlength=len(y)).astype(float),
        np.bincount(rows, free, minlength=len(y)).astype(float),
        np.maximum(count - 1.0, 0.0),
    )


def _weighted_design(y: Floats, u: Floats) -> tuple[Floats, Floats, Floats]:
    """One line per cell there is: design [cells, rows + seeds], target [cells], root weights."""
    rows, seeds = np.nonzero(np.isfinite(y))
    design = np.zeros((len(rows), sum(y.shape)))
    cell = np.arange(len(rows))
    design[cell, rows] = 1.0
    design[cell, len(y) + seeds] = 1.0
    weights = 1.0 / np.sqrt(u[rows])
    return design * weights[:, None], y[rows, seeds] * weights, weights
