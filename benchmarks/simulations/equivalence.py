"""Tricks exactly at the margin's edge: how often "equivalent" or "negligible" is said of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ablate.stats import LOOKS
from simulations.balanced import judge, steps_and_total
from simulations.figures import Figure, share
from simulations.tables import Classes, Normal, Source

BAR = (None, 5.5)
SAID = "a comparison said to be within"


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """Four tricks that each bring the margin; margins of half a point and of two."""
    steps = steps_and_total(5)[:-1]
    sources: tuple[tuple[Source, int], ...] = (
        (Normal(), 1),
        (Normal(shared=2.0), 1),
        (Classes(10, 4000, 8, shared=0.2), 2),
    )
    for source, part in sources:
        tables = max(50, repeats // part)
        for margin in (0.005, 0.02):
            errors = tuple(0.14 - margin * i for i in range(5))
            setting = f"tricks of exactly the margin, {100 * margin:g} points, {source.name}"
            y = source.draw(rng, tables, errors, 10)
            for seeds in (2, 3, 5, 10):
                judged = judge(y[:, :, :seeds], steps, source.examples)
                within = judged.p_equivalence(margin) < 0.05
                yield share(setting, seeds, SAID, within, BAR)
                yield share(setting, seeds, "any of the four", within.any(axis=1))
            each = [
                judge(y[:, :, : look.seeds], steps, source.examples).p_equivalence(margin)
                < look.alpha
                for look in LOOKS
            ]
            yield share(setting, "3, 6, 10", SAID, np.any(each, axis=0), BAR)
