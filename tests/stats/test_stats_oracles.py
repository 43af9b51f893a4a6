"""The same numbers from scipy and statsmodels, which we did not write."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats
from statsmodels.api import WLS
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from ablate import stats


def random_table(rng, rows, seeds, missing=0.0):
    values = rng.uniform(0.6, 0.95, (rows, 1)) + rng.normal(0, 0.01, (rows, seeds))
    values[rng.random(values.shape) < missing] = np.nan
    return values


@pytest.mark.parametrize("seeds", [2, 3, 7])
def test_two_rows_are_the_paired_t_test(seeds):
    values = random_table(np.random.default_rng(seeds), 2, seeds)
    noise = stats.noise_scale(values, accuracy=True, examples=3925)
    ours = stats.fit(values, noise).difference(1, 0)
    theirs = scipy_stats.ttest_rel(values[1], values[0])
    assert ours.p_value() == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ours.interval() == pytest.approx(tuple(theirs.confidence_interval(0.95)), rel=1e-9)


@pytest.mark.parametrize("case", range(12))
def test_the_general_fit_is_weighted_least_squares_on_row_and_seed_dummies(case):
    rng = np.random.default_rng(case)
    rows, seeds = int(rng.integers(2, 7)), int(rng.integers(3, 7))
    values = random_table(rng, rows, seeds, missing=0.15 if case % 2 else 0.0)
    values[:, 0] = 0.8 + rng.normal(0, 0.01, rows)  # one whole seed: every row is connected
    noise = stats.noise_scale(values, accuracy=True, examples=2000)
    i, s = np.nonzero(np.isfinite(values))
    design = np.zeros((len(i), rows + seeds - 1))
    design[np.arange(len(i)), i] = 1
    for cell, seed in enumerate(s):
        if seed:
            design[cell, rows + seed - 1] = 1
    model = WLS(values[i, s], design[:, np.abs(design).sum(0) > 0], weights=1 / noise[i]).fit()
    ours = stats.fit(values, noise)
    assert ours.df == model.df_resid
    assert ours.phi == pytest.approx(model.scale, rel=1e-9)
    for _ in range(3):
        c = rng.normal(size=rows)
        c -= c.mean()
        theirs = model.t_test(np.concatenate([c, np.zeros(model.params.size - rows)]))
        mine = ours.contrast(c)
        assert mine.estimate == pytest.approx(theirs.effect[0], rel=1e-7)
        assert mine.se == pytest.approx(theirs.sd.item(), rel=1e-7)
        assert mine.p_value() == pytest.approx(theirs.pvalue.item(), rel=1e-6)
        assert mine.interval(0.9) == pytest.approx(tuple(theirs.conf_int(0.1)[0]), rel=1e-6)


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_holm(size):
    p = np.random.default_rng(size).uniform(0, 0.3, size)
    assert stats.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_equivalence_is_two_one_sided_t_tests_and_the_90_percent_interval():
    d = np.array([0.002, -0.001, 0.0015, 0.0005])
    contrast = stats.fit(np.stack([np.full(4, 0.9), 0.9 + d])).difference(1, 0)
    below = scipy_stats.ttest_1samp(d, -0.003, alternative="greater").pvalue
    over = scipy_stats.ttest_1samp(d, 0.003, alternative="less").pvalue
    assert contrast.p_equivalence(0.003) == pytest.approx(max(below, over), rel=1e-9)
    low, high = contrast.interval(0.9)
    for margin in (abs(low) * 0.99, high * 0.99, high * 1.01):
        inside = -margin < low and high < margin
        assert (contrast.p_equivalence(margin) < 0.05) == inside


@pytest.mark.parametrize(("df", "comparisons"), [(2, 1), (4, 5), (8, 5), (30, 9), (200, 3)])
def test_smallest_detectable_against_statsmodels_power(df, comparisons):
    size = stats.smallest_detectable(1.0, df, comparisons)

    def power(shift):
        # n observations of sd 1 have se 1/√n: an effect size of shift/√n has the shift wanted
        n = df + 1
        # (one tail at half the level: statsmodels' far tail, below 1e-6, can be NaN)
        level = 0.05 / comparisons / 2
        return TTestPower().power(shift / n**0.5, n, level, alternative="larger") - 0.8

    assert size == pytest.approx(optimize.brentq(power, 0.7 * size, 1.4 * size), rel=1e-4)


def test_seeds_needed_is_the_first_that_is_enough():
    variance = 2 * stats.expected_noise(0.1, 3925) ** 2
    n = stats.seeds_needed(variance, 5, 5, 0.005)
    sizes = {
        m: stats.smallest_detectable((variance / m) ** 0.5, 4 * (m - 1), 5) for m in (n - 1, n)
    }
    assert sizes[n] <= 0.005 < sizes[n - 1]
    assert n == 13
    assert stats.seeds_needed(variance, 5, 5, 1.0) == 2
    assert stats.seeds_needed(1.0, 5, 5, 1e-4) is None


def test_time_ratio_is_the_paired_t_interval_on_logs():
    times = np.array([[8.0, 8.2, 7.9], [4.1, 4.0, 4.2]])
    ratio = stats.time_ratio(stats.time_fit(times), 1, 0)
    log = scipy_stats.ttest_rel(np.log(times[1]), np.log(times[0]))
    low, high = log.confidence_interval(0.95)
    assert ratio.ratio == pytest.approx(np.exp(np.log(times[1] / times[0]).mean()))
    assert (ratio.low, ratio.high) == pytest.approx((np.exp(low), np.exp(high)))
    assert stats.epoch_time([30.0, 8.0, 9.0, 8.5]) == 8.5
    assert stats.epoch_time([30.0]) is None
