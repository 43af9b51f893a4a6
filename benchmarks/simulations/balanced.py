"""Many balanced tables at once: `ablate.stats.fit`'s closed form, with Holm and TOST over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import fdtrc, stdtr, stdtrit

from ablate import stats
from ablate.stats import noise
from simulations.tables import Floats

Bools = npt.NDArray[np.bool_]
Rule = Literal["moderated", "pooled"]  # what is printed, and what was until version 0.1
_CHECKED = 20  # tables of every call that the package judges too


def steps_and_total(rows: int) -> Floats:
    """A cumulative table's comparisons, [rows, rows]: each row to the one above, last to first."""
    found = np.zeros((rows, rows))
    for i in range(1, rows):
        found[i - 1, i], found[i - 1, i - 1] = 1, -1
    found[-1, -1], found[-1, 0] = 1, -1
    return found


def holm(p: Floats) -> Floats:
    """p values [tables, comparisons], corrected within each table."""
    order = np.argsort(p, axis=1)
    left = np.arange(p.shape[1], 0, -1)
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, 1) * left, axis=1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), axis=1)
    return adjusted


@dataclass(frozen=True)
class Judged:
    """Comparisons of many tables: estimate, se and df [tables, comparisons].

    uneven: [tables], whether a row's noise stands out from the law.
    """

    estimate: Floats
    se: Floats
    df: Floats
    uneven: Bools

    def p(self) -> Floats:
        """Two-sided, not corrected."""
        found: Floats = 2 * stdtr(self.df, -np.abs(self.estimate) / self.se)
        return found

    def holm(self) -> Floats:
        """Corrected within each table."""
        return holm(self.p())

    def p_equivalence(self, margin: float) -> Floats:
        """Of the two one-sided tests against ± margin."""
        found: Floats = stdtr(self.df, (np.abs(self.estimate) - margin) / self.se)
        return found

    def half(self, level: float = 0.95) -> Floats:
        """Half-widths of the uncorrected intervals."""
        found: Floats = stdtrit(self.df, 0.5 + level / 2) * self.se
        return found

    def covers(self, truth: Floats, level: float = 0.95) -> Bools:
        """Whether the uncorrected interval has the truth in it."""
        found: Bools = np.abs(self.estimate - truth) <= self.half(level)
        return found

    def centred(self, truth: Floats) -> Judged:
        """The same with nothing to find: what they claim then is false."""
        return Judged(self.estimate - truth, self.se, self.df, self.uneven)


def judge(y: Floats, comparisons: Floats, examples: int | None, rule: Rule = "moderated") -> Judged:
    """Tables y [tables, rows, seeds] of accuracies; `examples` None: any metric, equal noise."""
    rows, seeds = y.shape[1:]
    df = (rows - 1) * (seeds - 1)
    mean = y.mean(axis=2)
    squares = comparisons**2
    errors = None if examples is None else np.maximum(1 - mean, 0.5 / examples)
    if rule == "pooled":
        u = np.ones_like(mean) if errors is None else np.sqrt(errors)
        variance = _phi(y, u)[0][:, None] * (u @ squares.T)
        every = np.full(variance.shape, float(df))
        nowhere = np.zeros(len(y), dtype=bool)
        return Judged(mean @ comparisons.T, np.sqrt(variance / seeds), every, nowhere)
    u = np.ones_like(mean) if errors is None else _likeliest(y, errors)
    phi, residual = _phi(y, u)
    by_law = phi[:, None] * (u @ squares.T)
    own = np.einsum("tvs,cv->tcs", y, comparisons).var(axis=2, ddof=1)
    uneven = _standing_out(residual, u) < noise.UNEVEN_LEVEL
    weight = np.where(uneven, noise.LAW_UNEVEN.weight, noise.LAW.weight)[:, None]
    variance = (weight * by_law + (seeds - 1) * own) / (weight + seeds - 1)
    freedom = [noise.moderated_df(df, seeds - 1, law) for law in (noise.LAW, noise.LAW_UNEVEN)]
    every = np.broadcast_to(np.where(uneven, freedom[1], freedom[0])[:, None], variance.shape)
    judged = Judged(mean @ comparisons.T, np.sqrt(variance / seeds), every, uneven)
    _check(y[:_CHECKED], comparisons, examples, judged)
    return judged


def _phi(y: Floats, u: Floats) -> tuple[Floats, Floats]:
    """(variance of a cell at u = 1 [tables], residuals [tables, rows, seeds])."""
    _, rows, seeds = y.shape
    d = y - y.mean(axis=2)[:, :, None]
    common = (d / u[:, :, None]).sum(axis=1) / (1 / u).sum(axis=1)[:, None]
    residual = d - common[:, None, :]
    squares = (residual**2 / u[:, :, None]).sum(axis=(1, 2))
    phi = squares / ((rows - 1) * (seeds - 1))
    return np.where(phi > 1e-24, phi, np.nan), residual  # seeds that agree exactly say nothing


def _likeliest(y: Floats, errors: Floats) -> Floats:
    """u [tables, rows] of the exponent with the highest restricted likelihood times the prior."""
    _, rows, seeds = y.shape
    best, chosen = np.full(len(y), -np.inf), np.ones_like(errors)
    for exponent in noise.EXPONENTS:
        u = errors**exponent
        u /= np.exp(np.log(u).mean(axis=1))[:, None]
        phi = _phi(y, u)[0]
        likelihood = -0.5 * (
            (rows - 1) * (seeds - 1) * np.log(phi)
            + (seeds - 1) * (np.log(u).sum(axis=1) + np.log((1 / u).sum(axis=1)))
        ) + noise.log_prior(float(exponent), seeds)
        better = likelihood > best + 1e-6
        best[better], chosen[better] = likelihood[better], u[better]
    return chosen


def _standing_out(residual: Floats, u: Floats) -> Floats:
    """p of Cochran's test, [tables]."""
    _, rows, seeds = residual.shape
    if rows < 3:
        return np.ones(len(residual))
    squares = (residual**2).sum(axis=2) / u
    expected = (seeds - 1) * (1 - (1 / u) / (1 / u).sum(axis=1)[:, None])
    largest = (squares / expected).argmax(axis=1)[:, None]

    def of(values: Floats) -> tuple[Floats, Floats]:
        one = np.take_along_axis(values, largest, axis=1)[:, 0]
        return one, values.sum(axis=1) - one

    (one, others), (one_df, others_df) = of(squares), of(expected)
    p: Floats = fdtrc(seeds - 1, others_df, (one / one_df) / (others / others_df))
    return np.minimum(1.0, rows * p)


def _check(y: Floats, comparisons: Floats, examples: int | None, judged: Judged) -> None:
    """Raise where the package says something else of these tables."""
    adjusted = judged.holm()
    for t, table in enumerate(y):
        accuracy = examples is not None
        fitted = stats.fit(table, stats.error_rates(table, accuracy=accuracy, examples=examples))
        contrasts = [fitted.contrast(c) for c in comparisons]
        assert None not in contrasts
        effects = stats.family([c for c in contrasts if c is not None], margin=0.005)
        for i, effect in enumerate(effects):
            ours = (judged.estimate[t, i], judged.se[t, i], judged.df[t, i], adjusted[t, i])
            theirs = (effect.delta, effect.se, effect.df, effect.p_holm)
            if not np.allclose(
                ours, np.array(theirs, dtype=float), rtol=1e-6, atol=1e-12, equal_nan=True
            ):
                raise AssertionError(f"the closed form gives {ours}, ablate.stats {theirs}")
