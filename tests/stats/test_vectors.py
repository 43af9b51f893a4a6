"""The design page's test vectors: accuracies as fractions in, points out, to the digits given."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from ablate import stats
from tests.helpers.moderated import brute_force

V1 = np.array(
    [[0.9, 0.904, 0.902], [0.905, 0.907, 0.909], [0.918, 0.92, 0.916], [0.917, 0.922, 0.918]]
)
V3 = np.array([[0.8, 0.81, 0.79], [0.83, 0.83, 0.82], [0.81, 0.83, 0.81], [0.85, 0.87, 0.84]])
STEPS = [[-1, 1, 0, 0], [0, -1, 1, 0], [0, 0, -1, 1]]
SETS = [frozenset(s) for s in ("", "A", "B", "AB")]


def fitted(values, examples):
    return stats.fit(values, stats.error_rates(values, accuracy=True, examples=examples))


def above(fit):
    return [fit.difference(i, i - 1) for i in range(1, len(fit.values))]


def to(value, digits):
    return pytest.approx(value, abs=0.5 * 10**-digits * 1.0001)


def holm(references):
    """Holm's p by statsmodels of t tests by scipy, from (estimate, se, df)."""
    raw = [2 * scipy_stats.t.sf(abs(e / se), df) for e, se, df in references]
    return multipletests(raw, method="holm")[1]


def test_v1_a_balanced_cumulative_table():
    contrasts = above(fitted(V1, 4000))
    assert [100 * c.estimate for c in contrasts] == [to(v, 4) for v in (0.5, 1.1, 0.1)]
    expected = [brute_force(V1, 4000, c) for c in STEPS]
    assert [(c.estimate, c.se, c.df) for c in contrasts] == [pytest.approx(e) for e in expected]
    judged = stats.family(contrasts, margin=0.01)
    assert [e.p_holm for e in judged] == pytest.approx(list(holm(expected)))
    assert [e.verdict for e in judged] == ["gain, negligible", "gain", "equivalent"]


def test_v1b_a_missing_cell():
    values = V1.copy()
    values[2, 1] = np.nan
    contrasts = above(fitted(values, 4000))
    expected = [brute_force(values, 4000, c) for c in STEPS]
    assert [(c.estimate, c.se, c.df) for c in contrasts] == [pytest.approx(e) for e in expected]
    judged = stats.family(contrasts, margin=0.005)
    assert [e.p_holm for e in judged] == pytest.approx(list(holm(expected)))


def test_v2_two_rows_two_seeds_and_the_band_of_one_seed():
    contrast = fitted([[0.8, 0.82], [0.9, 0.91]], 1000).difference(1, 0)
    assert 100 * contrast.estimate == to(9.5, 4)
    assert 100 * contrast.se == to(0.5, 4)
    assert contrast.df == 1
    assert [100 * b for b in contrast.interval()] == [to(3.1469, 4), to(15.8531, 4)]
    assert contrast.p_value() == to(0.0335, 4)
    assert 100 * stats.rerun_band(0.2, 0.1, 1000) == to(2.4005, 4)


@pytest.mark.parametrize(
    ("contrast", "delta"),
    [
        (stats.single(SETS, "A"), 2.6667),
        (stats.leave_out(SETS, "A"), 3.6667),
        (stats.shapley(SETS, "A"), 3.1667),
        (stats.shapley(SETS, "B"), 2.1667),
        (stats.interaction(SETS, "A", "B"), 1.0),
        (stats.redundancy(SETS, "A"), -1.0),
        (stats.main_effect(SETS, "A"), 3.1667),
    ],
)
def test_v3_attribution(contrast, delta):
    result = fitted(V3, 1000).contrast(contrast)
    assert 100 * result.estimate == to(delta, 4)
    assert (result.estimate, result.se, result.df) == pytest.approx(brute_force(V3, 1000, contrast))


def test_mean_over_two_data_sets():
    first = fitted(V1, 4000).difference(1, 0)
    second = fitted(V3, 1000).difference(1, 0)
    mean = stats.mean_effect([first, second])
    assert 100 * mean.delta == to(1.5833, 4)
    parts = [brute_force(v, n, [-1, 1, 0, 0]) for v, n in ((V1, 4000), (V3, 1000))]
    variances = [se**2 / 4 for _, se, _ in parts]
    df = sum(variances) ** 2 / sum(v**2 / d for v, (*_, d) in zip(variances, parts, strict=True))
    assert (mean.se, mean.df) == pytest.approx((sum(variances) ** 0.5, df))
    ends = scipy_stats.t.interval(0.95, df, mean.delta, mean.se)
    assert (mean.low, mean.high) == pytest.approx(ends)
    apart = stats.difference(second, first)
    assert apart.delta == pytest.approx(second.estimate - first.estimate)
    assert apart.se == pytest.approx(2 * mean.se)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_smallest_detectable_at_ten_percent_error_on_imagenette(seeds):
    """Five rows: the noncentral t of scipy with the degrees of freedom of a balanced table."""
    se = stats.expected_noise(0.1, 3925) * (2 / seeds) ** 0.5
    b = (seeds - 1) / (seeds + 1.5)
    df = min(seeds + 3, 1 / ((1 - b**2) / (4 * (seeds - 1)) + b**2 / (seeds - 1)))
    assert stats.degrees_of_freedom(5, seeds) == pytest.approx(df)
    critical = scipy_stats.t.ppf(1 - 0.05 / 10, df)
    size = stats.smallest_detectable(se, df, 5)
    assert scipy_stats.nct.sf(critical, df, size / se) == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize(
    ("k", "squares"),
    [(2, 1), (3, 5 / 9), (4, 1 / 3)],
)
def test_shapley_coefficients(k, squares):
    tricks = "ABCD"[:k]
    rows = [frozenset(t for i, t in enumerate(tricks) if n >> i & 1) for n in range(2**k)]
    each = [stats.shapley(rows, t) for t in tricks]
    assert [float(c @ c) for c in each] == pytest.approx([squares] * k)
    whole = np.zeros(2**k)
    whole[0], whole[-1] = -1, 1
    assert sum(each) == pytest.approx(whole)  # the shares add up to the total
