"""The smallest detectable effect: how often an effect of just that size is found. And Stein's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import chdtri, stdtrit

from ablate import stats
from simulations.balanced import judge, steps_and_total
from simulations.figures import Figure, share
from simulations.tables import IMAGENETTE, Floats, Normal

SIZES = ("2.49", "1.50", "1.00", ".63")  # of 2, 3, 5 and 10 seeds, as docs/statistics.md has them


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """One trick of the size that `plan` names, among null ones, errors near 10% on Imagenette."""
    comparisons, sizes = steps_and_total(5), []
    for seeds in (2, 3, 5, 10):
        se = stats.expected_noise(0.1, IMAGENETTE) * (2 / seeds) ** 0.5
        size = stats.smallest_detectable(se, stats.degrees_of_freedom(5, seeds), 5)
        assert size is not None
        sizes.append(f"{100 * size:.2f}".lstrip("0"))
        errors = (0.1 + size / 2, 0.1 + size / 2, *(0.1 - size / 2,) * 3)
        y = Normal(shared=2.0).draw(rng, repeats, errors, seeds)
        found = judge(y, comparisons, IMAGENETTE).holm()[:, 1] < 0.05
        setting = f"a trick of the smallest detectable size, {', '.join(SIZES)} points at 10% error"
        # Holm is no weaker than the level alpha / 5 that the size is computed for
        yield share(setting, seeds, "found", found, (79.0, None))
    assert tuple(sizes) == SIZES
    for first in (2, 3, 5):
        yield from _needed(rng, repeats, first)
    for first in (2, 3, 5):
        for noise in (0.3, 1.0, 3.0):
            yield _stein(rng, repeats, first, noise)


NEED = 11  # seeds, in truth


def _needed(rng: np.random.Generator, repeats: int, pilot: int) -> Iterator[Figure]:
    """Seeds that a margin takes, from a pilot's noise: are they enough, as 80% power has it?"""
    seen = [
        stats.smallest_detectable(n**-0.5, stats.degrees_of_freedom(5, n), 5)
        for n in range(2, stats.MANY_SEEDS + 1)
    ]
    reach = np.array([s for s in seen if s is not None])  # at a variance of 1 a seed
    margin = 2**0.5 * reach[NEED - 2]
    judged = judge(rng.standard_normal((repeats, 5, pilot)), steps_and_total(5)[:1], None)
    variance, df = judged.se[:, 0] ** 2 * pilot, judged.df[:, 0]

    def needed(each: Floats) -> Floats:
        found: Floats = 2 + np.searchsorted(-reach, -margin / np.sqrt(each))
        return found

    high = needed(variance * df / chdtri(df, 0.9))
    told = stats.seeds_range(float(variance[0]), float(df[0]), 5, 5, margin)
    assert told is not None
    assert high[0] == (told.high or stats.MANY_SEEDS + 1)
    setting = f"seeds for the margin from a pilot, truly {NEED}"
    yield share(setting, pilot, "the upper end has 80% power", high >= NEED, (88.0, None))
    plain = needed(variance) >= NEED
    yield share(setting, pilot, "for comparison: the plain number has 80% power", plain)


def _stein(rng: np.random.Generator, repeats: int, first: int, noise: float) -> Figure:
    """Two stages of a table of five rows: the mean of all seeds, ± t(f)·s/√n of the first stage.

    The first stage has a little more evidence than its f degrees of freedom: more than 95%.
    """
    y = noise * rng.standard_normal((repeats, 5, first))
    judged = judge(y, steps_and_total(5)[:1], None)
    s = judged.se[:, 0] * first**0.5
    df = judged.df[:, 0]
    t = stdtrit(df, 0.975)
    n = np.maximum(first, np.ceil((t * s / 1.5) ** 2))
    later = rng.standard_normal(repeats) * noise * 2**0.5 * np.sqrt(n - first)
    mean = (first * judged.estimate[:, 0] + later) / n
    example = stats.Contrast(0.0, float(judged.se[0, 0]), float(df[0]), float(s[0] ** 2))
    assert stats.seeds_for_width(example, first, 1.5) == n[0]
    setting = f"Stein's two stages for ± 1.5, noise of a run {noise:g}"
    covered = np.abs(mean) <= t * s / np.sqrt(n)
    return share(setting, first, "interval", covered, (94.0, None))
