"""One seed: what useless tricks look like, and what the printed band covers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ablate import stats
from simulations.figures import Figure, share
from simulations.tables import IMAGENETTE, Classes, Normal, Source


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """Four useless tricks on Imagenette at 10% error; noise of a run over err/2N .7, 1, 2, 4."""
    for ratio in (0.7, 1.0, 2.0, 4.0):
        setting = f"four useless tricks, noise {ratio:g} × err/2N"
        yield from _table(rng, repeats, Normal(ratio=ratio), setting)
    own = Classes(10, 4000, 8)
    yield from _table(rng, max(50, repeats // 2), own, f"four useless tricks, {own.name}")


def _table(
    rng: np.random.Generator, repeats: int, source: Source, setting: str
) -> Iterator[Figure]:
    y = source.draw(rng, repeats, (0.1,) * 5, 1)[:, :, 0]
    steps = np.diff(y, axis=1)
    yield share(setting, 1, "a row beyond ± .5 points", (np.abs(steps) > 0.005).any(axis=1))
    largest = np.abs(steps).max(axis=1)
    yield share(setting, 1, "a row beyond ± 1 point", largest > 0.01)
    band = stats.rerun_band(0.1, 0.1, source.examples if source.examples else IMAGENETTE)
    yield share(setting, 1, "Δ within the band of re-running", np.abs(steps) <= band)
