"""Shares over orders: all of them, one and its reverse, or a random sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt
from scipy.special import fdtrc, stdtrit

from ablate import stats
from ablate.stats.noise import LAW, LAW_UNEVEN, UNEVEN_LEVEL
from simulations.balanced import Bools
from simulations.figures import Figure, share
from simulations.tables import Floats

# Many rows know their law well, and yet it counts for four degrees of freedom: more than 96%.
BAR = (94.0, None)
SEEDS = 3
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Games:
    """What rows are worth: interactions of pairs and of three, normal, in units of a run's noise.

    Main effects cancel in every error and are 0. The trick looked at is the first.
    """

    tricks: int
    pairs: float
    threes: float = 0.0

    def draw(self, rng: np.random.Generator, tables: int) -> tuple[Floats, Floats]:
        """Expected values [tables, 2^k], tricks being bits, and Shapley values [tables]."""
        k = self.tricks
        bits = (np.arange(2**k)[:, None] >> np.arange(k)) & 1
        values = np.zeros((tables, 2**k))
        share = np.zeros(tables)
        for i in range(k):
            for j in range(i):
                effect = self.pairs * rng.standard_normal(tables)
                values += effect[:, None] * (bits[:, i] * bits[:, j])
                share += effect / 2 if j == 0 else 0.0
                for m in range(j if self.threes else 0):
                    effect = self.threes * rng.standard_normal(tables)
                    values += effect[:, None] * (bits[:, i] * bits[:, j] * bits[:, m])
                    share += effect / 3 if m == 0 else 0.0
        return values, share

    @property
    def name(self) -> str:
        """In words."""
        threes = f", of three {self.threes:g}" if self.threes else ""
        return f"{self.tricks} tricks, interactions of two {self.pairs:g}{threes}"


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """Three seeds; interactions from none to three times the noise of a run."""
    for k in (3, 4):
        every = np.array(list(permutations(range(k))))
        game = Games(k, 1.0, 1.0)
        drawn = _Drawn(rng, repeats, game, np.broadcast_to(every, (repeats, *every.shape)))
        yield share(f"all orders, {game.name}", SEEDS, "interval", drawn.complete(), BAR)
    for k, threes in ((4, 0.0), (5, 0.0), (5, 1.0), (5, 3.0)):
        game = Games(k, 1.0, threes)
        # which place the trick has is not the simulation's choice
        forward = rng.permuted(np.tile(np.arange(k), (repeats, 1)), axis=1)
        drawn = _Drawn(rng, repeats, game, np.stack([forward, forward[:, ::-1]], axis=1))
        setting = f"an order and its reverse, {game.name}"
        yield share(setting, SEEDS, "share in these two orders", drawn.complete(ours=True), BAR)
        bar = BAR if threes == 0 else (None, None)
        yield share(setting, SEEDS, "share in all orders", drawn.complete(), bar)
    for k, orders in ((4, 2), (5, 3), (5, 4), (5, 6), (6, 10), (6, 20)):
        for pairs in (0.0, 0.3, 1.0, 3.0):
            game = Games(k, pairs)
            each = rng.permuted(np.tile(np.arange(k), (repeats, orders, 1)), axis=2)
            drawn = _Drawn(rng, repeats, game, each)
            setting = f"{orders} random orders, {game.name}"
            ours, satterthwaite, naive = drawn.sampled()
            bar = (None, None) if orders == 2 else (94.0, None)
            yield share(setting, SEEDS, "interval", ours, bar)
            yield share(setting, SEEDS, "for comparison: Satterthwaite's df", satterthwaite)
            yield share(setting, SEEDS, "for comparison: S/√M", naive)
    game = Games(5, 1.0, 1.0)
    each = rng.permuted(np.tile(np.arange(5), (repeats, 4, 1)), axis=2)
    each[:, 1] = each[:, 0, ::-1]
    ours, _, _ = _Drawn(rng, repeats, game, each).sampled()
    setting = f"an order, its reverse and two random ones, {game.name}"
    yield share(setting, SEEDS, "interval", ours, (94.0, None))


def _uneven(squares: Floats, rows: Ints) -> Bools:
    """Whether a row stands out, by Cochran's test; squares [tables, sets], 0 where none is."""
    largest = squares.max(axis=1)
    expected = (SEEDS - 1) * (1 - 1 / rows)
    rest = squares.sum(axis=1) - largest
    ratio = (largest / expected) / (rest / (expected * (rows - 1)))
    found: Bools = rows * fdtrc(SEEDS - 1, expected * (rows - 1), ratio) < UNEVEN_LEVEL
    return found & (rows > 2)


class _Drawn:
    """Tables whose rows are the sets that their orders go through; the first trick's marginals."""

    def __init__(
        self, rng: np.random.Generator, tables: int, game: Games, orders: npt.NDArray[np.int64]
    ) -> None:
        values, self.truth = game.draw(rng, tables)
        at = np.arange(tables)
        bits = 1 << orders
        place = (orders == 0).argmax(axis=2)
        before: Ints = np.where(np.arange(orders.shape[2]) < place[:, :, None], bits, 0).sum(axis=2)
        self.m = orders.shape[1]
        used = np.zeros(values.shape, dtype=bool)
        used[:, 0] = True
        prefix = np.cumsum(bits, axis=2)
        used[at[:, None, None], prefix] = True
        rows = used.sum(axis=1)
        self.df = (rows - 1) * (SEEDS - 1)
        noise = rng.standard_normal((*values.shape, SEEDS))
        means = noise.mean(axis=2)
        residual = (noise - means[:, :, None]) * used[:, :, None]
        residual -= residual.sum(axis=1, keepdims=True) / rows[:, None, None]
        squares = ((residual**2) * used[:, :, None]).sum(axis=2)
        phi = squares.sum(axis=1) / self.df
        weight = np.where(_uneven(squares, rows), LAW_UNEVEN.weight, LAW.weight)
        prior_df = np.where(_uneven(squares, rows), LAW_UNEVEN.df, LAW.df)
        b = (SEEDS - 1) / (weight + SEEDS - 1)
        by_law = 1 / ((1 - b**2) / self.df + b**2 / (SEEDS - 1))
        self.df = np.minimum(prior_df + SEEDS - 1, by_law)
        cells = values[:, :, None] + noise
        c = np.zeros(values.shape)
        for j in range(self.m):
            c[at, before[:, j] | 1] += 1 / self.m
            c[at, before[:, j]] -= 1 / self.m
        steps = cells[at[:, None], before | 1] - cells[at[:, None], before]  # [tables, m, seeds]
        self.marginals = steps.mean(axis=2)
        self.expected = (
            np.take_along_axis(values, before | 1, 1) - np.take_along_axis(values, before, 1)
        ).mean(axis=1)
        self.estimate = self.marginals.mean(axis=1)

        def squeezed(law: Floats, own: Floats) -> Floats:
            w = weight.reshape(-1, *[1] * (own.ndim - 1))
            found: Floats = (w * law + (SEEDS - 1) * own) / (w + SEEDS - 1) / SEEDS
            return found

        self.noise = squeezed(phi * (c**2).sum(axis=1), steps.mean(axis=1).var(axis=1, ddof=1))
        self.each = squeezed(2 * phi[:, None], steps.var(axis=2, ddof=1)).sum(axis=1)
        self._check(values, noise, used, before)

    def complete(self, *, ours: bool = False) -> Floats:
        """Whether the plain contrast covers the Shapley value, or the share in these orders."""
        half = stdtrit(self.df, 0.975) * np.sqrt(self.noise)
        found: Floats = np.abs(self.estimate - (self.expected if ours else self.truth)) <= half
        return found

    def sampled(self) -> tuple[Floats, Floats, Floats]:
        """Whether the Shapley value is covered: ours, with Satterthwaite's df, by S/√M."""
        df, se, spread, expected = self._sampled()
        variance = se**2
        rest = self.noise - expected / self.m
        part = np.maximum(spread, expected) / self.m
        mixed = variance**2 / (rest**2 / self.df + part**2 / (self.m - 1))
        mixed = np.where(spread > expected, mixed, self.df)
        naive = np.sqrt(spread / self.m)
        off = np.abs(self.estimate - self.truth)
        return (
            off <= stdtrit(df, 0.975) * se,
            off <= stdtrit(mixed, 0.975) * se,
            off <= float(stdtrit(self.m - 1, 0.975)) * naive,
        )

    def _sampled(self) -> tuple[Floats, Floats, Floats, Floats]:
        spread = self.marginals.var(axis=1, ddof=1)
        expected = (self.each - self.m * self.noise) / (self.m - 1)
        se = np.sqrt(self.noise + np.maximum(0, spread - expected) / self.m)
        return np.minimum(self.m - 1, self.df), se, spread, expected

    def _check(self, values: Floats, noise: Floats, used: Floats, before: Ints) -> None:
        """Raise where the package says something else of the first tables."""
        df, se, *_ = self._sampled()
        for t in range(20):
            sets = np.flatnonzero(used[t])
            row = {int(s): i for i, s in enumerate(sets)}
            fitted = stats.fit(values[t, sets, None] + noise[t, sets])
            steps = [(row[int(b) | 1], row[int(b)]) for b in before[t]]
            for complete, ours in (
                (True, (self.noise[t] ** 0.5, self.df[t])),
                (False, (se[t], df[t])),
            ):
                theirs = stats.ordering_share(fitted, steps, complete=complete)
                assert theirs is not None
                assert np.allclose(theirs.estimate, self.estimate[t])
                assert np.allclose((theirs.se, theirs.df), ours)
