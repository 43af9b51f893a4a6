"""`tune`: useless tricks whose rows choose a learning rate, each seed for itself or once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulations.balanced import Bools, judge, steps_and_total
from simulations.figures import Figure, share
from simulations.tables import Floats, Normal

BAR = (None, 5.5)
ERROR = 0.1  # of every row at its best setting
LOSSES = (0.003, 0.006, 0.012)  # at the settings to either side of the best
TENTHS = (300, 947)  # images: of a small data set, of Imagenette
TEST = Normal(shared=2.0)


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """Three settings, the middle one best, chosen by one training of each on a held-out tenth."""
    for loss in LOSSES:
        for tenth in TENTHS:
            setting = f"{100 * loss:g} points lost beside the best rate, tenth of {tenth:,} images"
            for seeds in (3, 5, 10):
                found = claims(rng, repeats, 2, seeds, loss, tenth)
                yield share(setting, seeds, "a useless trick, each seed chooses", found, BAR)
                found = claims(rng, max(50, repeats // 2), 5, seeds, loss, tenth)
                yield share(setting, seeds, "four and their total, each seed chooses", found, BAR)
                found = claims(rng, repeats, 2, seeds, loss, tenth, once=True)
                what = "for comparison: a useless trick, chosen once"
                yield share(setting, seeds, what, found)


def claims(
    rng: np.random.Generator,
    tables: int,
    rows: int,
    seeds: int,
    loss: float,
    tenth: int,
    *,
    once: bool = False,
) -> Bools:
    """Whether a table of rows that are all alike claims a gain or a loss, [tables]."""
    losses = np.array([loss, 0.0, loss])
    chosen = _chosen(rng, tables * rows, 1 if once else seeds, losses, tenth)
    lost = losses[chosen].reshape(tables, rows, -1)
    y = TEST.draw(rng, tables, (ERROR,) * rows, seeds) - lost
    comparisons = np.array([[-1.0, 1.0]]) if rows == 2 else steps_and_total(rows)
    found: Bools = (judge(y, comparisons, TEST.examples).holm() < 0.05).any(axis=1)
    return found


def _chosen(
    rng: np.random.Generator, rows: int, seeds: int, losses: Floats, tenth: int
) -> np.ndarray:
    """The best setting on the tenth, the first of equals, [rows, seeds]."""
    tried = Normal(examples=tenth).draw(rng, rows, tuple(ERROR + losses), seeds)
    right = np.round(tried * tenth)  # images, so that two settings can be equal
    return right.argmax(axis=1)
