"""Looking at results before all seeds are trained: when, and at which level.

Who looks after every seed and stops as soon as something is significant errs about three times as
often as the level says. Three looks, declared before anything is trained, at levels that add up to
5%, keep it below 5% (docs/statistics.md). Whoever declared nothing has the first look at 5%, and
for all that follow a small rest: `level_of`. Stein's two stages are for a wanted width: seeds are
computed from the noise of a first stage, never from the difference that was seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ablate.stats.fit import Contrast


@dataclass(frozen=True)
class Look:
    """After `seeds` seeds of every row, at level `alpha` for Holm, TOST and the intervals."""

    seeds: int
    alpha: float


LOOKS: tuple[Look, ...] = (Look(3, 0.005), Look(6, 0.015), Look(10, 0.030))

FIRST = 0.05  # level of the first look at a table
LATER = 0.0025  # of the second; each one after it has half the level of the one before
MOST = FIRST + 2 * LATER  # what all looks together come to, however many there are


def level_of(number: int) -> float:
    """Level of a table's look `number`, counted from 1, where no looks were planned."""
    if number < 1:
        raise ValueError("looks are counted from 1")
    return FIRST if number == 1 else LATER / 2.0 ** (number - 2)


def looks_until(max_seeds: int) -> tuple[Look, ...]:
    """The looks that a limit of `max_seeds` leaves: later ones are dropped, levels stay.

    ValueError unless the limit is one of the looks after the first, 6 or 10.
    """
    allowed = [look.seeds for look in LOOKS[1:]]
    if max_seeds not in allowed:
        raise ValueError(f"at most {' or '.join(map(str, allowed))} seeds, not {max_seeds}")
    return tuple(look for look in LOOKS if look.seeds <= max_seeds)


def look_at(seeds: int) -> Look | None:
    """The look due with exactly this many seeds; None between looks, where nothing is judged."""
    return next((look for look in LOOKS if look.seeds == seeds), None)


def next_look(seeds: int, max_seeds: int) -> Look | None:
    """The first look that takes more seeds than these; None after the last one within the limit."""
    return next((look for look in looks_until(max_seeds) if look.seeds > seeds), None)


def seeds_for_width(first: Contrast, seeds: int, half_width: float, *, level: float = 0.95) -> int:
    """Seeds in all for an interval of ± `half_width` (Stein, 1945), from a first stage of `seeds`.

    With s² the contrast's variance per seed and ν its degrees of freedom in the first stage:
    max(seeds, ⌈(t(ν)·s / half_width)²⌉). The interval is the mean over all seeds ± half_width, or
    ± t(ν)·s/√n with the first stage's s and ν (`stein_half_width`): the level then holds whatever
    the noise is. ValueError where the first stage has no standard error.
    """
    scale = _stein_scale(first, level)
    if not (half_width > 0 and math.isfinite(half_width)):
        raise ValueError("half_width: a finite number above 0")
    ratio = (scale / half_width) ** 2
    return max(seeds, math.ceil(ratio * (1 - 1e-12)))


def stein_half_width(first: Contrast, seeds: int, *, level: float = 0.95) -> float:
    """Half-width of the two-stage interval after `seeds` seeds in all: t(ν)·s/√n."""
    return _stein_scale(first, level) / math.sqrt(seeds)


def _stein_scale(first: Contrast, level: float) -> float:
    if first.variance_per_seed is None:
        raise ValueError("the first stage has no standard error: it takes two seeds or more")
    from scipy.special import stdtrit

    return float(stdtrit(first.df, 0.5 + level / 2)) * math.sqrt(first.variance_per_seed)
