"""Few test images and few errors, as with `digits`: counts are small and far from normal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulations.balanced import judge, steps_and_total
from simulations.figures import Figure, share
from simulations.tables import Classes

EQUAL = (0.03,) * 5
APART = (0.05, 0.04, 0.032, 0.025, 0.02)  # 2.5 times


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """360 images in 10 classes: intervals, and claims about four null tricks."""
    comparisons = steps_and_total(5)
    for shared in (0.0, 0.2):
        source = Classes(10, 360, 4, shared=shared)
        for seeds in (2, 3, 5, 10):
            y = source.draw(rng, max(50, repeats // 2), APART, seeds)
            covered = judge(y, comparisons, source.examples).covers(
                comparisons @ (1 - np.array(APART))
            )
            setting = f"{source.name}, errors 5% to 2%"
            yield share(setting, seeds, "all five intervals", covered, (94.0, 96.0))
            y = source.draw(rng, max(50, repeats // 2), EQUAL, seeds)
            claims = judge(y, comparisons, source.examples).holm() < 0.05
            setting = f"four null tricks and their total, {source.name}, error 3%"
            yield share(setting, seeds, "any gain or loss", claims.any(axis=1), (None, 5.5))
