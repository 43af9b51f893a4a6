"""Effects over several data sets, judged: scipy's paired t of each, corrected by statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from ablate import stats


def pair(d):
    return stats.fit(np.stack([np.full(len(d), 0.9), 0.9 + d])).difference(1, 0)


@pytest.mark.parametrize("case", range(6))
def test_on_all_is_the_largest_p_corrected_over_the_comparisons(case):
    rng = np.random.default_rng(case)
    effects = np.array([[0.02, 0.03], [0.02, -0.03], [0.0, 0.02], [0.03, 0.02]])
    drawn = effects[:, :, None] + rng.normal(0, 0.008, (4, 2, 5))
    found = stats.on_all([[pair(d) for d in row] for row in drawn], margin=0.005)
    largest = []
    for row in drawn:
        tests = [scipy_stats.ttest_1samp(d, 0) for d in row]
        agree = len({test.statistic > 0 for test in tests}) == 1
        largest.append(max(test.pvalue for test in tests) if agree else 1.0)
    adjusted = multipletests(largest, method="holm")[1]
    assert [one.p_holm for one in found] == pytest.approx(list(adjusted))
    for one, p, row in zip(found, adjusted, drawn, strict=True):
        direction = "gain" if row.mean() > 0 else "loss"
        assert one.verdict.split(",")[0] == (direction if p < 0.05 else "unresolved")


def test_equivalent_on_all_where_each_is():
    rng = np.random.default_rng(1)
    quiet = [pair(rng.normal(0, 0.0005, 6)) for _ in range(3)]
    loud = [*quiet[:2], pair(rng.normal(0, 0.02, 6))]
    same, other = stats.on_all([quiet, loud], margin=0.005)
    assert same.verdict.startswith("equivalent") or "negligible" in same.verdict
    assert other.verdict == "unresolved"


def test_where_lower_is_better_a_rise_on_all_is_a_loss():
    rise = [pair(np.array([0.02, 0.021, 0.019, 0.0205])) for _ in range(2)]
    for higher, word in ((True, "gain"), (False, "loss")):
        (found,) = stats.on_all([rise], margin=0.001, higher_is_better=higher)
        assert found.verdict == word


def test_one_data_set_without_noise_says_nothing():
    exact = stats.fit([[0.90, 0.91], [0.91, 0.92]]).difference(1, 0)
    assert stats.on_all([[exact, pair(np.array([0.02, 0.021]))]], margin=0.0) == [None]
