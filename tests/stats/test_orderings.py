"""Shares over orders against hand computations, and what kind of orders they are."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from ablate import stats
from tests.helpers.moderated import brute_force

V3 = np.array([[0.8, 0.81, 0.79], [0.83, 0.83, 0.82], [0.81, 0.83, 0.81], [0.85, 0.87, 0.84]])
SETS = [frozenset(s) for s in ("", "A", "B", "AB")]


def walk(tricks, orders):
    """The distinct sets that the orders go through, and each order as rows of them."""
    paths = [[frozenset(order[:i]) for i in range(len(tricks) + 1)] for order in orders]
    rows = list(dict.fromkeys(s for path in paths for s in path))
    return rows, [[rows.index(s) for s in path] for path in paths]


def points(fit, rows, orders, trick, complete):
    steps = stats.order_steps(rows, orders, trick)
    return stats.ordering_share(fit, steps, complete=complete)


def test_all_orders_of_the_test_vector_are_its_shapley_values():
    fit = stats.fit(V3, stats.error_rates(V3, accuracy=True, examples=1000))
    orders = [[0, 1, 3], [0, 2, 3]]
    halves = {"A": [-0.5, 0.5, -0.5, 0.5], "B": [-0.5, -0.5, 0.5, 0.5]}
    for trick, delta in (("A", 3.1667), ("B", 2.1667)):
        share = points(fit, SETS, orders, trick, True)
        assert 100 * share.estimate == pytest.approx(delta, abs=5e-5)
        expected = brute_force(V3, 1000, halves[trick])
        assert (share.estimate, share.se, share.df) == pytest.approx(expected)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_shares_over_all_orders_are_a_plain_average_and_add_up_to_full_minus_baseline(k):
    tricks = "ABCD"[:k]
    orders = list(permutations(tricks))
    rows, paths = walk(tricks, orders)
    assert len(rows) == 2**k
    values = np.random.default_rng(k).uniform(0.7, 0.9, (len(rows), 3))
    fit = stats.fit(values)
    mean = dict(zip(rows, values.mean(axis=1), strict=True))
    shares = {}
    for trick in tricks:
        # by hand: over all k! orders, the value with the trick minus the value just before it
        by_hand = np.mean(
            [
                mean[frozenset(o[: o.index(trick) + 1])] - mean[frozenset(o[: o.index(trick)])]
                for o in orders
            ]
        )
        shares[trick] = points(fit, rows, paths, trick, True).estimate
        assert shares[trick] == pytest.approx(by_hand, abs=1e-12)
        assert fit.contrast(stats.shapley(rows, trick)).estimate == pytest.approx(
            by_hand, abs=1e-12
        )
    whole = mean[frozenset(tricks)] - mean[frozenset()]
    assert sum(shares.values()) == pytest.approx(whole, abs=1e-12)


def test_sampled_orders_by_the_formula_worked_by_hand():
    rows, paths = walk("ABC", ["ABC", "BCA", "CBA"])
    rng = np.random.default_rng(3)
    values = rng.uniform(0.7, 0.9, (len(rows), 1)) + rng.normal(0, 0.002, (len(rows), 4))
    fit = stats.fit(values)
    mean = values.mean(axis=1)
    # A comes after {}, after {B, C}, after {C, B}: the last two are the same step
    marginals = np.array(
        [
            mean[p[paths_at + 1]] - mean[p[paths_at]]
            for p, paths_at in zip(paths, (0, 2, 2), strict=True)
        ]
    )
    steps = [[p[at + 1], p[at]] for p, at in zip(paths, (0, 2, 2), strict=True)]
    lines = np.array([values[after] - values[before] for after, before in steps])

    def squeezed(squares, line):
        """Of four seeds: three degrees of freedom of its own beside the law's."""
        w = fit.prior.weight
        return (w * fit.phi * squares + 3 * line.var(ddof=1)) / (w + 3) / 4

    noise = squeezed(2 * (1 / 3) ** 2 + 2 * (2 / 3) ** 2, lines.mean(axis=0))
    each = [squeezed(2, line) for line in lines]
    expected = (sum(each) - 3 * noise) / 2
    variance = noise + max(0.0, marginals.var(ddof=1) - expected) / 3
    share = points(fit, rows, paths, "A", False)
    assert share.estimate == pytest.approx(marginals.mean())
    assert share.se == pytest.approx(variance**0.5)
    assert share.df == 2
    assert share.variance_per_seed is None  # the orders differ by more than noise
    plain = points(fit, rows, paths, "A", True)
    assert plain.se == pytest.approx(noise**0.5)


def test_sampled_orders_that_agree_have_the_noise_of_the_average():
    rows, paths = walk("ABC", ["ABC", "BCA", "CBA"])
    # additive, so that orders cannot matter, and noise that shows in no row's mean
    gains = {"A": 0.03, "B": 0.02, "C": 0.01}
    means = np.array([0.8 + sum(gains[t] for t in row) for row in rows])
    noise = np.random.default_rng(0).normal(0, 0.002, (len(rows), 4))
    values = means[:, None] + noise - noise.mean(axis=1, keepdims=True)
    fit = stats.fit(values)
    share, plain = (points(fit, rows, paths, "A", c) for c in (False, True))
    assert share.estimate == pytest.approx(0.03)
    assert share.se == pytest.approx(plain.se)
    assert share.variance_per_seed == pytest.approx(plain.variance_per_seed)
    assert share.df == 2  # still only three orders


def test_one_sampled_order_has_no_standard_error():
    fit = stats.fit(V3)
    share = stats.ordering_share(fit, [(1, 0)], complete=False)
    assert share.estimate == pytest.approx(0.08 / 3)
    assert share.se is None
    assert share.interval() is None
    assert stats.ordering_share(fit, [(1, 0)], complete=True).se is not None


def test_a_missing_row_is_no_answer_and_a_missing_cell_is_fitted():
    values = V3.copy()
    values[2, 1] = np.nan
    steps = [(1, 0), (3, 2)]
    fit = stats.fit(values)
    coefficients = [-0.5, 0.5, -0.5, 0.5]
    assert stats.ordering_share(fit, steps, complete=True) == fit.contrast(coefficients)
    assert stats.ordering_share(fit, steps, complete=False).se >= fit.contrast(coefficients).se
    values[2] = np.nan
    for complete in (True, False):
        assert stats.ordering_share(stats.fit(values), steps, complete=complete) is None


def test_steps_that_are_none_are_refused():
    with pytest.raises(ValueError, match="steps"):
        stats.ordering_share(stats.fit(V3), [], complete=True)
    with pytest.raises(KeyError, match="C"):
        stats.order_steps(SETS, [[0, 1, 3]], "C")


def test_where_a_trick_changes_nothing_its_marginal_is_0():
    fitted = stats.fit(V3)
    half = stats.ordering_share(fitted, [(1, 0), (1, 1)], complete=True)
    assert half.estimate == pytest.approx(fitted.difference(1, 0).estimate / 2)
    assert stats.ordering_share(fitted, [(1, 0), (1, 1)], complete=False).df == 1


@pytest.mark.parametrize(
    ("orders", "kind"),
    [
        (["AB", "BA"], "all"),
        (["A"], "all"),
        (["ABC", "CBA"], "pair"),
        (["ABC", "BCA"], "sample"),
        (["ABC", "ACB", "CBA"], "sample"),
        (["ABC", "ABC"], "sample"),
        (["AB", "AB"], "sample"),
        (["".join(p) for p in permutations("ABC")], "all"),
        ([], "sample"),
    ],
)
def test_kinds_of_orders(orders, kind):
    rows, paths = walk(orders[0] if orders else "", orders)
    assert stats.kind_of_orders(rows, paths) == kind


def test_a_pair_of_reverse_orders_is_the_shapley_value_without_interactions_of_three():
    rng = np.random.default_rng(5)
    tricks = "ABCDE"
    rows, paths = walk(tricks, list(permutations(tricks)))
    main = dict(zip(tricks, rng.normal(0, 1, 5), strict=True))
    pair = {(a, b): rng.normal(0, 1) for a in tricks for b in tricks if a < b}

    def value(row):
        return sum(main[t] for t in row) + sum(v for (a, b), v in pair.items() if {a, b} <= row)

    fit = stats.fit(np.array([[value(row)] * 2 for row in rows]))
    forward = paths[0]
    reverse = paths[-1]
    assert stats.kind_of_orders(rows, [forward, reverse]) == "pair"
    for trick in tricks:
        share = points(fit, rows, [forward, reverse], trick, True)
        assert share.estimate == pytest.approx(fit.contrast(stats.shapley(rows, trick)).estimate)
