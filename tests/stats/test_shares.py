"""Shares of a few trainings, by scipy and statsmodels."""

from __future__ import annotations

import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from ablate import stats


@pytest.mark.parametrize("of", [1, 2, 3, 10, 41])
@pytest.mark.parametrize("level", [0.95, 0.985])
def test_intervals_are_clopper_and_pearsons(of, level):
    for count in range(of + 1):
        theirs = proportion_confint(count, of, alpha=1 - level, method="beta")
        ours = stats.share_interval(count, of, level=level)
        assert ours == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 3), (5, 3), (10, 7), (60, 45)])
def test_two_shares_are_compared_by_fishers_exact_test(n, m):
    for a in range(0, n + 1, max(1, n // 7)):
        for b in range(0, m + 1, max(1, m // 7)):
            theirs = scipy_stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
            assert stats.fisher_exact((a, n), (b, m)) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("share", [(4, 3), (-1, 3), (0, 0)])
def test_a_share_is_of_something(share):
    with pytest.raises(ValueError, match="a share of"):
        stats.share_interval(*share)


def test_counts_do_not_exceed_what_they_are_of():
    with pytest.raises(ValueError, match="shares of 2 in 1"):
        stats.fisher_exact((2, 1), (0, 1))
