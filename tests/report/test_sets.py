"""Factorials, orderings and several data sets in a report, on made-up results."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from ablate.core.resolved_study import Row
from ablate.planning.power import family
from ablate.report import render, render_json, render_markdown, render_terminal
from ablate.report.model import Block
from tests.helpers.moderated import Rule, Told
from tests.helpers.report_studies import State, cumulative, key, results
from tests.helpers.report_studies import table as plain_table
from tests.helpers.set_studies import (
    PLANTED,
    block,
    built,
    line,
    of_sets,
    orderings,
    planted,
    points,
    set_table,
    subsets,
)

# The design page's third test vector: N = 1,000.
V3 = {
    (): (0.80, 0.81, 0.79),
    ("A",): (0.83, 0.83, 0.82),
    ("B",): (0.81, 0.83, 0.81),
    ("A", "B"): (0.85, 0.87, 0.84),
}
SHARE_A = {(): -0.5, ("A",): 0.5, ("B",): -0.5, ("A", "B"): 0.5}
SHARE_B = {(): -0.5, ("B",): 0.5, ("A",): -0.5, ("A", "B"): 0.5}


def approx(by_hand: float, told: Told) -> Any:
    """The mean of cells, worked out by hand, and the rule's standard error; in points."""
    assert 100 * told.estimate == pytest.approx(by_hand, abs=5e-5)
    return pytest.approx((100 * told.estimate, 100 * told.se))


def test_v3_in_a_factorial() -> None:
    table = set_table("factorial", subsets("AB"), "AB")
    (made,) = built(table, results=of_sets(V3, examples=1000))
    rule = Rule(V3, 1000)
    effects = block(made, "factorial")
    apart = {("A", "B"): 1.0, ("A",): -1.0, ("B",): -1.0, (): 1.0}
    assert points(effects, "A × B", "effect") == approx(1.0, rule.contrast(apart))
    alone = block(made, "attribution")
    assert points(alone, "A", "alone") == approx(2.6667, rule.difference(("A",), ()))
    on_top = rule.difference(("A", "B"), ("B",))
    assert points(alone, "A", "on top of all others") == approx(3.6667, on_top)
    less = {members: -weight for members, weight in apart.items()}
    assert points(alone, "A", "difference") == approx(-1.0, rule.contrast(less))
    assert points(alone, "A", "Shapley") == approx(3.1667, rule.contrast(SHARE_A))
    assert points(alone, "B", "Shapley") == approx(2.1667, rule.contrast(SHARE_B))
    assert line(alone, "A").word == ""  # the interval of the difference holds 0


def test_v3_in_both_orders_is_judged() -> None:
    table = orderings(["AB", "BA"])
    (made,) = built(table, results=of_sets(V3, examples=1000))
    shares = block(made, "shapley")
    rule = Rule(V3, 1000)
    assert points(shares, "A", "share") == approx(3.1667, rule.contrast(SHARE_A))
    assert points(shares, "B", "share") == approx(2.1667, rule.contrast(SHARE_B))
    assert points(shares, "A", "order 1")[0] == pytest.approx(2.6667, abs=5e-5)
    assert points(shares, "A", "order 2")[0] == pytest.approx(3.6667, abs=5e-5)
    assert [one.verdict for one in shares.lines] == ["gain", "gain"]
    assert shares.title == "Shapley values, over both orders"
    assert "order 1: A → B; order 2: B → A" in " ".join(shares.caption)
    # they are judged there, so not printed once more
    assert "Shapley" not in block(made, "attribution").heads


def test_an_open_line_of_a_block_is_something_to_settle() -> None:
    table = set_table("factorial", subsets("AB"), "AB")
    (made,) = built(table, results=of_sets(V3, examples=1000))
    assert {row.mark for row in made.rows} == {""}
    assert line(block(made, "factorial"), "A × B").verdict == "unresolved"
    assert made.unresolved
    values = planted({("a",): 0.05}, "ab", seeds=5, noise=0.0003)
    clear = set_table("factorial", subsets("ab"), "ab", seeds=5)
    assert not built(clear, results=of_sets(values))[0].unresolved


def test_rows_of_a_factorial_have_no_verdict_and_no_correction() -> None:
    table = set_table("factorial", subsets("AB"), "AB")
    (made,) = built(table, results=of_sets(V3, examples=1000))
    assert [row.verdict for row in made.rows] == [""] * 4
    first = made.rows[1].delta
    assert first is not None
    assert first.effect is not None
    assert (first.effect.p_holm, first.effect.verdict) == (None, None)
    assert 100 * first.effect.delta == pytest.approx(2.6667, abs=5e-5)
    assert first.effect.low is not None


def test_planted_effects_are_found_and_judged() -> None:
    """Main effects and interactions by hand: a trick's, and half or a quarter of what it shares."""
    values = planted(PLANTED, "abcd", seeds=5, noise=0.001)
    (made,) = built(
        set_table("factorial", subsets("abcd"), "abcd", seeds=5), results=of_sets(values)
    )
    effects = block(made, "factorial")
    # the other member of a pair is there in half of the rows
    by_hand = {"a": 3 - 1, "b": 2 - 1, "c": -2 + 1.5, "d": 1.5}
    by_hand |= {f"{x} × {y}": 0.0 for x, y in combinations("abcd", 2)}
    by_hand |= {"a × b": -2.0, "c × d": 3.0}
    assert [one.label for one in effects.lines] == list(by_hand)
    for name, value in by_hand.items():
        found, se = points(effects, name, "effect")
        assert se is not None
        assert found == pytest.approx(value, abs=4 * se)
    verdicts = {one.label: one.verdict for one in effects.lines}
    assert {n: v.split(",")[0] for n, v in verdicts.items() if v != "equivalent"} == {
        "a": "gain",
        "b": "gain",
        "c": "loss",
        "d": "gain",
        "a × b": "less together",
        "c × d": "more together",
    }
    marks = {one.label: one.mark for one in effects.lines}
    assert (marks["a"], marks["a × b"], marks["c × d"]) == (
        *("gain", "less together", "more together"),
    )
    words = {one.label: one.word for one in effects.lines}
    assert {words[name] for name in ("a", "a × b", "c × d")} == {""}  # both scales agree
    assert (effects.comparisons, made.comparisons) == (10, 0)  # rows have no verdicts


def test_a_factorial_is_a_linear_model_of_signs() -> None:
    """Against statsmodels: y ~ seeds + all products of ±1; estimates, and the law's variance.

    An effect's own variance is that of the effect in each seed; 3 is what the law counts for.
    """
    values = planted(PLANTED, "abc", seeds=4, noise=0.004)
    # the loss has no weights, so ordinary least squares is the same model
    (made,) = built(
        set_table("factorial", subsets("abc"), "abc", seeds=4),
        results=of_sets(values),
        metric="loss",
    )
    effects = block(made, "factorial")
    y, design = [], []
    for members, seeds in values.items():
        for seed, top1 in enumerate(seeds):
            signs = {t: 1 if t in members else -1 for t in "abc"}
            terms = [s for s in subsets("abc") if s]
            products = [np.prod([signs[t] for t in term]) for term in terms]
            y.append(1 - top1)
            design.append([*(float(seed == s) for s in range(4)), *products])
    fit = sm.OLS(y, np.array(design)).fit()
    names = [" × ".join(s) for s in subsets("abc") if 0 < len(s) <= 2]
    assert [one.label for one in effects.lines] == names
    told = [one.cells[0].effect for one in effects.lines]
    factor = [2.0] * 3 + [4.0] * 3  # from −1 to 1 for a main effect, and that once more for a pair
    wanted = np.array(factor) * fit.params[4:10]
    assert [e.delta for e in told] == pytest.approx(wanted)
    assert fit.df_resid == 21
    by_law = (np.array(factor) * fit.bse[4:10]) ** 2
    products, losses = np.array(design)[::4, 4:10], 1 - np.array([values[s] for s in values])
    own = np.var(np.array(factor) / 8 * (losses.T @ products), axis=0, ddof=1) / 4
    se = np.sqrt((2.5 * by_law + 3 * own) / 5.5)
    assert [e.se for e in told] == pytest.approx(se)
    b = 3 / 5.5
    df = 1 / ((1 - b**2) / 21 + b**2 / 3)  # more than the prior's 4 and the 3 of its own
    p = 2 * scipy_stats.t.sf(np.abs(wanted) / se, min(7, df))
    assert [e.p_holm for e in told] == pytest.approx(multipletests(p, method="holm")[1])


def test_less_loss_is_a_gain_and_worth_more_together() -> None:
    """Of a metric that is better when lower, words follow what is better, not the sign."""
    values = planted({("a",): 0.02, ("b",): 0.02, ("a", "b"): 0.05}, "ab", seeds=4, noise=0.001)
    (made,) = built(
        set_table("factorial", subsets("ab"), "ab", seeds=4),
        results=of_sets(values),
        metric="loss",
        margin=0.01,
    )
    pair = line(block(made, "factorial"), "a × b")
    assert pair.cells[0] is not None
    assert pair.cells[0].value == pytest.approx(-0.05, abs=0.005)
    assert (pair.verdict, pair.mark) == ("more together", "more together")
    assert line(block(made, "attribution"), "a").word == "more together"


def share_sum(found: Block, head: str) -> float:
    at = found.heads.index(head)
    cells = [one.cells[at] for one in found.lines]
    return sum(cell.value or 0.0 for cell in cells if cell is not None)


@given(st.lists(st.permutations("abcd"), min_size=2, max_size=6, unique_by=tuple), st.data())
@settings(max_examples=25, deadline=None)
def test_shares_add_up_to_all_tricks_against_the_baseline(orders: Any, data: Any) -> None:
    unit = st.integers(500, 990)
    values = {members: tuple(data.draw(st.tuples(unit, unit))) for members in subsets("abcd")}
    fractions = {members: tuple(v / 1000 for v in line) for members, line in values.items()}
    (made,) = built(orderings(orders, seeds=2), results=of_sets(fractions))
    total = np.mean(fractions["a", "b", "c", "d"]) - np.mean(fractions[()])
    assert share_sum(block(made, "shapley"), "share") == pytest.approx(total, abs=1e-9)
    (made,) = built(
        set_table("factorial", subsets("abcd"), "abcd", seeds=2), results=of_sets(fractions)
    )
    assert share_sum(block(made, "attribution"), "Shapley") == pytest.approx(total, abs=1e-9)


def test_of_many_orders_the_smallest_and_the_largest_marginal_are_shown() -> None:
    values = planted(PLANTED, "abc", seeds=3, noise=0.001)
    orders = ["abc", "cba", "acb", "bac", "bca"]
    (made,) = built(orderings(orders), results=of_sets(values))
    shares = block(made, "shapley")
    assert shares.heads == ("share", "smallest", "largest")
    assert shares.title == "Shapley values, estimated from 5 of 6 orders"
    means = {members: float(np.mean(line)) for members, line in values.items()}
    for trick in "abc":
        marginals = []
        for order in orders:
            before = tuple(sorted(order[: order.index(trick)]))
            marginals.append(means[tuple(sorted((*before, trick)))] - means[before])
        cells = line(shares, trick).cells
        found = [cell.value for cell in cells if cell is not None]
        wanted = [np.mean(marginals), min(marginals), max(marginals)]
        assert found == pytest.approx(wanted)
        assert cells[1] is not None
        assert cells[1].low is None  # picked because it is the smallest: no interval


def test_side_changes_are_compared_with_their_control_rows() -> None:
    """The longer training that comes with a trick is no part of what the trick brings."""
    values = planted({("a",): 0.02, ("b",): 0.02}, "ab", seeds=4, noise=0.0005)
    done = of_sets(values)
    longer = {"longer": values[()] + 0.01, "b + longer": values["b",] + 0.01}
    for members in (("a",), ("a", "b")):  # a brings longer training, worth a point
        done |= of_sets({members: values[members] + 0.01})
    done |= results({name: 100 * line for name, line in longer.items()})
    one = set_table("one_at_a_time", [(), ("a",), ("b",)], "ab", seeds=4)
    leave = set_table("leave_one_out", [("a", "b"), ("b",), ("a",)], "ab", seeds=4)

    def control(name: str, factors: tuple[str, ...], above: int) -> Row:
        keys = tuple(key(name, seed) for seed in range(4))
        return Row(
            label=name, tricks=factors, role="control", above=above, keys=keys, factors=factors
        )

    rows = [one.rows[0], control("longer", (), 0), one.rows[1].model_copy(update={"above": 1})]
    one = one.model_copy(update={"rows": (*rows, one.rows[2])})
    rows = [leave.rows[0], control("b + longer", ("b",), 0), *leave.rows[1:]]
    leave = leave.model_copy(update={"rows": tuple(rows)})
    found = block(built(one, leave, results=done)[1], "attribution")
    assert points(found, "a", "alone")[0] == pytest.approx(2.0, abs=0.15)
    assert points(found, "a", "on top of all others")[0] == pytest.approx(2.0, abs=0.15)
    assert "Shapley" not in found.heads  # with and without a are two recipes


def test_a_trick_that_changes_nothing_is_no_comparison() -> None:
    """Where its rows are those without it (as linear scaling at batch 256)."""
    values = planted({("a",): 0.02}, "ab", seeds=3, noise=0.001)
    table = set_table("factorial", subsets("ab"), "ab")
    keys = {row.factors: row.keys for row in table.rows}
    rows = [
        row.model_copy(update={"keys": keys[tuple(f for f in row.factors if f != "b")]})
        for row in table.rows
    ]
    table = table.model_copy(update={"rows": tuple(rows)})
    (made,) = built(table, results=of_sets(values))
    effects = block(made, "factorial")
    assert [(one.label, one.verdict) for one in effects.lines] == [
        *(("a", "gain"), ("b", "="), ("a × b", "=")),
    ]
    assert effects.comparisons == family(table)[1] == 1
    assert [one.label for one in block(made, "attribution").lines] == ["a"]
    two = orderings(["ab", "ba"])
    rows = [
        row.model_copy(update={"keys": keys[tuple(f for f in row.factors if f != "b")]})
        for row in two.rows
    ]
    (made,) = built(two.model_copy(update={"rows": tuple(rows)}), results=of_sets(values))
    assert [one.verdict for one in block(made, "shapley").lines] == ["gain", "="]


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (set_table("factorial", subsets("ab"), "ab"), "main effects and interactions"),
        (orderings(["ab", "ba"]), "shares"),
    ],
)
def test_incomplete_diverged_and_one_seed_tables_judge_nothing(table: Any, what: str) -> None:
    values = planted({("a",): 0.05}, "ab", seeds=3, noise=0.001)
    whole, gone = of_sets(values), key("a + b", 1)
    part = {k: v for k, v in whole.items() if k != gone}
    (made,) = built(table, results=part)
    assert made.blocks == ()
    assert made.comparisons == 0
    assert f"{what} need every row: a + b is incomplete" in made.notes
    (made,) = built(table, results=part, states={gone: State("diverged")})
    assert made.blocks == ()
    assert f"{what} need every row: a + b is diverged or incomplete" in made.notes
    assert [row.verdict for row in made.rows if row.label == "a + b"] == ["diverged (1 of 3)"]
    single = table.model_copy(
        update={
            "seeds": (0,),
            "rows": tuple(r.model_copy(update={"keys": r.keys[:1]}) for r in table.rows),
        }
    )
    (made,) = built(single, results=whole)
    assert made.blocks == ()
    assert f"{what} need two seeds" in made.notes


V1 = {
    "baseline": (90.0, 90.4, 90.2),
    "+ warmup": (90.5, 90.7, 90.9),
    "+ mixup": (91.8, 92.0, 91.6),
    "+ cosine": (91.7, 92.2, 91.8),
}


def test_the_design_pages_mean_over_two_data_sets() -> None:
    """V1's first effect and V3's A alone, by Satterthwaite's formula: mean 1.5833.

    The page's second fit has four rows, of which this table shows two; so its rows are given the
    same names as V1's, and the first effect is the one that is checked.
    """
    third = dict(zip(V1, (tuple(100 * v for v in line) for line in V3.values()), strict=True))
    rows = [*cumulative("warmup"), ("+ mixup", "step", 0), ("+ cosine", "step", 0)]
    first, second = (
        plain_table(rows, total=False),
        plain_table(rows, total=False, dataset="imagewoof"),
    )
    done = results(V1, summary={"examples": 4000})
    done |= results(third, dataset="imagewoof", summary={"examples": 1000})
    made = built(first, second, results=done)
    assert made[0].blocks == ()
    found = block(made[1], "data_sets")
    assert found.heads == ("imagenette", "imagewoof", "mean", "difference")
    assert [one.label for one in found.lines] == ["+ warmup", "+ mixup", "+ cosine"]
    one, two, mean, apart = line(found, "+ warmup").cells
    assert one is not None
    assert two is not None
    assert mean is not None
    assert apart is not None
    assert 100 * one.value == pytest.approx(0.5)
    assert 100 * two.value == pytest.approx(2.6667, abs=5e-5)
    rules = [
        Rule({name: np.array(line) / 100 for name, line in lines.items()}, examples)
        for lines, examples in ((V1, 4000), (third, 1000))
    ]
    both = [rule.difference("+ warmup", "baseline") for rule in rules]
    variance = sum(each.se**2 for each in both) / 4
    df = variance**2 / sum((each.se**2 / 4) ** 2 / each.df for each in both)
    half = scipy_stats.t.ppf(0.975, df) * variance**0.5
    middle = (both[0].estimate + both[1].estimate) / 2
    assert 100 * middle == pytest.approx(1.5833, abs=5e-5)
    assert mean.value == pytest.approx(middle)
    assert (mean.low, mean.high) == pytest.approx((middle - half, middle + half))
    assert mean.effect is not None  # for the formats that print everything
    assert (mean.effect.se, mean.effect.df) == pytest.approx((variance**0.5, df))
    (printed,) = json.loads(render_json(made[1:]))["tables"][0]["blocks"]
    assert printed["lines"][0]["cells"][2]["se"] == pytest.approx(100 * variance**0.5)
    assert 100 * apart.value == pytest.approx(0.5 - 2.6667, abs=1e-4)
    # twice the mean's half-width: the same variances, not divided by 4
    assert (apart.high - apart.low) / 2 == pytest.approx(2 * half)


def test_several_data_sets_of_a_factorial_are_its_effects() -> None:
    values = planted({("a",): 0.02}, "ab", seeds=3, noise=0.001)
    names = ("imagenette", "imagewoof", "cifar10")
    tables = [set_table("factorial", subsets("ab"), "ab", dataset=name) for name in names]
    done: dict[str, Any] = {}
    for name in names:
        done |= of_sets(values, dataset=name)
    made = built(*tables, results=done)
    found = block(made[2], "data_sets")
    assert found.heads == (*names, "mean")
    assert [one.label for one in found.lines] == ["a", "b", "a × b"]
    cells = line(found, "a").cells
    assert cells[3] is not None
    assert cells[0] is not None
    assert cells[3].value == pytest.approx(cells[0].value)
    del done[key("a", 0, "cifar10")]
    assert [b.name for b in built(*tables, results=done)[2].blocks] == []


def test_a_total_is_one_of_the_effects_and_other_rows_are_no_pair() -> None:
    two = [
        plain_table(cumulative("warmup", "mixup"), dataset=d) for d in ("imagenette", "imagewoof")
    ]
    values = {k: V1[k] for k in ("baseline", "+ warmup", "+ mixup")}
    done = results(values) | results(values, dataset="imagewoof")
    made = built(*two, results=done)
    labels = [one.label for one in block(made[1], "data_sets").lines]
    assert labels == ["+ warmup", "+ mixup", "all 2 tricks"]
    fewer = plain_table(cumulative("warmup"), dataset="imagewoof")
    assert built(two[0], fewer, results=done)[1].blocks == ()


def test_the_report_counts_the_family_that_plan_announced() -> None:
    values = planted(PLANTED, "abcd", seeds=3, noise=0.002)
    for table in (
        set_table("factorial", subsets("abcd"), "abcd"),
        set_table("factorial", subsets("a"), "a"),
        orderings(["abcd", "dcba"]),
        orderings(["abcd", "dcba", "bdac"]),
    ):
        (made,) = built(table, results=of_sets(values))
        assert made.blocks[0].comparisons == family(table)[1]


A, B = ("+ a", "step", 0), ("+ b", "step", 1)


@pytest.mark.parametrize(
    ("table", "rows", "comparisons"),
    [
        (plain_table(cumulative("a", "b", "c")), 4, 4),  # three steps and their total
        (plain_table(cumulative("a")), 2, 1),  # the total is the step
        # the branch is a comparison, and the total is of the trunk
        (plain_table([*cumulative("a"), ("+ x", "branch", 1), ("+ b", "step", 1)]), 4, 4),
        (plain_table([*cumulative(), ("long", "control", 0), ("+ a", "step", 1)]), 3, 3),
        # "=": + b is + a, so that the total is the first step once more
        (plain_table([*cumulative(), A, B], keys={"+ b": "+ a"}), 2, 1),
        # + b is the baseline again: both steps, of opposite sign, and no total
        (plain_table([*cumulative(), A, B], keys={"+ b": "baseline"}), 2, 2),
        (plain_table([*cumulative(), A, ("+ b", "step", 0)], reference="baseline"), 3, 2),
        (plain_table([*cumulative(), A, B], seeds=3, total=False), 3, 2),
    ],
)
def test_plan_and_report_count_the_same_comparisons(
    table: Any, rows: int, comparisons: int
) -> None:
    values = {f"{row.label}": (80.0 + i, 81.5 + i, 80.2 - i) for i, row in enumerate(table.rows)}
    (made,) = built(table, results=results(values))
    assert family(table) == (rows, comparisons)
    assert made.comparisons == comparisons
    if not made.exact_agreement:
        assert made.df is not None
        assert made.df <= (rows - 1) * 2


def test_rows_have_no_column_of_verdicts_until_one_is_missing() -> None:
    values = planted(PLANTED, "ab", seeds=3, noise=0.002)
    table, done = set_table("factorial", subsets("ab"), "ab"), of_sets(values)
    made = built(table, results=done)
    (document,) = json.loads(render_json(made))["tables"]
    assert (document["kind"], document["comparisons"]) == ("factorial", 0)
    assert [b["comparisons"] for b in document["blocks"]] == [3, 0]
    rows, _, effects = render_terminal(made, width=100, color=False, ascii=False).partition("main ")
    assert "verdict" not in rows
    assert "Holm" not in rows
    assert "a × b" in effects
    assert "Holm-corrected over 3 comparisons" in " ".join(effects.split())
    assert "verdict" not in render_markdown(made).partition("####")[0].partition("Top-1")[0]
    del done[key("a", 1)]
    rows = render_terminal(built(table, results=done), width=100, color=False, ascii=False)
    assert "… incomplete (2 of 3 seeds)" in rows
    assert "! main effects and interactions need every row: a is incomplete" in rows
    assert "Holm" not in rows


def test_the_page_says_what_helps_though_no_row_is_judged() -> None:
    values = planted(PLANTED, "abcd", seeds=4, noise=0.001)
    table = set_table("factorial", subsets("abcd"), "abcd", seeds=4)
    page = render("html", built(table, results=of_sets(values)))
    said = " ".join(re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]).split())
    found = {
        lead: set(re.findall(r"\b[a-d](?: × [a-d])?(?= [+−]\d)", said.partition(lead)[2][:90]))
        for lead in ("Helps", "Hurts")
    }
    assert found["Helps"] >= {"a", "b", "d"}
    assert "c" in found["Hurts"]
    assert "Bring more together: c × d +3.0" in said
    assert "Bring less together: a × b −2.0" in said or "Bring less together: a × b −1.9" in said
    assert "Holm-corrected over the 0" not in said
