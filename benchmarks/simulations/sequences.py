"""Looking again: how many sequences of commands claim something of useless tricks.

A table is judged, and where something is open, judged again with more seeds: as `ablate` counts its
looks, and as if each look were the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ablate.stats import LOOKS, level_of
from simulations.balanced import Bools, Judged, judge, steps_and_total
from simulations.figures import Figure, share
from simulations.tables import Classes, Normal, Source

BAR = (None, 5.5)
MARGIN = 0.005
MOST = 20  # seeds
SUGGESTED = ((3, 10, 20), (2, 10, 20), (5, 10, 20))  # what the Next lines say, one after the other
OTHERS = ((3, 5, 10, 20), (2, 3, 5, 10, 20))  # what a person may do
NAMES = {
    5: "four null tricks and their total",
    2: "one null trick",
}


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """Tables of five rows and of two, whose rows are all equal."""
    sources: tuple[tuple[Source, int], ...] = (
        (Normal(), 1),
        (Normal(shared=2.0), 1),
        (Classes(10, 4000, 8, shared=0.2), 2),
    )
    for source, part in sources:
        for rows, name in NAMES.items():
            comparisons = steps_and_total(rows) if rows > 2 else np.array([[-1.0, 1.0]])
            # one comparison errs in just 5% at the first look: more tables, to tell it from 5.5
            tables = max(50, repeats // part) * (4 if rows == 2 else 1)
            y = source.draw(rng, tables, (0.1,) * rows, MOST)
            counts = sorted({n for seeds in (*SUGGESTED, *OTHERS) for n in seeds} | {6})
            at = {n: judge(y[:, :, :n], comparisons, source.examples) for n in counts}
            yield from _sequences(f"{name}, {source.name}", at)


def _sequences(setting: str, at: dict[int, Judged]) -> Iterator[Figure]:
    for seeds in SUGGESTED:
        levels = [level_of(number) for number in range(1, len(seeds) + 1)]
        told = ", ".join(map(str, seeds))
        what = "any claim, looks counted, while something is open"
        yield share(setting, told, what, _claimed(at, seeds, levels, while_open=True), BAR)
    for seeds in (*SUGGESTED, *OTHERS):
        levels = [level_of(number) for number in range(1, len(seeds) + 1)]
        told = ", ".join(map(str, seeds))
        what = "any claim, looks counted, at every look"
        yield share(setting, told, what, _claimed(at, seeds, levels, while_open=False), BAR)
    for seeds in (*SUGGESTED, OTHERS[0]):
        told = ", ".join(map(str, seeds))
        what = "for comparison: any claim, each look at .05"
        yield share(setting, told, what, _claimed(at, seeds, [0.05] * 9, while_open=True))
    then = [0.05, *(look.alpha for look in LOOKS)]
    what = "for comparison: any claim, three seeds at .05, then the planned looks"
    claimed = _claimed(at, (3, *(look.seeds for look in LOOKS)), then, while_open=True)
    yield share(setting, "3, then 3, 6, 10", what, claimed)


def _claimed(
    at: dict[int, Judged], seeds: Sequence[int], levels: Sequence[float], *, while_open: bool
) -> Bools:
    """Whether a table claims a gain or a loss at any of its looks; the next follows where
    something is open, or always."""
    going = np.ones(len(at[seeds[0]].estimate), dtype=bool)
    claimed = np.zeros_like(going)
    for n, level in zip(seeds, levels, strict=False):
        significant = at[n].holm() < level
        claimed |= going & significant.any(axis=1)
        if while_open:
            within = _equivalent(at[n], level)
            going &= ~(significant | within).all(axis=1)
    return claimed


def _equivalent(judged: Judged, level: float) -> Bools:
    found: Bools = judged.p_equivalence(MARGIN) < level
    return found
