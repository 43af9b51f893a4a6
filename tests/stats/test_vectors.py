"""The design page's test vectors: accuracies as fractions in, points out, to the digits given."""

from __future__ import annotations

import numpy as np
import pytest

from ablate import stats

V1 = np.array(
    [[0.9, 0.904, 0.902], [0.905, 0.907, 0.909], [0.918, 0.92, 0.916], [0.917, 0.922, 0.918]]
)
V3 = np.array([[0.8, 0.81, 0.79], [0.83, 0.83, 0.82], [0.81, 0.83, 0.81], [0.85, 0.87, 0.84]])
SETS = [frozenset(s) for s in ("", "A", "B", "AB")]


def fitted(values, examples):
    return stats.fit(values, stats.noise_scale(values, accuracy=True, examples=examples))


def above(fit):
    return [fit.difference(i, i - 1) for i in range(1, len(fit.values))]


def to(value, digits):
    return pytest.approx(value, abs=0.5 * 10**-digits * 1.0001)


def test_v1_a_balanced_cumulative_table():
    fit = fitted(V1, 4000)
    assert fit.phi == to(9.2899e-6, 10)
    assert fit.df == 6
    contrasts = above(fit)
    assert [100 * c.estimate for c in contrasts] == [to(v, 4) for v in (0.5, 1.1, 0.1)]
    assert [100 * c.se for c in contrasts] == [to(v, 4) for v in (0.1383, 0.1353, 0.133)]
    judged = stats.family(contrasts, margin=0.01)
    assert [e.p_holm for e in judged] == [to(v, 4) for v in (0.0223, 0.0006, 0.4805)]
    assert judged[2].p_equivalence == to(0.0003, 4)
    assert [e.verdict for e in judged] == ["gain, negligible", "gain", "equivalent"]


def test_v1b_a_missing_cell():
    values = V1.copy()
    values[2, 1] = np.nan
    fit = fitted(values, 4000)
    assert fit.phi == to(1.1054e-5, 9)
    assert fit.df == 5
    contrasts = above(fit)
    assert [100 * c.estimate for c in contrasts] == [to(v, 4) for v in (0.5, 1.0848, 0.1152)]
    assert [100 * c.se for c in contrasts] == [to(v, 4) for v in (0.1509, 0.1703, 0.1681)]
    judged = stats.family(contrasts, margin=0.005)
    assert [e.p_holm for e in judged] == [to(v, 4) for v in (0.0423, 0.0042, 0.5235)]


def test_v2_two_rows_two_seeds_and_the_band_of_one_seed():
    contrast = fitted([[0.8, 0.82], [0.9, 0.91]], 1000).difference(1, 0)
    assert 100 * contrast.estimate == to(9.5, 4)
    assert 100 * contrast.se == to(0.5, 4)
    assert contrast.df == 1
    assert [100 * b for b in contrast.interval()] == [to(3.1469, 4), to(15.8531, 4)]
    assert contrast.p_value() == to(0.0335, 4)
    assert 100 * stats.rerun_band(0.2, 0.1, 1000) == to(2.4005, 4)


@pytest.mark.parametrize(
    ("contrast", "delta", "se"),
    [
        (stats.single(SETS, "A"), 2.6667, 0.4637),
        (stats.leave_out(SETS, "A"), 3.6667, 0.4494),
        (stats.shapley(SETS, "A"), 3.1667, 0.3229),
        (stats.shapley(SETS, "B"), 2.1667, 0.3229),
        (stats.interaction(SETS, "A", "B"), 1.0, 0.6458),
        (stats.redundancy(SETS, "A"), -1.0, 0.6458),
        (stats.main_effect(SETS, "A"), 3.1667, 0.3229),
    ],
)
def test_v3_attribution(contrast, delta, se):
    fit = fitted(V3, 1000)
    assert fit.df == 6
    result = fit.contrast(contrast)
    assert 100 * result.estimate == to(delta, 4)
    assert 100 * result.se == to(se, 4)


def test_mean_over_two_data_sets():
    first = fitted(V1, 4000).difference(1, 0)
    second = fitted(V3, 1000).difference(1, 0)
    mean = stats.mean_effect([first, second])
    assert 100 * mean.delta == to(1.5833, 4)
    assert 100 * mean.se == to(0.242, 4)
    assert mean.df == to(7.0595, 4)
    assert [100 * b for b in (mean.low, mean.high)] == [to(1.0121, 4), to(2.1545, 4)]
    apart = stats.difference(second, first)
    assert apart.delta == pytest.approx(second.estimate - first.estimate)
    assert apart.se == pytest.approx(2 * mean.se)


@pytest.mark.parametrize(("seeds", "points"), [(2, 2.10), (3, 1.26), (5, 0.86), (10, 0.57)])
def test_smallest_detectable_at_ten_percent_error_on_imagenette(seeds, points):
    se = stats.expected_noise(0.1, 3925) * (2 / seeds) ** 0.5
    assert 100 * stats.smallest_detectable(se, 4 * (seeds - 1), 5) == to(points, 2)


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
