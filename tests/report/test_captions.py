"""What captions say of the intervals, in every format, and that they are true of their tables."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm

from ablate.core.table_looks import TableLook
from ablate.report import build_tables, render, render_methods, render_terminal
from ablate.report.captions import level_in_words, seeds_needed
from ablate.report.model import ReportTable
from ablate.stats import SeedsRange
from tests.helpers.moderated import Rule
from tests.helpers.reference_tables import NETTE, nette, show
from tests.helpers.report_studies import GROUP1, State, cumulative, key, results, study, table
from tests.helpers.set_studies import block, built, of_sets, planted, set_table, subsets


def tables(lost: bool = False) -> tuple[list[ReportTable], str]:
    """A table, and the degrees of freedom of its comparisons as they are printed."""
    states: dict[str, State] = {}
    done, values = results(NETTE), {k: np.array(v) / 100 for k, v in NETTE.items()}
    if lost:  # two diverged seeds: the comparison of their rows has one seed that both have
        for row, seed in (("+ mixup", 1), ("+ fp16", 2)):
            del done[key(row, seed)]
            states[key(row, seed)], values[row][seed] = State("diverged"), np.nan
    rule, names = Rule(values, 3925), list(values)
    pairs = [*zip(names[1:], names, strict=False), (names[-1], names[0])]
    degrees = [rule.difference(*pair).df for pair in pairs]
    ends = dict.fromkeys(f"{round(df, 1):g}" for df in (min(degrees), max(degrees)))
    return build_tables(study(table(GROUP1)), done, states), " to ".join(ends)


def plain(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).replace("\u00a0", " ").split())


FORMATS: dict[str, tuple[Any, str]] = {
    "terminal": (show, "Δ over the same seeds, moderated 95% interval ({df} df)"),
    "markdown": (
        lambda made: render("markdown", made),
        "95% interval from its own seeds and the noise of all rows (moderated t, {df} df)",
    ),
    "latex": (
        lambda made: render("latex", made),
        r"with 95\% interval, moderated $t$, {df} df",
    ),
    "html": (lambda made: render("html", made), "moderated 95% intervals ({df} df), not corrected"),
    "methods": (
        render_methods,
        "from each difference's own variance over seeds, moderated by the residual variance of all "
        "variants (Smyth, 2004; {df} degrees of freedom)",
    ),
}


@pytest.mark.parametrize("lost", [False, True], ids=["whole", "missing cells"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_interval_and_its_degrees_of_freedom_are_named(name: str, lost: bool) -> None:
    made, degrees = tables(lost)
    assert (" to " in degrees) == lost
    write, said = FORMATS[name]
    text = plain(write(made))
    if lost and name == "terminal":
        said = said.replace("seeds,", "seeds, fitted where one diverged,")
    assert said.format(df=degrees) in text
    assert "pooled" not in text


def test_json_has_the_fewest_and_each_comparisons_own() -> None:
    made, degrees = tables(lost=True)
    (document,) = json.loads(render("json", made))["tables"]
    assert f"{round(document['df'], 1):g}" == degrees.split(" to ")[0]
    own = [row["delta"]["df"] for row in document["rows"][1:]]
    assert document["df"] == min([*own, document["total"]["delta"]["df"]])
    assert len({round(df, 6) for df in own}) == 3


@pytest.mark.parametrize("format", ["terminal", "markdown", "latex", "html"])
def test_main_effects_have_a_caption_of_their_own(format: str) -> None:
    values = planted({("a",): 0.02}, "ab", seeds=3, noise=0.002)
    made = built(set_table("factorial", subsets("ab"), "ab"), results=of_sets(values))
    df = round(Rule(values, 3925).difference(("a",), ()).df, 1)  # no cell is missing
    text = plain(show(made) if format == "terminal" else render(format, made))
    wanted = f"each from its own seeds and the noise of all rows (moderated t, {df:g} df)"
    assert wanted in text
    assert block(made[0], "factorial").comparisons == 3


TABLE = nette()[0]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (8, 29, "8 to 30 seeds"),
        (7, 12, "7 to 12 seeds"),
        (13, 41, "10 to 45 seeds"),
        (2, 2, "about 2 seeds"),
        (47, 81, "45 to 90 seeds"),
        (56, 100, "50 to 100 seeds"),
        (24, None, "20 to more than 100 seeds"),
        (None, None, "more than 100 seeds"),
    ],
)
def test_seeds_are_a_range_in_numbers_that_a_person_would_say(low, high, said):
    assert seeds_needed(replace(TABLE, seeds_range=SeedsRange(low, high))) == said


def test_they_are_of_the_next_look_and_unknown_without_a_variance_per_seed():
    second = replace(TABLE, seeds_range=SeedsRange(8, 29), look=TableLook(2, 0.0025))
    assert seeds_needed(second) == "8 to 30 seeds at look 3"
    assert seeds_needed(replace(TABLE, seeds_range=None)) == "more seeds than anyone can train"


def test_levels_are_printed_whole():
    levels = [0.05, 0.0025, 0.00125, 0.000625, 0.005]
    assert [level_in_words(a) for a in levels] == [".05", ".0025", ".00125", ".000625", ".005"]


ROWS = cumulative("warmup", "mixup")
VALUES = {
    "baseline": (90.0, 91.2, 89.6),
    "+ warmup": (90.5, 91.7, 90.9),
    "+ mixup": (91.8, 94.0, 91.6),
}


def made(lost=(), status="diverged", **more):
    gone = {key(label, seed): State(status) for label, seed in lost}
    kept = {k: r for k, r in results(VALUES).items() if k not in gone}
    return build_tables(study(table(ROWS), **more), kept, gone)


def texts(tables):
    shown = render_terminal(tables, width=100, color=False, ascii=False)
    page = re.sub(r"<[^>]+>", "", render("html", tables))
    parts = shown, render("markdown", tables), page, render_methods(tables)
    return [" ".join(text.split()) for text in parts]


def test_a_difference_around_a_diverged_seed_is_the_fit_s_and_said_so():
    tables = made([("+ mixup", 1)])
    assert "+1.1 [" in render_terminal(tables, width=100, color=False, ascii=False)
    # statsmodels on row and seed dummies, without the cell; the loss, 1 − top-1, has no weights
    cells = [(i, s) for i in range(3) for s in range(3) if (i, s) != (2, 1)]
    design = np.array([[*(i == j for j in range(3)), s == 1, s == 2] for i, s in cells], float)
    fit = sm.OLS([VALUES[list(VALUES)[i]][s] for i, s in cells], design).fit()
    (loss,) = made([("+ mixup", 1)], metric="loss", margin=0.01)
    assert -100 * loss.rows[2].delta.delta == pytest.approx(fit.params[2] - fit.params[1])
    both = np.mean([VALUES["+ mixup"][s] - VALUES["+ warmup"][s] for s in (0, 2)])
    assert fit.params[2] - fit.params[1] > both + 0.05
    terminal, markdown, page, methods = texts(tables)
    assert "Δ over the same seeds, fitted where one diverged" in terminal
    assert "Δ: mean difference over the same seeds, fitted where one diverged" in markdown
    assert "Mean difference over the same 3 seeds, fitted where one diverged" in page
    assert "both variants have; where a training diverged they are those of the fit" in methods


@pytest.mark.parametrize("lost", [(), [("+ mixup", 1)]])
def test_means_over_the_seeds_that_both_have_are_called_no_more(lost):
    """Seeds that are not trained yet: the printed Δ is their mean, by hand."""
    tables = made(lost, "interrupted")
    for row, other in ((1, 0), (2, 1)):
        cells = zip(*(VALUES[tables[0].rows[i].label] for i in (row, other)), strict=True)
        apart = [a - b for s, (a, b) in enumerate(cells) if not (lost and row == 2 and s == 1)]
        assert 100 * tables[0].rows[row].delta.delta == pytest.approx(np.mean(apart))
    assert not any("fitted where" in text or "of the fit below" in text for text in texts(tables))


def test_a_difference_over_fewer_seeds_has_their_number_or_is_not_printed():
    tables = made([("+ mixup", 1)], "interrupted")
    text = render_terminal(tables, width=100, color=False, ascii=False)
    line = next(line for line in text.splitlines() if line.startswith("+ mixup"))
    assert "(n 2)" in line
    assert "on 2 seeds" in line
    assert "incomplete (2 of 3 seeds)" in line
    # what is left is the time: no Δ base without the number of its seeds
    assert line.split("seeds)")[1].split() == ["8.0", "s", "×1.00"]
    assert "on 2 seeds |" in next(
        line for line in render("markdown", tables).splitlines() if line.startswith("| + mixup")
    )


def test_rows_without_a_shared_seed_say_how_many_each_has():
    tables = made([("+ warmup", 0), ("+ mixup", 1), ("+ mixup", 2)], "interrupted")
    text = render_terminal(tables, width=100, color=False, ascii=False)
    lines = {line[:8]: line for line in text.splitlines()}
    assert "(n 2)" in lines["+ warmup"]
    assert "incomplete (2 of 3 seeds)" in lines["+ warmup"]
    assert "(n 1)" in lines["+ mixup "]
    assert "incomplete (1 of 3 seeds)" in lines["+ mixup "]
