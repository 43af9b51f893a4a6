"""Ratios of times on a machine whose speed drifts: coverage by the order of work."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from ablate import stats
from ablate.design.ordering import work_order
from simulations.figures import Figure, share
from simulations.tables import Floats

ROWS = 5
TRIED = 2_000  # tables of a setting: each is fitted by itself
# What a trial's log time moves by from the last one's: by chance (standard deviation), and always.
# noise: standard deviation of its own. low, high: the bar of the order that is taken.
WORLDS = (
    # walk, steady, noise, low, high
    (0.0, 0.0, 0.01, 94.0, 96.0),
    (0.01, 0.0, 0.005, 93.0, None),
    (0.01, 0.0, 0.01, 93.0, None),
    (0.01, 0.0, 0.02, 93.0, None),
    (0.0, 0.005, 0.01, 93.0, None),
)


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """Cumulative tables of five rows that all cost the same: every step, and the total."""
    tables = min(repeats, TRIED)
    for walk, steady, noise, low, high in WORLDS:
        moves = [f"walk of {100 * walk:g}% a trial"] * (walk > 0)
        moves += [f"{100 * steady:g}% slower each trial"] * (steady > 0)
        setting = f"{' and '.join(moves) or 'no drift'}, noise {100 * noise:g}%"
        for order, places, bar in (
            ("seed by seed", _by_seeds, (low, high)),
            ("row by row, as it was", _by_rows, (None, None)),
        ):
            if not moves and places is _by_rows:
                continue
            for seeds in (3, 5, 10):
                drift = walk * rng.standard_normal((tables, ROWS * seeds)).cumsum(axis=1)
                drift += steady * np.arange(ROWS * seeds)
                own = noise * rng.standard_normal((tables, ROWS, seeds))
                covers = _covers(np.exp(drift[:, places(seeds)] + own))
                yield share(setting, seeds, f"steps, {order}", covers[:, :-1], bar)
                yield share(setting, seeds, f"total, {order}", covers[:, -1:], bar)


def _by_seeds(seeds: int) -> Any:
    """[rows, seeds]: when each trial's turn is, by the order that `ablate run` takes."""
    keys = [tuple(f"{row}-{seed}" for seed in range(seeds)) for row in range(ROWS)]
    no = (False,) * seeds
    rows = [SimpleNamespace(keys=each, tuning=(), trained=each, open=no) for each in keys]
    trials = {key: SimpleNamespace(teacher=None) for each in keys for key in each}
    table = SimpleNamespace(rows=rows, seeds=range(seeds))
    order: Any = work_order([table], trials)  # type: ignore[list-item, arg-type]
    return np.array([[order.index(key) for key in each] for each in keys])


def _by_rows(seeds: int) -> Any:
    """The same where a row's other seeds come one after another: what it was once."""
    first, rest = np.arange(ROWS)[:, None], np.arange(ROWS * (seeds - 1)).reshape(ROWS, -1)
    return np.concatenate([first, ROWS + rest], axis=1)


def _covers(times: Floats) -> Any:
    """[tables, comparisons] whether the interval of a ratio, which is 1, holds it."""
    pairs = [*((row, row - 1) for row in range(1, ROWS)), (ROWS - 1, 0)]
    found = []
    for table in times:
        fitted = stats.time_fit(table)
        ratios = [stats.time_ratio(fitted, *pair) for pair in pairs]
        found.append([r.low <= 1 <= r.high for r in ratios if r and r.low and r.high])
    return np.array(found)
