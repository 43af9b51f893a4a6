"""What has no answer says so; and the intervals cover what they claim."""

from __future__ import annotations

import numpy as np
import pytest

from ablate import stats


def test_one_seed_has_no_interval():
    contrast = stats.fit([[0.9], [0.91]]).difference(1, 0)
    assert contrast.estimate == pytest.approx(0.01)
    assert contrast.df == 0
    assert contrast.interval() is None
    assert contrast.p_value() is None


def test_seeds_that_agree_exactly_are_no_evidence_of_zero_noise():
    contrast = stats.fit([[0.90, 0.91, 0.93], [0.91, 0.92, 0.94]]).difference(1, 0)
    assert contrast.estimate == pytest.approx(0.01)
    assert contrast.se is None
    (judged,) = stats.family([contrast], margin=0.005)
    assert judged.verdict == "unresolved"
    assert judged.p_holm is None


def test_rows_that_share_no_seed_cannot_be_compared():
    nan = np.nan
    fit = stats.fit([[0.9, 0.91, nan, nan], [nan, nan, 0.8, 0.82], [0.7, 0.72, nan, nan]])
    assert fit.difference(1, 0) is None
    assert fit.difference(2, 0) is not None
    assert fit.df == 1


def test_a_row_without_a_cell_cannot_be_compared_and_leaves_the_others_alone():
    values = np.array([[0.9, 0.91], [np.nan, np.nan], [0.92, 0.94]])
    fit = stats.fit(values, stats.error_rates(values, accuracy=True, examples=100))
    assert fit.difference(1, 0) is None
    pair = stats.fit(values[[0, 2]], stats.error_rates(values[[0, 2]], accuracy=True, examples=100))
    assert fit.difference(2, 0).se == pytest.approx(pair.difference(1, 0).se)


def test_missing_cells_of_one_row_leave_the_difference_of_complete_rows():
    values = np.array([[0.9, 0.92, 0.91], [0.93, 0.94, 0.92], [0.95, np.nan, 0.96]])
    assert stats.fit(values).difference(1, 0).estimate == pytest.approx(
        values[1].mean() - values[0].mean()
    )


def test_a_perfect_row_still_has_noise():
    errors = stats.error_rates([[1.0, 1.0], [0.9, 0.9]], accuracy=True, examples=50)
    assert errors == pytest.approx([0.01, 0.1])
    assert stats.error_rates([[1.0, 1.0]], accuracy=False, examples=50) is None


@pytest.mark.parametrize("coefficients", [[1.0, -1.0], [1.0, 0.5, -1.0], [1.0, 1.0, -1.0]])
def test_what_is_no_contrast_is_refused(coefficients):
    with pytest.raises(ValueError, match="contrast"):
        stats.fit(np.full((3, 2), 0.9)).contrast(coefficients)


@pytest.mark.parametrize(
    ("shift", "margin", "verdict"),
    [
        (0.05, 0.005, "gain"),
        (-0.05, 0.005, "loss"),
        (0.05, 0.2, "gain, negligible"),
        (-0.05, 0.2, "loss, negligible"),
        (0.0001, 0.01, "equivalent"),
        (0.0001, 0.0001, "unresolved"),
    ],
)
def test_verdicts(shift, margin, verdict):
    wobble = np.array([0.001, -0.001, 0.0005, -0.0005])
    fit = stats.fit([np.full(4, 0.8), 0.8 + shift + wobble])
    (judged,) = stats.family([fit.difference(1, 0)], margin=margin)
    assert judged.verdict == verdict
    flipped = stats.family([fit.difference(0, 1)], margin=margin, higher_is_better=False)
    assert flipped[0].verdict == verdict


def test_coverage_and_family_error(request):
    """Unequal error rates, a seed effect, some tables with a diverged cell; no true difference.

    Bounded: 1,000 tables (40,000 with --long). 95% intervals must cover 0 in 95% of differences and
    at most 5% of tables may claim anything, both within four standard errors.
    """
    tables = 40_000 if request.config.getoption("--long", default=False) else 1000
    rng = np.random.default_rng(20240601)
    errors = np.array([0.25, 0.2, 0.15, 0.1])
    covered, claimed = [], 0
    for table in range(tables):
        y = rng.normal(0, 0.002, 3) + rng.normal(0, 0.004, (4, 3)) * errors[:, None] ** 0.25
        if table % 4 == 0:
            y[rng.integers(4), rng.integers(3)] = np.nan
        fit = stats.fit(y, errors)
        judged = stats.family([fit.difference(i, i - 1) for i in (1, 2, 3)], margin=0.0)
        covered += [not e.excludes_zero for e in judged]
        claimed += any(e.verdict in ("gain", "loss") for e in judged)
    # differences in one table share rows: the table, not the difference, is the unit
    assert np.mean(covered) == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / tables) ** 0.5)
    assert claimed / tables < 0.05 + 4 * (0.05 * 0.95 / tables) ** 0.5
