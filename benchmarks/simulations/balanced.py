"""Many balanced tables at once: `ablate.stats.fit`'s closed form, with Holm and TOST over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from ablate import stats
from simulations.tables import Floats

Bools = npt.NDArray[np.bool_]


def steps_and_total(rows: int) -> Floats:
    """A cumulative table's comparisons, [rows, rows]: each row to the one above, last to first."""
    found = np.zeros((rows, rows))
    for i in range(1, rows):
        found[i - 1, i], found[i - 1, i - 1] = 1, -1
    found[-1, -1], found[-1, 0] = 1, -1
    return found


@dataclass(frozen=True)
class Judged:
    """Comparisons of many tables: estimate and se [tables, comparisons], one df for all."""

    estimate: Floats
    se: Floats
    df: int

    def p(self) -> Floats:
        """Two-sided, not corrected."""
        found: Floats = 2 * stdtr(self.df, -np.abs(self.estimate) / self.se)
        return found

    def holm(self) -> Floats:
        """Corrected within each table."""
        p = self.p()
        order = np.argsort(p, axis=1)
        left = np.arange(p.shape[1], 0, -1)
        stepped = np.maximum.accumulate(np.take_along_axis(p, order, 1) * left, axis=1)
        adjusted = np.empty_like(p)
        np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), axis=1)
        return adjusted

    def p_equivalence(self, margin: float) -> Floats:
        """Of the two one-sided tests against ± margin."""
        found: Floats = stdtr(self.df, (np.abs(self.estimate) - margin) / self.se)
        return found

    def covers(self, truth: Floats, level: float = 0.95) -> Bools:
        """Whether the uncorrected interval has the truth in it."""
        half = float(stdtrit(self.df, 0.5 + level / 2)) * self.se
        found: Bools = np.abs(self.estimate - truth) <= half
        return found


def judge(y: Floats, comparisons: Floats, examples: int | None) -> Judged:
    """Tables y [tables, rows, seeds] of accuracies; `examples` None: any metric, equal noise."""
    rows, seeds = y.shape[1:]
    mean = y.mean(axis=2)
    noise = np.ones_like(mean)
    if examples is not None:
        noise = np.sqrt(np.maximum(1 - mean, 0.5 / examples))
    d = y - mean[:, :, None]
    weighted = (d / noise[:, :, None]).sum(axis=1) / (1 / noise).sum(axis=1)[:, None]
    residual = d - weighted[:, None, :]
    df = (rows - 1) * (seeds - 1)
    phi = (residual**2 / noise[:, :, None]).sum(axis=(1, 2)) / df
    estimate = mean @ comparisons.T
    se = np.sqrt(phi[:, None] * (noise @ (comparisons**2).T) / seeds)
    _check(y[:20], comparisons, examples, Judged(estimate, se, df))
    return Judged(estimate, se, df)


def _check(y: Floats, comparisons: Floats, examples: int | None, judged: Judged) -> None:
    """Raise where the package says something else of these tables."""
    adjusted = judged.holm()
    for t, table in enumerate(y):
        accuracy = examples is not None
        fitted = stats.fit(table, stats.noise_scale(table, accuracy=accuracy, examples=examples))
        contrasts = [fitted.contrast(c) for c in comparisons]
        assert None not in contrasts
        effects = stats.family([c for c in contrasts if c is not None], margin=0.005)
        for i, effect in enumerate(effects):
            ours = (judged.estimate[t, i], judged.se[t, i], judged.df, adjusted[t, i])
            theirs = (effect.delta, effect.se, effect.df, effect.p_holm)
            if not np.allclose(ours, np.array(theirs, dtype=float), rtol=1e-6, atol=1e-12):
                raise AssertionError(f"the closed form gives {ours}, ablate.stats {theirs}")
