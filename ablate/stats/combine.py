"""Effects from independent tables (several data sets), put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.stats.fit import Contrast
from ablate.stats.inference import Verdict, holm


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


@dataclass(frozen=True)
class OnAll:
    """What holds on every one of several data sets, each by itself."""

    p_holm: float
    verdict: Verdict


def on_all(
    families: Sequence[Sequence[Contrast]],
    *,
    margin: float,
    alpha: float = 0.05,
    higher_is_better: bool = True,
) -> list[OnAll | None]:
    """Of each comparison, the same on every data set, what holds on all of them.

    families: [comparisons][data sets]. "Gain on all" is claimed where every data set's own test
    rejects in that direction: an intersection–union test, whose p is the largest one and needs no
    correction for the number of data sets (Berger, 1982); Holm's corrects over the comparisons.
    None where a data set has no standard error.
    """
    known = [all(c.se is not None for c in each) and bool(each) for each in families]
    largest = [
        _largest_p(each) if fine else 1.0 for each, fine in zip(families, known, strict=True)
    ]
    found: list[OnAll | None] = []
    for each, fine, p in zip(families, known, holm(largest), strict=True):
        if not fine:
            found.append(None)
            continue
        within = max(c.p_equivalence(margin) or 0.0 for c in each) < alpha
        word: Verdict = "equivalent" if within else "unresolved"
        if p < alpha:
            gains = (each[0].estimate > 0) == higher_is_better
            word = "gain" if gains else "loss"
            if within:
                word = "gain, negligible" if gains else "loss, negligible"
        found.append(OnAll(p, word))
    return found


def _largest_p(contrasts: Sequence[Contrast]) -> float:
    """Of the two-sided tests, 1 where the data sets do not agree in direction."""
    if len({c.estimate > 0 for c in contrasts}) > 1:
        return 1.0
    return max(p if (p := c.p_value()) is not None else 1.0 for c in contrasts)


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
