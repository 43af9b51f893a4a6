"""New images, calibration, classes and checkpoints, against scipy, statsmodels and scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import special
from scipy import stats as scipy_stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.contingency_tables import mcnemar

from ablate import stats


def two_rows(rng, n, N, *, seeds_spread=0.0, images_spread=1.0, step=0.3):
    """Correctness of two rows [n, N] twice: images differ in difficulty, seeds in luck."""
    difficulty = rng.normal(0, images_spread, N)
    turn = rng.normal(step, images_spread, N)  # by how much the row helps on each image
    luck = rng.normal(0, seeds_spread, (2, n, 1))
    reference = rng.random((n, N)) < special.expit(1 + difficulty + luck[0])
    row = rng.random((n, N)) < special.expit(1 + difficulty + turn + luck[1])
    return row, reference


def mean_squares(apart):
    """Of images, seeds and residual, and their degrees of freedom, by statsmodels' ANOVA."""
    n, N = apart.shape
    seed, image = np.meshgrid(range(n), range(N), indexing="ij")
    frame = pd.DataFrame({"d": apart.ravel(), "s": seed.ravel(), "i": image.ravel()})
    table = anova_lm(ols("d ~ C(i) + C(s)", frame).fit())
    return (table["sum_sq"] / table["df"]).to_numpy(), table["df"].to_numpy()


@pytest.mark.parametrize(("case", "spread"), [(0, 0.0), (1, 0.0), (2, 1.5), (3, 3.0), (4, 0.1)])
def test_new_images_are_the_two_way_layout_of_statsmodels(case, spread):
    rng = np.random.default_rng(case)
    n, N = 3 + case % 3, 24
    row, reference = two_rows(rng, n, N, seeds_spread=spread)
    (images, seeds, left), df = mean_squares(row.astype(float) - reference)
    found = stats.new_images(row, reference)

    parts = np.array([images, seeds, left]) / (n * N) if seeds > left else np.array([0, 0, 0])
    variance = (images + max(0, seeds - left)) / (n * N)
    expected_df = variance**2 / np.sum(parts**2 / df) if seeds > left else N - 1
    if seeds > images + max(0, seeds - left):  # images whose differences are their own noise
        variance, expected_df = seeds / (n * N), n - 1
    assert found.delta == pytest.approx(row.mean() - reference.mean(), abs=1e-12)
    assert found.se == pytest.approx(np.sqrt(variance), rel=1e-9)
    assert found.df == pytest.approx(expected_df, rel=1e-9)
    low, high = scipy_stats.t.interval(0.95, expected_df, found.delta, found.se)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def test_both_forms_of_the_degrees_of_freedom_are_among_those_cases():
    more = []
    for case, spread in ((0, 0.0), (1, 0.0), (2, 1.5), (3, 3.0), (4, 0.1)):
        row, reference = two_rows(
            np.random.default_rng(case), 3 + case % 3, 24, seeds_spread=spread
        )
        (_, seeds, left), _ = mean_squares(row.astype(float) - reference)
        more.append(seeds > left)
    assert set(more) == {True, False}


def test_new_images_by_hand():
    row = [[1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 1, 0]]
    reference = [[0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    # D: means of images 2/3, 1/3, 0, 0, of seeds 1/4, 1/2, 0, of all 1/4. Sums of squares 9/4 in
    # all, 11/12 of images, 1/2 of seeds, 5/6 left; mean squares 11/36, 9/36, 5/36.
    found = stats.new_images(row, reference)
    assert found.delta == pytest.approx(1 / 4)
    assert found.se == pytest.approx(np.sqrt((11 + 9 - 5) / 36 / 12))
    assert found.df == pytest.approx(15**2 / (11**2 / 3 + 9**2 / 2 + 5**2 / 6))


@pytest.mark.parametrize(("n", "N"), [(2, 30), (1, 30), (5, 1)])
def test_new_images_need_three_seeds_and_two_images(n, N):
    row, reference = two_rows(np.random.default_rng(0), n, N)
    assert stats.new_images(row, reference) is None


def test_rows_that_agree_on_every_image_have_no_interval():
    row, _ = two_rows(np.random.default_rng(0), 4, 50)
    assert stats.new_images(row, row) is None
    with pytest.raises(ValueError, match="not"):
        stats.new_images(row, row[:, :-1])


@pytest.mark.parametrize(
    ("n", "spread", "rounds"),
    [
        (10, 0.0, 600),
        (3, 0.1, 800),
        (5, 0.2, 800),
        pytest.param(3, 0.2, 6000, marks=pytest.mark.long),
        pytest.param(10, 0.2, 6000, marks=pytest.mark.long),
    ],
)
def test_intervals_cover_when_seeds_and_images_are_drawn_anew(n, spread, rounds):
    """About 95% hold the difference over all seeds and images; the other interval does not."""
    rng = np.random.default_rng(n)
    every = rng.normal(0, 1, (4, 1_000_000))  # images and seeds as `two_rows` draws them
    ease = 1 + 2 * every[0]
    truth = np.mean(
        special.expit(ease + 0.3 + 2 * every[1] + spread * every[2])
        - special.expit(ease + spread * every[3])
    )
    held, narrow = [], []
    for _ in range(rounds):
        row, reference = two_rows(rng, n, 300, seeds_spread=spread, images_spread=2.0)
        found = stats.new_images(row, reference)
        held.append(found.low <= truth <= found.high)
        if n == 10 and not spread:
            values = np.array([reference.mean(axis=1), row.mean(axis=1)])
            low, high = stats.fit(values).difference(1, 0).interval()
            narrow.append(low <= truth <= high)
    assert 0.93 <= np.mean(held) <= 0.98  # three standard errors around 0.955 at 800 rounds
    if narrow:  # "this test set, new seeds" answers another question
        assert np.mean(narrow) < 0.85


@pytest.mark.parametrize(("bins", "classes"), [(15, 10), (10, 3), (15, 2)])
def test_calibration_error_is_scikit_learns_curve_weighted_by_images(bins, classes):
    rng = np.random.default_rng(classes)
    scores = rng.normal(0, 3, (500, classes))
    labels = np.where(rng.random(500) < 0.6, scores.argmax(1), rng.integers(0, classes, 500))
    sure = special.softmax(scores, axis=1).max(axis=1)
    right = scores.argmax(1) == labels
    accuracy, confidence = calibration_curve(right, sure, n_bins=bins, strategy="uniform")
    images = np.histogram(sure, np.linspace(0, 1, bins + 1))[0]
    expected = np.sum(images[images > 0] / 500 * np.abs(accuracy - confidence))
    assert stats.calibration_error(scores, labels, bins) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_by_hand():
    # .9 sure and right half the time: 0.4 off; .6 sure and always right: 0.4 off the other way
    sure = np.array([0.9, 0.9, 0.6, 0.6, 0.6])
    assert stats.binned_error(sure, [1, 0, 1, 1, 1]) == pytest.approx(2 / 5 * 0.4 + 3 / 5 * 0.4)
    # an edge belongs to the bin below it: with two bins .5 is of the first, and errors cancel
    assert stats.binned_error([0.5, 0.25], [1, 0], bins=2) == pytest.approx(0.125)
    assert stats.binned_error([0.5, 0.75], [1, 0], bins=2) == pytest.approx((0.5 + 0.75) / 2)
    # logits of 1,000 do not overflow; all sure and all right is 0
    scores = np.array([[1000.0, 0.0], [-1000.0, 0.0]])
    assert stats.calibration_error(scores, [0, 1]) == 0
    assert stats.calibration_error(scores, [1, 0]) == 1


def test_log_sum_exp_is_scipys():
    scores = np.random.default_rng(0).normal(0, 200, (40, 7)).astype(np.float32)
    scores[3, 1:] = -np.inf
    ours = stats.log_sum_exp(scores)
    assert ours == pytest.approx(special.logsumexp(scores.astype(float), axis=1), rel=1e-14)


def test_class_accuracy_is_the_diagonal_of_scikit_learns_confusion_matrix():
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 2, 4], 200)  # nothing of class 3
    predicted = np.where(rng.random(200) < 0.5, labels, rng.integers(0, 6, 200))
    matrix = confusion_matrix(labels, predicted, labels=range(6))
    found = stats.class_accuracy(predicted, labels, 6)
    assert list(np.isnan(found)) == [False, False, False, True, False, True]
    there = ~np.isnan(found)
    assert found[there] == pytest.approx((matrix.diagonal() / matrix.sum(axis=1).clip(1))[there])


@pytest.mark.parametrize("case", range(6))
def test_mcnemar_is_scipys_binomial_and_statsmodels_exact_test(case):
    rng = np.random.default_rng(case)
    a, b = rng.random(60) < 0.7, rng.random(60) < (0.7, 0.5, 0.9, 0.2, 0.7, 0.71)[case]
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    assert stats.disagreements(a, b) == (only_a, only_b)
    table = [[int(np.sum(a & b)), only_a], [only_b, int(np.sum(~a & ~b))]]
    assert stats.mcnemar(a, b) == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-9)
    binomial = scipy_stats.binomtest(only_a, only_a + only_b).pvalue
    assert stats.mcnemar(a, b) == pytest.approx(binomial, rel=1e-9)


def test_checkpoints_that_never_disagree_do_not_differ():
    assert stats.mcnemar([1, 0, 1], [1, 0, 1]) == 1
    assert stats.mcnemar([1, 0], [0, 1]) == 1
    with pytest.raises(ValueError, match="one entry per image"):
        stats.mcnemar([1, 0], [1])
