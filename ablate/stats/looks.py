"""`--until resolved`: at how many seeds one looks, and how sure one is at each look.

The levels are such that all three looks together err as often as one test at 5%: whoever looks
after every seed at 5% and stops when he likes what he sees errs in 16% of null comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """A look at `seeds` seeds, whose tests and intervals are at level `alpha`."""

    seeds: int
    alpha: float


LOOKS = (Look(3, 0.005), Look(6, 0.015), Look(10, 0.030))


def looks_until(max_seeds: int) -> tuple[Look, ...]:
    """The looks that a limit of `max_seeds` leaves: later ones are dropped, levels stay.

    ValueError unless the limit is one of the looks after the first, 6 or 10.
    """
    allowed = [look.seeds for look in LOOKS[1:]]
    if max_seeds not in allowed:
        raise ValueError(f"at most {' or '.join(map(str, allowed))} seeds, not {max_seeds}")
    return tuple(look for look in LOOKS if look.seeds <= max_seeds)
