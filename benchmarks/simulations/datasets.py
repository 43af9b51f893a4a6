"""One effect over several data sets: coverage of the mean and of the difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import stdtrit

from ablate import stats
from simulations.balanced import Judged, judge, steps_and_total
from simulations.figures import Figure, share
from simulations.tables import Floats, Normal

BAR = (94.0, 96.0)
EFFECTS = ((0.2, 0.17), (0.1, 0.09), (0.05, 0.049))  # error rates without and with the trick


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """Tables of five rows; noise equal, or 4 and 16 times the variance of the first."""
    step = steps_and_total(5)[:1]
    for ratios, seeds in (
        ((1.0, 1.0), (3, 3)),
        ((1.0, 4.0), (3, 3)),
        ((1.0, 16.0), (2, 2)),
        ((1.0, 4.0), (5, 2)),
        ((1.0, 4.0, 16.0), (3, 3, 3)),
        ((1.0, 1.0, 1.0), (10, 10, 10)),
    ):
        tables: list[Judged] = []
        truth = []
        for ratio, n, (before, after) in zip(ratios, seeds, EFFECTS, strict=False):
            source = Normal(ratio=ratio, shared=2.0)
            y = source.draw(rng, repeats, (before, *(after,) * 4), n)
            tables.append(judge(y, step, source.examples))
            truth.append(before - after)
        noise = " : ".join(f"{r:g}" for r in ratios)
        setting = f"{len(ratios)} data sets, noise variances {noise}"
        n_text = ", ".join(map(str, seeds))
        mean = _covers(tables, [1 / len(ratios)] * len(ratios), truth)
        yield share(setting, n_text, "interval of the mean", mean, BAR)
        apart = _covers(tables[:2], (1.0, -1.0), truth[:2])
        yield share(setting, n_text, "interval of the first two's difference", apart, BAR)


def _covers(tables: Sequence[Judged], weights: Sequence[float], truth: Sequence[float]) -> Floats:
    estimate = sum(w * t.estimate[:, 0] for w, t in zip(weights, tables, strict=True))
    variances = [w * w * t.se[:, 0] ** 2 for w, t in zip(weights, tables, strict=True)]
    variance = np.sum(variances, axis=0)
    df = variance**2 / sum(v * v / t.df[:, 0] for v, t in zip(variances, tables, strict=True))
    half = stdtrit(df, 0.975) * np.sqrt(variance)
    for t in range(20):
        parts = [
            stats.Contrast(*(float(v[t, 0]) for v in (x.estimate, x.se, x.df)), None)
            for x in tables
        ]
        theirs = stats.difference(*parts) if weights[0] == 1 else stats.mean_effect(parts)
        assert theirs is not None
        assert np.allclose([estimate[t], half[t]], [theirs.delta, theirs.high - theirs.delta])
    covered: Floats = np.abs(estimate - np.dot(weights, truth)) <= half
    return covered
