"""Interactions near the ceiling: words that are no gain or loss, and log-odds beside points."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats as scipy_stats

from ablate import stats
from ablate.report import render, render_terminal
from ablate.report.formats.methods import render_methods
from ablate.report.tables import interactions
from ablate.stats import noise
from tests.helpers.set_studies import block, built, line, of_sets, set_table, subsets

# cosine and zero_gamma on digits, trained too short: what zero_gamma costs cosine brings back
CEILING = {
    (): (0.887, 0.893, 0.881, 0.887),
    ("a",): (0.957, 0.953, 0.961, 0.957),
    ("b",): (0.560, 0.510, 0.550, 0.532),
    ("a", "b"): (0.760, 0.810, 0.800, 0.786),
}
N = 599


def factorial(values: Any = CEILING, **more: Any) -> Any:
    seeds = len(next(iter(values.values())))
    examples = more.pop("examples", N)
    (made,) = built(
        set_table("factorial", subsets("ab"), "ab", seeds=seeds),
        results=of_sets(values, examples=examples),
        **more,
    )
    return made


def logit(values: Any) -> Any:
    return scipy_stats.logistic.ppf(np.array(values))


def by_hand(values: Any, coefficients: Any) -> tuple[float, float]:
    """Estimate and standard error on log-odds: the residual of statsmodels' fit of row + seed,
    moderated by the contrast's own variance over seeds (Smyth, 2004)."""
    y = logit(values)  # [rows, seeds]
    rows, seeds = y.shape
    design = np.zeros((rows * seeds, rows + seeds - 1))
    for cell in range(rows * seeds):
        design[cell, cell // seeds] = 1
        if cell % seeds:
            design[cell, rows + cell % seeds - 1] = 1
    fit = sm.OLS(y.ravel(), design).fit()
    law = fit.mse_resid * float(np.square(coefficients).sum())
    own = np.var(coefficients @ y, ddof=1)
    weight = noise.LAW.weight
    variance = (weight * law + (seeds - 1) * own) / (weight + seeds - 1)
    return float(coefficients @ fit.params[:rows]), float(np.sqrt(variance / seeds))


def test_a_step_that_is_the_same_on_log_odds_is_no_interaction() -> None:
    made = factorial()
    found = block(made, "factorial")
    pair = line(found, "a × b")
    (cell,) = pair.cells
    assert cell is not None
    assert 100 * cell.value == pytest.approx(100 * np.dot([1, -1, -1, 1], means()), abs=1e-9)
    assert (pair.verdict, pair.mark) == ("more together", "more together")
    assert pair.word == "in points only"
    estimate, se = by_hand(list(CEILING.values()), np.array([1.0, -1, -1, 1]))
    assert cell.log_odds.delta == pytest.approx(estimate, rel=1e-9)
    assert cell.log_odds.se == pytest.approx(se, rel=1e-9)
    assert cell.log_odds.low < 0 < cell.log_odds.high
    low, high = (f"{abs(end):.2f}" for end in (cell.log_odds.low, cell.log_odds.high))
    said = f"a × b on log-odds: +{estimate:.2f} [−{low}, +{high}], no interaction shown."
    assert said in found.caption
    assert interactions.EXPLAINED in found.caption
    # tricks by themselves are gains and losses, and have one scale
    assert (line(found, "a").verdict, line(found, "b").verdict) == ("gain", "loss")
    assert line(found, "a").cells[0].log_odds is None


def means() -> Any:
    return np.array([np.mean(v) for v in CEILING.values()])


def test_no_interaction_is_a_gain_or_a_loss() -> None:
    for sign, word in ((1, "more together"), (-1, "less together")):
        values = {m: [0.5 + 0.001 * s for s in (1, -1, 2)] for m in subsets("ab")}
        values["a", "b"] = [0.5 + sign * 0.1 + 0.001 * s for s in (-1, 1, 0)]
        found = line(block(factorial(values), "factorial"), "a × b")
        assert (found.verdict, found.mark, found.word) == (word, word, "")
        text = render_terminal([factorial(values)], width=100, color=False, ascii=False)
        assert f"{'⊕' if sign > 0 else '⊖'} {word}" in text
        plain = render_terminal([factorial(values)], width=100, color=False, ascii=True)
        assert f"({'+' if sign > 0 else '-'}) {word}" in plain


def test_a_small_one_is_negligible() -> None:
    assert interactions.verdict("gain, negligible")[0] == "more together, negligible"
    assert interactions.verdict("loss, negligible")[1] == "less together"
    assert interactions.verdict("equivalent") == ("equivalent", None)


def effect(low: float, high: float) -> stats.Effect:
    middle = (low + high) / 2
    return stats.Effect(middle, 1.0, 5, low, high, None, None, None)


@pytest.mark.parametrize(
    ("points", "log_odds", "said"),
    [
        ((1, 2), (0.1, 0.2), ""),
        ((-1, 2), (-0.1, 0.3), ""),
        ((-2, 1), (-0.1, 0.3), ""),  # neither shows anything: their signs say nothing
        ((1, 2), (-0.1, 0.3), "in points only"),
        ((-1, 2), (0.1, 0.3), "on log-odds only"),
        ((1, 2), (-0.3, -0.1), "reversed on log-odds"),
    ],
)
def test_where_scales_disagree(points: Any, log_odds: Any, said: str) -> None:
    assert interactions.apart(effect(*points), effect(*log_odds)) == said


def test_an_interaction_that_points_hide() -> None:
    """90 → 95 and 98 → 99.9: 5 points and 1.9, and odds of 2.1 and of 20 to one."""
    values = {
        (): (0.900, 0.9010, 0.8990),
        ("a",): (0.950, 0.9505, 0.9495),
        ("b",): (0.940, 0.9410, 0.9390),
        ("a", "b"): (0.9897, 0.9895, 0.9899),
    }
    pair = line(block(factorial(values, examples=100_000), "factorial"), "a × b")
    assert abs(pair.cells[0].value) < 0.0005
    assert pair.word == "on log-odds only"
    assert pair.verdict not in ("more together", "less together")


def test_all_and_none_right_are_half_an_image_away() -> None:
    found = stats.log_odds([0.0, 0.5, 1.0, np.nan], examples=200)
    assert found[:3] == pytest.approx(logit([0.5 / 200, 0.5, 1 - 0.5 / 200]))
    assert np.isnan(found[3])
    whole = {members: tuple(values) for members, values in CEILING.items()}
    whole["a",] = (1.0, 1.0, 0.999, 1.0)
    cell = line(block(factorial(whole), "factorial"), "a × b").cells[0]
    assert np.isfinite(cell.log_odds.delta)


def test_a_metric_that_is_no_share_has_one_scale() -> None:
    made = factorial(metric="loss", margin=0.01)
    found = block(made, "factorial")
    assert {cell.log_odds for one in found.lines for cell in one.cells} == {None}
    assert not any("log-odds" in part for part in found.caption)


def test_attribution_says_it_too() -> None:
    made = built(
        set_table("one_at_a_time", [(), ("a",), ("b",)], "ab", seeds=4),
        set_table("leave_one_out", [("a", "b"), ("b",), ("a",)], "ab", seeds=4),
        results=of_sets(CEILING, examples=N),
    )
    found = block(made[1], "attribution")
    assert [one.word for one in found.lines] == ["more together, in points only"] * 2
    cell = line(found, "a").cells[2]
    estimate, se = by_hand(list(CEILING.values()), np.array([-1.0, 1, 1, -1]))
    assert (cell.log_odds.delta, cell.log_odds.se) == pytest.approx((estimate, se), rel=1e-9)
    assert any(part.startswith("a on log-odds: −0.") for part in found.caption)
    # beside the difference that it is about, and not behind the Shapley value
    row = next(x for x in render("markdown", made).splitlines() if x.startswith("| a | +7.0"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[3].startswith("−18.1 [")
    assert cells[4] == "more together, in points only"
    assert cells[5].startswith("+16.1 [")
    text = " ".join(found.caption)
    assert "Less together: it brings more alone." in text
    for word in ("gain,", "loss,", "redundant", "synergetic"):
        assert word not in text


def test_on_several_data_sets_it_is_no_gain_either() -> None:
    values = {m: [0.5 + 0.001 * s for s in (1, -1, 2)] for m in subsets("ab")}
    values["a", "b"] = [0.6 + 0.001 * s for s in (-1, 1, 0)]
    names = ("imagenette", "imagewoof")
    done = {k: r for name in names for k, r in of_sets(values, dataset=name).items()}
    tables = [set_table("factorial", subsets("ab"), "ab", dataset=name) for name in names]
    found = block(built(*tables, results=done)[1], "data_sets")
    pair = line(found, "a × b")
    assert (pair.verdict, pair.mark) == ("more together", "more together")
    assert pair.word == "more together on both"
    assert line(found, "a").verdict == "gain"
    assert line(found, "a").word == "gain on both"


def test_every_format_carries_it() -> None:
    made = factorial()
    cell = line(block(made, "factorial"), "a × b").cells[0]
    (document,) = json.loads(render("json", [made]))["tables"]
    told = next(b for b in document["blocks"] if b["name"] == "factorial")["lines"][2]
    assert (told["verdict"], told["word"]) == ("more together", "in points only")
    wanted = (cell.log_odds.delta, cell.log_odds.low, cell.log_odds.high, cell.log_odds.se)
    ours = told["cells"][0]["log_odds"]
    assert tuple(ours[n] for n in ("value", "low", "high", "se")) == pytest.approx(wanted)
    lines = list(csv.DictReader(io.StringIO(render("csv", [made]))))
    pair = next(x for x in lines if x["row"] == "a × b")
    found = tuple(float(pair[n]) for n in ("log_odds", "log_odds_low", "log_odds_high"))
    assert found == pytest.approx(wanted[:3])
    assert next(x for x in lines if x["row"] == "a")["log_odds"] == ""
    page = render("html", [made])
    assert "Bring more together: " in page
    assert ", in points only" in page
    assert "no interaction shown" in page
    for kind in ("markdown", "latex"):
        text = render(kind, [made])
        assert "more together" in text
        assert "⊕" not in text
        assert "in points only" in text
    assert "no interaction shown." in render_methods([made])
