"""What captions say of the intervals, in every format, with their degrees of freedom."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ablate.core.table_looks import TableLook
from ablate.report import build_tables, render, render_methods
from ablate.report.captions import level_in_words, seeds_needed
from ablate.report.model import ReportTable
from ablate.stats import SeedsRange
from tests.helpers.moderated import Rule
from tests.helpers.reference_tables import NETTE, nette, show
from tests.helpers.report_studies import GROUP1, State, key, results, study, table
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
