"""Effects from independent tables (several data sets), put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.stats.fit import Contrast


@dataclass(frozen=True)
class MeanEffect:
    """A sum of effects of independent tables, "on these data sets"; df by Satterthwaite."""

    delta: float
    se: float
    df: float
    low: float
    high: float


def mean_effect(contrasts: Sequence[Contrast], *, level: float = 0.95) -> MeanEffect | None:
    """The mean of one effect over data sets; None if one of them has no standard error."""
    return _combined([(1 / len(contrasts), c) for c in contrasts], level)


def difference(first: Contrast, second: Contrast, *, level: float = 0.95) -> MeanEffect | None:
    """How much larger an effect is on one data set than on another."""
    return _combined([(1.0, first), (-1.0, second)], level)


def _combined(terms: Sequence[tuple[float, Contrast]], level: float) -> MeanEffect | None:
    from scipy.special import stdtrit

    parts = [(w * w * c.se * c.se, c.df) for w, c in terms if c.se is not None]
    if not terms or len(parts) < len(terms):
        return None
    variance = sum(v for v, _ in parts)
    df = variance**2 / sum(v * v / d for v, d in parts)
    delta = sum(w * c.estimate for w, c in terms)
    half = float(stdtrit(df, 0.5 + level / 2)) * variance**0.5
    return MeanEffect(delta, variance**0.5, df, delta - half, delta + half)
