"""Axes: a range that holds all values, round ticks, places as shares of the width."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ablate.report import numbers


@dataclass(frozen=True)
class Axis:
    """A range in the unit printed. ticks: round numbers inside it. decimals: that they need."""

    low: float
    high: float
    ticks: tuple[float, ...]
    decimals: int

    def at(self, value: float) -> float:
        """0 at the low end, 1 at the high one; values outside it are outside."""
        return (value - self.low) / (self.high - self.low)

    def label(self, tick: float, *, signed: bool = False) -> str:
        """A tick's text: "90", "+1", "0.5"."""
        tick = tick + 0.0 if abs(tick) > 1e-12 else 0.0
        text = numbers.signed if signed else numbers.fixed
        return "0" if tick == 0 and signed else text(tick, self.decimals)


def axis(values: Iterable[float], *, most: int = 6, pad: float = 0.05) -> Axis:
    """An axis with at most about `most` ticks and `pad` of its length free at either end.

    Without a finite value, or with equal ones, it is as long as is sensible around them.
    """
    known = [v for v in values if math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high - low <= 1e-9 * max(1.0, abs(high), abs(low)):
        half = abs(high) * 0.1 or 1.0
        low, high = low - half, high + half
    room = (high - low) * pad
    return between(low - room, high + room, most=most)


def between(low: float, high: float, *, most: int = 6) -> Axis:
    """An axis that ends exactly there."""
    step = round_step((high - low) / most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = tuple(i * step for i in range(first, last + 1))
    return Axis(low, high, ticks, decimals_of(step))


def decimals_of(step: float) -> int:
    """Decimals that multiples of a round step need."""
    return max(0, -math.floor(math.log10(step) + 1e-9))


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, … (and tenths of them) that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10, 20) if m * power >= least * (1 - 1e-9))
