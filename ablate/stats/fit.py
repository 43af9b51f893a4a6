"""The weighted block fit: y ~ row + seed, with cells that may be missing.

Rows share their seeds, so a seed's luck is common to all of them and cancels in a difference. Rows
differ in noise: the run-to-run variance of an error rate e grows about like √e, hence the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Residuals below this share of the values are rounding: the seeds agree exactly.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of rows, Σc = 0.

    estimate: in the unit of the values. se: its standard error; None where the noise is unknown
    (no residual degrees of freedom, or seeds that agree exactly). df: residual degrees of freedom.
    variance_per_seed: se² × n of a balanced table, for planning; None where se is None.
    """

    estimate: float
    se: float | None
    df: int
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
class BlockFit:
    """A fitted table.

    values: [rows, seeds], NaN where a cell is missing. noise: [rows], u_v: the variance of a cell
    of row v is phi · u_v. phi: None without residual degrees of freedom, or if the residual is 0.
    df: cells − rank of the design, which is cells − rows − seeds + 1 where all rows are connected.
    """

    values: Floats
    noise: Floats
    phi: float | None
    df: int

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
        variance = self.phi * float(padded @ inverse @ padded)
        per_seed = self.phi * float(np.sum(c**2 * self.noise))
        return Contrast(estimate, float(np.sqrt(max(variance, 0.0))), self.df, per_seed)

    def difference(self, row: int, reference: int) -> Contrast | None:
        """Row minus reference; None where the cells cannot tell it."""
        if row == reference:
            raise ValueError("a row has no difference to itself")
        c = np.zeros(len(self.values))
        c[row], c[reference] = 1.0, -1.0
        return self.contrast(c)


def fit(values: Any, noise: Any = None) -> BlockFit:
    """Weighted least squares of `values` [rows, seeds] (NaN: missing) on row + seed.

    noise: u_v per row [rows], see `noise_scale`; None for equal ones.
    """
    y = np.atleast_2d(np.asarray(values, dtype=float))
    u = np.ones(len(y)) if noise is None else np.asarray(noise, dtype=float)
    if u.shape != (len(y),) or not (np.all(u > 0) and np.all(np.isfinite(u))):
        raise ValueError("noise: one finite number above 0 per row")
    design, target, weights = _weighted_design(y, u)
    cells = len(target)
    if not cells:
        return BlockFit(y, u, None, 0)
    df = cells - int(np.linalg.matrix_rank(design))
    residual = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
    scale = np.abs(target).max() + np.abs(weights).max() * 1e-3
    exact = bool(np.abs(residual).max() <= _ROUNDING * scale)
    phi = None if df < 1 or exact else float(residual @ residual) / df
    return BlockFit(y, u, phi, df)


def noise_scale(values: Any, *, accuracy: bool, examples: int | None) -> Floats:
    """u_v for `fit`: √(error rate) of each row [rows, seeds] of accuracies in [0, 1], else 1.

    An error rate counts as at least half an image of the `examples` tested.
    """
    y = np.atleast_2d(np.asarray(values, dtype=float))
    if not accuracy:
        return np.ones(len(y))
    present = np.isfinite(y)
    count = present.sum(axis=1)
    mean = np.where(present, y, 0.0).sum(axis=1) / np.maximum(count, 1)
    error = np.maximum(1.0 - mean, 0.5 / (examples or 1_000_000))
    return np.where(count > 0, np.sqrt(error), 1.0)


def _weighted_design(y: Floats, u: Floats) -> tuple[Floats, Floats, Floats]:
    """One line per cell there is: design [cells, rows + seeds], target [cells], root weights."""
    rows, seeds = np.nonzero(np.isfinite(y))
    design = np.zeros((len(rows), sum(y.shape)))
    cell = np.arange(len(rows))
    design[cell, rows] = 1.0
    design[cell, len(y) + seeds] = 1.0
    weights = 1.0 / np.sqrt(u[rows])
    return design * weights[:, None], y[rows, seeds] * weights, weights
