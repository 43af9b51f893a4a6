"""Tricks that do nothing: how often a table claims something of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulations.balanced import judge, steps_and_total
from simulations.figures import Figure, share
from simulations.tables import Classes, Normal

BAR = (None, 5.5)


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """Four null tricks and their total; one strong trick among null ones; what others would do."""
    comparisons = steps_and_total(5)
    for source, part in (
        (Normal(), 1),
        (Normal(shared=2.0), 1),
        (Classes(10, 4000, 8, shared=0.2), 1),
        (Classes(100, 10_000, 2, shared=0.2), 5),
    ):
        for seeds in (2, 3, 5, 10):
            y = source.draw(rng, max(50, repeats // part), (0.1,) * 5, seeds)
            claims = judge(y, comparisons, source.examples).holm() < 0.05
            setting = f"four null tricks and their total, {source.name}"
            yield share(setting, seeds, "any gain or loss", claims.any(axis=1), BAR)
    # the first trick is real and takes the error from 25% to 10%: three nulls with little noise
    for source in (Normal(), Normal(shared=2.0)):
        for seeds in (3, 5, 10):
            y = source.draw(rng, repeats, (0.25, *(0.1,) * 4), seeds)
            claims = judge(y, comparisons, source.examples).holm()[:, 1:4] < 0.05
            setting = f"a strong trick, then three null ones, {source.name}"
            yield share(setting, seeds, "any false gain or loss", claims.any(axis=1), BAR)
    for seeds in (3, 5, 10):
        y = Normal(shared=2.0).draw(rng, repeats, (0.1,) * 5, seeds)
        judged = judge(y, comparisons, Normal().examples)
        setting = "for comparison: four null tricks and their total"
        any_p = (judged.p() < 0.05).any(axis=1)
        yield share(setting, seeds, "not corrected", any_p)
        base = judge(y, np.eye(5)[1:] - np.eye(5)[0], Normal().examples)
        both = (judged.holm() < 0.05).any(axis=1) | (base.holm() < 0.05).any(axis=1)
        yield share(setting, seeds, "Holm to the row above or Holm to the baseline", both)
