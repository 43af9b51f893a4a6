"""The declared looks, and Stein's two stages against his own formula and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from ablate import stats


def test_the_declared_looks():
    declared = (stats.Look(3, 0.005), stats.Look(6, 0.015), stats.Look(10, 0.03))
    assert declared == stats.LOOKS
    assert sum(look.alpha for look in stats.LOOKS) == pytest.approx(0.05)


def test_a_lower_limit_drops_later_looks_and_keeps_their_levels():
    assert stats.looks_until(10) == stats.LOOKS
    assert stats.looks_until(6) == stats.LOOKS[:2]
    for limit in (0, 3, 5, 7, 20):
        with pytest.raises(ValueError, match="6 or 10"):
            stats.looks_until(limit)


@pytest.mark.parametrize(
    ("seeds", "limit", "now", "then"),
    [
        *((0, 10, None, 3), (2, 10, None, 3), (3, 10, 3, 6), (4, 6, None, 6), (6, 6, 6, None)),
        *((6, 10, 6, 10), (10, 10, 10, None), (12, 10, None, None)),
    ],
)
def test_which_look_is_due(seeds, limit, now, then):
    due, coming = stats.look_at(seeds), stats.next_look(seeds, limit)
    assert (due and due.seeds) == now
    assert (coming and coming.seeds) == then


def test_stein_is_the_first_stage_variance_at_the_first_stage_t():
    d = np.array([0.004, -0.001, 0.0085, 0.002, 0.003])
    first = stats.fit(np.stack([np.full(5, 0.9), 0.9 + d])).difference(1, 0)
    s = d.std(ddof=1)
    t = scipy_stats.t.ppf(0.975, 4)
    for width in (0.0005, 0.001, 0.002):
        assert stats.seeds_for_width(first, 5, width) == math.ceil((t * s / width) ** 2)
    assert stats.seeds_for_width(first, 5, 1.0) == 5
    n = stats.seeds_for_width(first, 5, 0.001)
    assert stats.stein_half_width(first, n) <= 0.001 < stats.stein_half_width(first, n - 1)
    at_90 = scipy_stats.t.ppf(0.95, 4)
    assert stats.seeds_for_width(first, 5, 0.001, level=0.9) == math.ceil((at_90 * s / 0.001) ** 2)


def test_stein_covers_whatever_the_noise_is():
    """4,000 two-stage studies of two rows: mean of all seeds ± the wanted width covers 95%."""
    rng = np.random.default_rng(11)
    covered = []
    for sd in np.repeat([0.3, 1.0, 2.0], 1333):
        d = rng.normal(0, sd * 2**0.5, 3)
        first = stats.Contrast(float(d.mean()), d.std(ddof=1) / 3**0.5, 2, float(d.var(ddof=1)))
        n = stats.seeds_for_width(first, 3, 2.0)
        rest = rng.normal(0, sd * (2 / (n - 3)) ** 0.5) if n > 3 else 0.0
        mean = (d.sum() + (n - 3) * rest) / n
        covered.append(abs(mean) <= stats.stein_half_width(first, n))
    assert np.mean(covered) == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 4000) ** 0.5)


def test_a_width_takes_a_first_stage_with_a_standard_error():
    single = stats.fit([[0.9], [0.91]]).difference(1, 0)
    with pytest.raises(ValueError, match="two seeds"):
        stats.seeds_for_width(single, 1, 0.01)
    pair = stats.fit([[0.9, 0.92], [0.91, 0.95]]).difference(1, 0)
    for width in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="half_width"):
            stats.seeds_for_width(pair, 2, width)


def test_looks_that_were_not_planned_leave_half_a_percent_together():
    assert [stats.level_of(n) for n in (1, 2, 3, 4)] == [0.05, 0.0025, 0.00125, 0.000625]
    assert sum(stats.level_of(n) for n in range(1, 60)) == pytest.approx(stats.MOST)
    assert sum(look.alpha for look in stats.LOOKS) + stats.level_of(2) * 2 <= stats.MOST + 1e-12
    with pytest.raises(ValueError, match="from 1"):
        stats.level_of(0)
