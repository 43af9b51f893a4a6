"""Noise of its own and the law of all rows, by other means: brute force, limma, statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from ablate import stats
from tests.helpers.moderated import brute_force

# The trials of README's table of 2026-11-20, in percent.
README = np.array(
    [
        [98.33055091819699, 98.6644407345576, 98.8313856427379],
        [98.49749582637729, 98.33055091819699, 97.9966611018364],
        [98.33055091819699, 98.1636060100167, 98.6644407345576],
        [90.15025041736226, 86.81135225375625, 92.15358931552588],
        [97.9966611018364, 97.9966611018364, 98.49749582637729],
        [97.49582637729549, 98.49749582637729, 98.6644407345576],
    ]
)
STEPS = [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (5, 0)]


@pytest.mark.parametrize("case", range(16))
def test_a_contrast_is_the_brute_force_one(case):
    """Missing cells, two seeds, a row that stands out, error rates far apart."""
    rng = np.random.default_rng(case)
    rows, seeds = int(rng.integers(3, 7)), int(rng.integers(2, 6))
    spread = np.full((rows, 1), 0.004)
    if case % 3 == 0:
        spread[1] *= 20
    errors = rng.uniform(0.05, 0.4, (rows, 1))
    values = 1 - errors + rng.normal(0, 0.01, (1, seeds)) + spread * rng.normal(size=(rows, seeds))
    if case % 2:
        values[rng.integers(rows), rng.integers(1, seeds)] = np.nan
    fitted = stats.fit(values, stats.error_rates(values, accuracy=True, examples=4000))
    for _ in range(3):
        c = rng.normal(size=rows)
        c -= c.mean()
        if rng.random() < 0.5:
            c = np.zeros(rows)
            c[rng.permutation(rows)[:2]] = 1, -1
        estimate, se, df = brute_force(values, 4000, c)
        ours = fitted.contrast(c)
        assert ours.estimate == pytest.approx(estimate, rel=1e-7, abs=1e-12)
        assert ours.se == pytest.approx(se, rel=1e-6)
        assert ours.df == pytest.approx(df, rel=1e-9)


def test_both_weights_of_the_law_are_among_those_cases():
    weights = set()
    for case in range(16):
        rng = np.random.default_rng(case)
        rows, seeds = int(rng.integers(3, 7)), int(rng.integers(2, 6))
        spread = np.full((rows, 1), 0.004)
        if case % 3 == 0:
            spread[1] *= 20
        values = 0.9 + spread * rng.normal(size=(rows, seeds))
        weights.add(stats.fit(values).prior.weight)
    assert weights == {1.0, 2.5}


def test_the_squeezed_variance_is_limmas():
    """squeezeVar(c(0.5, 1.3, 7.8), df = 3) of limma: its prior and its posterior variances."""
    posterior = [stats.moderated(1.676927, own, 3, 2.830777) for own in (0.5, 1.3, 7.8)]
    assert posterior == pytest.approx([1.071385, 1.482994, 4.827317], abs=1e-6)


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_two_rows_have_the_paired_t_whatever_their_errors(seeds):
    values = np.random.default_rng(seeds).normal([[0.6], [0.95]], 0.01, (2, seeds))
    ours = stats.fit(values, stats.error_rates(values, accuracy=True, examples=99)).difference(1, 0)
    theirs = scipy_stats.ttest_rel(values[1], values[0])
    assert ours.p_value() == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ours.df == pytest.approx(theirs.df)


def test_many_seeds_are_the_paired_t():
    """What the law says fades: the seeds of a comparison outnumber it."""
    values = 0.9 + np.random.default_rng(0).normal(0, 0.003, (5, 400))
    values[2] += np.random.default_rng(1).normal(0, 0.02, 400)
    fitted = stats.fit(values)
    for row, reference in STEPS[:4]:
        theirs = scipy_stats.ttest_rel(values[row], values[reference])
        ours = fitted.difference(row, reference).interval()
        assert ours == pytest.approx(tuple(theirs.confidence_interval()), abs=3e-4)


def test_the_row_that_varies_and_the_quiet_ones_of_readmes_table():
    fitted = stats.fit(README / 100, stats.error_rates(README / 100, accuracy=True, examples=599))
    halves = [100 * np.ptp(fitted.difference(*step).interval()) / 2 for step in STEPS]
    old = [1.40, 1.42, 1.87, 1.89, 1.45, 1.40]  # with one residual for all rows
    assert min(halves[2], halves[3]) >= 3.3
    for i in (0, 1, 4, 5):
        assert halves[i] < old[i]
    told = fitted.uneven()
    assert told.row == 3
    # not by chance, by a test that we did not write
    assert scipy_stats.bartlett(*README).pvalue < 0.05


def test_no_row_stands_out_of_equal_ones():
    rng = np.random.default_rng(4)
    found = sum(stats.fit(rng.normal(0.9, 0.003, (5, 4))).uneven() is not None for _ in range(1000))
    # two looks, after the law and without one, agree where rows are equally noisy
    assert found <= 50 + 4 * (1000 * 0.05 * 0.95) ** 0.5
    values = rng.normal(0.9, 0.003, (5, 4))
    values[3] += rng.normal(0, 0.1, 4)
    told = stats.fit(values).uneven()
    assert (told.row, told.by_law) == (3, True)
    assert told.ratio > 5


def test_a_training_that_collapses_leaves_the_quiet_rows_their_own_noise():
    """93.0, 10.0, 93.2: with one residual every interval was 40 points wide or more."""
    rng = np.random.default_rng(7)
    values = 0.93 + rng.normal(0, 0.002, (5, 10))
    values[2, 4] = 0.1
    fitted = stats.fit(values, stats.error_rates(values, accuracy=True, examples=4000))
    quiet = np.ptp(fitted.difference(1, 0).interval()) / 2
    loud = np.ptp(fitted.difference(2, 1).interval()) / 2
    paired = scipy_stats.ttest_rel(values[2], values[1]).confidence_interval()
    assert loud > 0.4 * (paired.high - paired.low)
    assert quiet < loud / 10
