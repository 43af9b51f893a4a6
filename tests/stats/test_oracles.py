"""The same numbers from scipy and statsmodels, which we did not write."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats
from statsmodels.api import OLS, WLS, MixedLM
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from ablate import stats


def random_table(rng, rows, seeds, missing=0.0):
    values = rng.uniform(0.6, 0.95, (rows, 1)) + rng.normal(0, 0.01, (rows, seeds))
    values[rng.random(values.shape) < missing] = np.nan
    return values


@pytest.mark.parametrize("case", range(12))
def test_the_law_is_weighted_least_squares_on_row_and_seed_dummies(case):
    rng = np.random.default_rng(case)
    rows, seeds = int(rng.integers(2, 7)), int(rng.integers(3, 7))
    values = random_table(rng, rows, seeds, missing=0.15 if case % 2 else 0.0)
    values[:, 0] = 0.8 + rng.normal(0, 0.01, rows)  # one whole seed: every row is connected
    ours = stats.fit(values, stats.error_rates(values, accuracy=True, examples=2000))
    i, s = np.nonzero(np.isfinite(values))
    design = np.zeros((len(i), rows + seeds - 1))
    design[np.arange(len(i)), i] = 1
    for cell, seed in enumerate(s):
        if seed:
            design[cell, rows + seed - 1] = 1
    used = design[:, np.abs(design).sum(0) > 0]
    model = WLS(values[i, s], used, weights=1 / ours.noise[i]).fit()
    assert ours.df == model.df_resid
    assert ours.phi == pytest.approx(model.scale, rel=1e-9)
    for _ in range(3):
        c = rng.normal(size=rows)
        c -= c.mean()
        theirs = model.t_test(np.concatenate([c, np.zeros(model.params.size - rows)]))
        assert ours.contrast(c).estimate == pytest.approx(theirs.effect[0], rel=1e-7)


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
    paired, *_ = ttost_paired(0.9 + d, np.full(4, 0.9), -0.003, 0.003)
    assert contrast.p_equivalence(0.003) == pytest.approx(paired, rel=1e-9)
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


@pytest.mark.parametrize(("df", "comparisons", "alpha"), [(4, 5, 0.05), (18, 10, 0.015)])
def test_smallest_detectable_against_the_non_central_t(df, comparisons, alpha):
    size = stats.smallest_detectable(0.4, df, comparisons, alpha=alpha)
    critical = scipy_stats.t.ppf(1 - alpha / 2 / comparisons, df)
    shifted = scipy_stats.nct(df, size / 0.4)
    assert shifted.sf(critical) == pytest.approx(0.8, abs=1e-6)
    assert shifted.cdf(-critical) < 1e-6  # the tail that is left out


@pytest.mark.parametrize("k", [2, 3, 4])
def test_factorial_effects_are_those_of_a_regression_on_coded_tricks(k):
    """Effects planted, and the same estimates and standard errors from ordinary least squares."""
    rng = np.random.default_rng(k)
    tricks = "ABCD"[:k]
    rows = [frozenset(t for i, t in enumerate(tricks) if n >> i & 1) for n in range(2**k)]
    signs = np.array([[1.0 if t in row else -1.0 for t in tricks] for row in rows])
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    main = dict(zip(tricks, rng.normal(0, 0.02, k), strict=True))
    crossed = dict(zip(pairs, rng.normal(0, 0.02, len(pairs)), strict=True))
    # a main effect is 2 β of the coded variable, an interaction (effect with − without) 4 β
    truth = 0.8 + signs @ np.array([main[t] / 2 for t in tricks])
    truth += sum(effect / 4 * signs[:, i] * signs[:, j] for (i, j), effect in crossed.items())
    exact = stats.fit(np.stack([truth, truth], axis=1))
    seeds = 4
    values = truth[:, None] + rng.normal(0, 0.005, seeds) + rng.normal(0, 0.003, (2**k, seeds))
    noisy = stats.fit(values)
    # every product of coded tricks, so that the residual is that of row + seed
    subsets = [[i for i in range(k) if n >> i & 1] for n in range(2**k)]
    coded = np.stack([signs[:, s].prod(axis=1) for s in subsets], axis=1)
    design = np.concatenate(
        [np.repeat(coded, seeds, axis=0), np.tile(np.eye(seeds)[:, 1:], (2**k, 1))], axis=1
    )
    model = OLS(values.ravel(), design).fit()

    def squeezed(theirs, c):
        """Their standard error, moderated by the contrast's own seeds."""
        own, weight = np.var(c @ values, ddof=1), noisy.prior.weight
        return (
            (weight * theirs**2 * seeds + (seeds - 1) * own) / (weight + seeds - 1) / seeds
        ) ** 0.5

    for i, trick in enumerate(tricks):
        c = stats.main_effect(rows, trick)
        assert exact.contrast(c).estimate == pytest.approx(main[trick], abs=1e-12)
        ours, at = noisy.contrast(c), subsets.index([i])
        assert ours.estimate == pytest.approx(2 * model.params[at], rel=1e-9)
        assert ours.se == pytest.approx(squeezed(2 * model.bse[at], c), rel=1e-9)
    for (i, j), effect in crossed.items():
        c = stats.interaction(rows, tricks[i], tricks[j])
        assert exact.contrast(c).estimate == pytest.approx(effect, abs=1e-12)
        ours, at = noisy.contrast(c), subsets.index([i, j])
        assert ours.estimate == pytest.approx(4 * model.params[at], rel=1e-9)
        assert ours.se == pytest.approx(squeezed(4 * model.bse[at], c), rel=1e-9)


def test_two_data_sets_of_two_rows_differ_as_welch_says():
    first = np.array([0.004, 0.001, 0.006, 0.003])
    second = np.array([0.02, -0.005, 0.011])
    effects = [
        stats.fit(np.stack([np.full(len(d), 0.9), 0.9 + d])).difference(1, 0)
        for d in (first, second)
    ]
    ours = stats.difference(*effects)
    theirs = scipy_stats.ttest_ind(first, second, equal_var=False)
    assert ours.delta == pytest.approx(first.mean() - second.mean())
    assert ours.df == pytest.approx(theirs.df)
    low, high = theirs.confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((low, high))
    mean = stats.mean_effect(effects)
    mirrored = scipy_stats.ttest_ind(first, -second, equal_var=False)
    assert mean.delta == pytest.approx((first.mean() + second.mean()) / 2)
    bounds = mirrored.confidence_interval(0.95)
    assert (mean.low, mean.high) == pytest.approx((bounds.low / 2, bounds.high / 2))
    assert stats.mean_effect([effects[0], stats.fit([[0.9], [0.91]]).difference(1, 0)]) is None


def test_seeds_needed_is_the_first_that_is_enough():
    variance = 2 * stats.expected_noise(0.1, 3925) ** 2
    n = stats.seeds_needed(variance, 5, 5, 0.005)
    sizes = {
        m: stats.smallest_detectable((variance / m) ** 0.5, stats.degrees_of_freedom(5, m), 5)
        for m in (n - 1, n)
    }
    assert sizes[n] <= 0.005 < sizes[n - 1]
    assert stats.seeds_needed(variance, 5, 5, 1.0) == 2
    assert stats.seeds_needed(1.0, 5, 5, 1e-4) is None


def test_seeds_do_not_raise_the_degrees_of_freedom_of_drawn_orders():
    """Three orders leave 2 df: the power of the noncentral t at that number of seeds, by scipy."""
    variance = 2 * stats.expected_noise(0.1, 3925) ** 2
    n = stats.seeds_needed(variance, 5, 5, 0.005, most_df=2)

    def power(seeds):
        critical = scipy_stats.t.ppf(1 - 0.05 / 10, 2)
        return scipy_stats.nct.sf(critical, 2, 0.005 / (variance / seeds) ** 0.5)

    assert power(n - 1) < 0.8 <= power(n)
    assert n > 15  # of the whole table's degrees of freedom


def test_time_ratio_is_the_paired_t_interval_on_logs():
    times = np.array([[8.0, 8.2, 7.9], [4.1, 4.0, 4.2]])
    ratio = stats.time_ratio(stats.time_fit(times), 1, 0)
    log = scipy_stats.ttest_rel(np.log(times[1]), np.log(times[0]))
    low, high = log.confidence_interval(0.95)
    assert ratio.ratio == pytest.approx(np.exp(np.log(times[1] / times[0]).mean()))
    assert (ratio.low, ratio.high) == pytest.approx((np.exp(low), np.exp(high)))
    assert stats.epoch_time([30.0, 8.0, 9.0, 8.5]) == 8.5
    assert stats.epoch_time([30.0]) is None


def moderated_df(rows, seeds):
    """By the formula of docs/statistics.md, of a table without a row that stands out."""
    own, b = seeds - 1, (seeds - 1) / (seeds + 1.5)
    return min(4 + own, 1 / ((1 - b**2) / ((rows - 1) * own) + b**2 / own))


@pytest.mark.parametrize(("seeds", "alpha"), [(2, 0.05), (3, 0.05), (3, 0.0025)])
def test_the_upper_end_of_seeds_has_its_power_in_nine_pilots_of_ten(seeds, alpha):
    """4,000 pilots of five rows: the true power at either end, by scipy's noncentral t."""
    rows, comparisons, margin = 5, 5, 0.005
    noise = 0.0032
    true = 2 * noise**2
    df = moderated_df(rows, seeds)
    rng = np.random.default_rng(8)
    enough, too_few = [], []
    cache: dict[int, bool] = {}

    def sees(n):
        if n not in cache:
            left = moderated_df(rows, n)
            critical = scipy_stats.t.ppf(1 - alpha / (2 * comparisons), left)
            power = scipy_stats.nct.sf(critical, left, margin / (true / n) ** 0.5)
            cache[n] = power >= 0.8
        return cache[n]

    for variance in true * rng.chisquare(df, 4000 if seeds == 2 else 1000) / df:
        low, high = stats.seeds_range(variance, df, rows, comparisons, margin, alpha=alpha)
        enough.append(high is None or sees(high))
        too_few.append(low is None or sees(low))
    error = 3 * (0.1 * 0.9 / len(enough)) ** 0.5
    assert np.mean(enough) >= 0.9 - error
    assert np.mean(too_few) <= 0.1 + 0.06 + error  # whole seeds: it may be just enough


def test_a_range_of_seeds_holds_the_plain_number_and_ends_at_a_hundred():
    variance = 2 * stats.expected_noise(0.1, 3925) ** 2
    low, high = stats.seeds_range(variance, 8, 5, 5, 0.005)
    assert low < stats.seeds_needed(variance, 5, 5, 0.005) < high
    at = [variance * 8 / scipy_stats.chi2.ppf(q, 8) for q in (0.9, 0.1)]
    assert [stats.seeds_needed(v, 5, 5, 0.005) for v in at] == [low, high]
    assert stats.seeds_range(variance, 8, 5, 5, 0.001) == (None, None)
    assert stats.seeds_range(variance * 4, 8, 5, 5, 0.005).high is None
    assert stats.seeds_range(variance, 8, 5, 5, 0.0) is None


@pytest.mark.parametrize("case", range(3))
def test_the_residual_of_a_balanced_table_is_that_of_a_mixed_model_by_reml(case):
    """statsmodels' mixed model, rows fixed and seeds drawn: where seeds differ, both agree."""
    rng = np.random.default_rng(case)
    rows, seeds = 4 + case, 5
    values = 0.9 + rng.normal(0, 0.02, seeds) + rng.normal(0, 0.004, (rows, seeds))
    row, seed = np.indices(values.shape)
    dummies = np.eye(rows)[row.ravel()]
    model = MixedLM(100 * values.ravel(), dummies, groups=seed.ravel()).fit(reml=True)
    assert model.cov_re.item() > 0
    assert stats.fit(values).phi == pytest.approx(model.scale / 100**2, rel=1e-4)
