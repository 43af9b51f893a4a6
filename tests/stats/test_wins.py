"""How often a row wins a new seed: the noncentral t of scipy, and coverage of a known share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats

from ablate import stats


@pytest.mark.parametrize("case", range(6))
def test_the_interval_is_that_of_the_effect_size(case):
    rng = np.random.default_rng(case)
    n = 3 + case
    d = rng.normal(0.004 * case, 0.01, n)
    found = stats.wins(stats.fit(np.stack([np.full(n, 0.9), 0.9 + d])).difference(1, 0))
    t = scipy_stats.ttest_1samp(d, 0).statistic
    assert found.share == pytest.approx(scipy_stats.norm.cdf(d.mean() / d.std(ddof=1)))
    for end, p in ((found.low, 0.975), (found.high, 0.025)):
        shift = optimize.brentq(lambda nc, p=p: scipy_stats.nct.cdf(t, n - 1, nc) - p, -15, 15)
        assert end == pytest.approx(scipy_stats.norm.cdf(shift / n**0.5), abs=1e-5)


def test_where_lower_is_better_it_is_the_other_side():
    d = np.array([0.1, 0.3, -0.05, 0.2])
    contrast = stats.fit(np.stack([np.full(4, 2.0), 2.0 + d])).difference(1, 0)
    more, less = (stats.wins(contrast, higher_is_better=h) for h in (True, False))
    assert (less.share, less.low, less.high) == pytest.approx(
        (1 - more.share, 1 - more.high, 1 - more.low), abs=1e-6
    )


def test_without_noise_nothing_is_said():
    assert stats.wins(stats.fit([[0.9], [0.91]]).difference(1, 0)) is None
    agreeing = stats.fit([[0.90, 0.91, 0.93], [0.91, 0.92, 0.94]]).difference(1, 0)
    assert stats.wins(agreeing) is None


@pytest.mark.parametrize("effect", [0.0, 1.0, 2.5])
def test_the_interval_covers_the_share(effect):
    """Of tables of five rows, 600 of them, whose first trick wins Φ(effect/√2) of new seeds."""
    rng = np.random.default_rng(3)
    truth = scipy_stats.norm.cdf(effect / 2**0.5)
    held = 0
    for _ in range(600):
        y = rng.normal(size=(5, 4)) + rng.normal(size=4)
        y[1:] += effect
        found = stats.wins(stats.fit(y).difference(1, 0))
        held += found.low <= truth <= found.high
    assert held / 600 == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 600) ** 0.5)
