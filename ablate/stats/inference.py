"""Tests over a family of comparisons, and the verdict each of them gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ablate.stats.fit import Contrast

Verdict = Literal[
    "gain", "loss", "gain, negligible", "loss, negligible", "equivalent", "unresolved"
]


@dataclass(frozen=True)
class Effect:
    """A difference with its interval; in the unit of the metric.

    low, high: the 1 − alpha interval, low_inner, high_inner: the 1 − 2·alpha one that equivalence
    uses; both uncorrected, None where the noise is unknown. p: uncorrected, p_holm: corrected over
    the family, p_equivalence: of the two one-sided tests. verdict: None outside a family.
    """

    delta: float
    se: float | None
    df: float
    low: float | None
    high: float | None
    low_inner: float | None
    high_inner: float | None
    p: float | None
    p_equivalence: float | None = None
    p_holm: float | None = None
    verdict: Verdict | None = None
    alpha: float = 0.05

    @property
    def excludes_zero(self) -> bool:
        """Whether the uncorrected interval leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given (Holm, 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


def effect(contrast: Contrast, *, margin: float | None = None, alpha: float = 0.05) -> Effect:
    """A contrast outside any family: interval and p, no verdict."""
    return _effect(contrast, margin, alpha, None, None)


def family(
    contrasts: Sequence[Contrast],
    *,
    margin: float,
    alpha: float = 0.05,
    higher_is_better: bool = True,
    waiting: int = 0,
) -> list[Effect]:
    """Judge comparisons together: Holm over all of them, then equivalence within ± margin.

    A contrast without a standard error is unresolved; it still counts in the correction. So do
    `waiting` comparisons that cannot be judged yet: who looks on while rows come in would else have
    each of them tested as if it were the last.
    """
    raw = [contrast.p_value() for contrast in contrasts]
    adjusted = holm([*(1.0 if p is None else p for p in raw), *[1.0] * waiting])[: len(raw)]
    return [
        _effect(
            contrast,
            margin,
            alpha,
            None if p is None else q,
            _verdict(contrast, q, margin, alpha, 1 if higher_is_better else -1),
        )
        for contrast, p, q in zip(contrasts, raw, adjusted, strict=True)
    ]


def _verdict(
    contrast: Contrast, p_holm: float, margin: float, alpha: float, better: int
) -> Verdict:
    p_equivalence = contrast.p_equivalence(margin)
    if p_equivalence is None:
        return "unresolved"
    within = p_equivalence < alpha  # the same as: the 1 − 2·alpha interval lies inside ± margin
    if p_holm < alpha:
        if contrast.estimate * better > 0:
            return "gain, negligible" if within else "gain"
        return "loss, negligible" if within else "loss"
    return "equivalent" if within else "unresolved"


def _effect(
    contrast: Contrast,
    margin: float | None,
    alpha: float,
    p_holm: float | None,
    verdict: Verdict | None,
) -> Effect:
    low, high = contrast.interval(1 - alpha) or (None, None)
    low_inner, high_inner = contrast.interval(1 - 2 * alpha) or (None, None)
    return Effect(
        delta=contrast.estimate,
        se=contrast.se,
        df=contrast.df,
        low=low,
        high=high,
        low_inner=low_inner,
        high_inner=high_inner,
        p=contrast.p_value(),
        p_equivalence=None if margin is None else contrast.p_equivalence(margin),
        p_holm=p_holm,
        verdict=verdict,
        alpha=alpha,
    )
