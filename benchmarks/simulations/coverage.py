"""Intervals of a table's five comparisons: how often the truth is in them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ablate import stats
from simulations.balanced import judge, steps_and_total
from simulations.figures import Figure, share
from simulations.tables import Classes, Floats, Normal, Source

SEEDS = (2, 3, 5, 10)
EQUAL = (0.1,) * 5
APART = (0.2, 0.16, 0.128, 0.1, 0.08)  # 2.5 times
BAR = (94.0, 96.0)


def sources() -> tuple[tuple[Source, int], ...]:
    """Where tables come from, and the part of the repeats that each can have."""
    return (
        (Normal(), 1),
        (Normal(shared=2.0), 1),
        (Classes(10, 4000, 8), 1),
        (Classes(10, 4000, 8, shared=0.2), 1),
        (Classes(100, 10_000, 2), 5),
        (Classes(100, 10_000, 2, shared=0.2), 5),
        (Classes(1000, 50_000, 1, shared=0.2), 8),
    )


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """Coverage of 95% intervals, all comparisons together and the worst one."""
    comparisons = steps_and_total(5)
    for source, part in sources():
        for label, errors in (("equal errors", EQUAL), ("errors 2.5 × apart", APART)):
            truth = comparisons @ (1 - np.array(errors))
            for seeds in SEEDS:
                y = source.draw(rng, max(50, repeats // part), errors, seeds)
                covered = judge(y, comparisons, source.examples).covers(truth)
                setting = f"{source.name}, {label}"
                yield share(setting, seeds, "all five intervals", covered, BAR)
                worst = int(np.abs(covered.mean(axis=0) - 0.95).argmax())
                yield share(setting, seeds, "the worst of five", covered[:, worst])
    yield from _other_laws(rng, repeats, comparisons)
    yield from _missing(rng, max(50, repeats // 10))
    yield from _bootstrap(rng, max(50, repeats // 4))


def _other_laws(rng: np.random.Generator, repeats: int, comparisons: Floats) -> Iterator[Figure]:
    """Noise that does not follow the assumed √e."""
    truth = comparisons @ (1 - np.array(APART))
    for exponent in (0.0, 1.0):
        source = Normal(shared=2.0, exponent=exponent)
        for seeds in (3, 10):
            judged = judge(source.draw(rng, repeats, APART, seeds), comparisons, source.examples)
            covered = judged.covers(truth)
            worst = int(np.abs(covered.mean(axis=0) - 0.95).argmax())
            setting = f"{source.name}, errors 2.5 × apart"
            yield share(setting, seeds, "all five intervals", covered)
            yield share(setting, seeds, "the worst of five", covered[:, worst])


def _missing(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """A diverged cell in every table, through the package's own general fit."""
    source = Normal(shared=2.0)
    comparisons = steps_and_total(5)
    truth = comparisons @ (1 - np.array(APART))
    for seeds in (2, 3, 5):
        y = source.draw(rng, repeats, APART, seeds)
        y[np.arange(repeats), rng.integers(5, size=repeats), rng.integers(seeds, size=repeats)] = (
            np.nan
        )
        covered = np.zeros((repeats, 5))
        for t, table in enumerate(y):
            errors = stats.error_rates(table, accuracy=True, examples=source.examples)
            fitted = stats.fit(table, errors)
            for i, c in enumerate(comparisons):
                contrast = fitted.contrast(c)
                bounds = None if contrast is None else contrast.interval()
                assert bounds is not None
                covered[t, i] = bounds[0] <= truth[i] <= bounds[1]
        setting = f"{source.name}, errors 2.5 × apart, a random cell missing"
        yield share(setting, seeds, "all five intervals", covered, BAR)


def _bootstrap(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """What is not used: the percentile bootstrap over seeds of the difference of two rows."""
    for seeds in (3, 5, 10):
        d = rng.standard_normal((repeats, seeds))
        means = np.empty((repeats, 1000))
        for b in range(means.shape[1]):
            means[:, b] = np.take_along_axis(d, rng.integers(seeds, size=d.shape), 1).mean(axis=1)
        low, high = np.quantile(means, (0.025, 0.975), axis=1)
        setting = "for comparison: percentile bootstrap over seeds, two rows"
        yield share(setting, seeds, "interval", (low <= 0) & (high >= 0))
