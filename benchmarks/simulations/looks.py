"""Stopping early: type I error over the declared looks, and what peeking would do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ablate.stats import LOOKS, looks_until
from simulations.balanced import Bools, Judged, judge, steps_and_total
from simulations.figures import Figure, share
from simulations.tables import Classes, Floats, Normal, Source

BAR = (None, 5.0)
MARGIN = 0.005


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """Four null tricks and their total, judged at each look; stopped when all are resolved."""
    comparisons = steps_and_total(5)
    sources: tuple[tuple[Source, int], ...] = (
        (Normal(), 1),
        (Normal(shared=2.0), 1),
        (Classes(10, 4000, 8, shared=0.2), 2),
    )
    for source, part in sources:
        y = source.draw(rng, max(50, repeats // part), (0.1,) * 5, LOOKS[-1].seeds)
        at = {n: judge(y[:, :, :n], comparisons, source.examples) for n in range(2, 11)}
        setting = f"four null tricks and their total, {source.name}"
        for limit in (6, 10):
            looks = looks_until(limit)
            claimed = np.array([(at[n.seeds].holm() < n.alpha).any(axis=1) for n in looks])
            seeds = ", ".join(str(n.seeds) for n in looks)
            yield share(setting, seeds, "any gain or loss at any look", claimed.any(axis=0), BAR)
            yield share(
                setting, seeds, "any gain or loss where it stopped", _stopped(at, limit), BAR
            )
        for first in (2, 3):
            peeks = [(at[n].holm() < 0.05).any(axis=1) for n in range(first, 11)]
            what = "for comparison: Holm at .05 after every seed"
            yield share(setting, f"{first} to 10", what, np.any(peeks, axis=0))
    yield from _printed(rng, repeats, comparisons)


def _stopping_look(at: dict[int, Judged], limit: int) -> tuple[Floats, Bools]:
    """The look (its index) at which every comparison is resolved, or the last; and the claims."""
    looks = looks_until(limit)
    tables = len(at[looks[0].seeds].estimate)
    where = np.full(tables, len(looks) - 1.0)
    claims = np.zeros(tables, dtype=bool)
    for i in reversed(range(len(looks))):
        judged = at[looks[i].seeds]
        significant = judged.holm() < looks[i].alpha
        resolved = significant | (judged.p_equivalence(MARGIN) < looks[i].alpha)
        here = resolved.all(axis=1) | (i == len(looks) - 1)
        where = np.where(here, i, where)
        claims = np.where(here, significant.any(axis=1), claims)
    return where, claims


def _stopped(at: dict[int, Judged], limit: int) -> Bools:
    return _stopping_look(at, limit)[1]


def _printed(rng: np.random.Generator, repeats: int, comparisons: Floats) -> Iterator[Figure]:
    """The interval that is printed, at the level of the look where the study stopped."""
    source = Normal(shared=2.0)
    errors = (0.12, 0.11, 0.1, 0.1, 0.1)
    truth = comparisons @ (1 - np.array(errors))
    y = source.draw(rng, repeats, errors, 10)
    at = {look.seeds: judge(y[:, :, : look.seeds], comparisons, source.examples) for look in LOOKS}
    where, _ = _stopping_look(at, 10)
    covered = np.zeros((repeats, 5), dtype=bool)
    for i, look in enumerate(LOOKS):
        covered = np.where(
            (where == i)[:, None], at[look.seeds].covers(truth, 1 - look.alpha), covered
        )
    setting = f"two tricks of 1 point and two null ones, {source.name}"
    yield share(setting, "3, 6, 10", "printed intervals cover", covered, (95.0, None))
