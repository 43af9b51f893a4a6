"""Published figures as a reader sees them: terminal, markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from rich.cells import cell_len

from ablate.report import render_csv, render_json, render_markdown, render_terminal
from ablate.report.published.data import paper
from tests.helpers.compared_studies import (
    EFFICIENT,
    RECIPE,
    VARIANT,
    compared,
    planned,
    spread,
    stacked,
    table4,
    table5,
    tricks,
)
from tests.helpers.report_studies import table

# Our intervals, in points, as the transcript prints them; the paper's figures come from its file.
OURS = {
    "linear_scaling": "87.3 ±0.2",
    "+ warmup": "88.3 ±0.3  +1.0 [+0.5, +1.4]  ▲ gain      ",
    "+ zero_gamma": "89.1 ±0.3  +0.8 [+0.3, +1.3]  ▲ gain      ",
    "+ no_bias_decay": "89.0 ±0.4  −0.1 [−0.4, +0.2]  ■ equivalent",
    "+ fp16": "88.9 ±0.3  −0.1 [−0.7, +0.4]  ○ unresolved",
}
HEAD = """\
imagenette, batch 1024  measured   Δ row above                        paper  paper  paper's Δ in
                        top-1 %    [95% interval]     verdict       top-1 %      Δ  our interval
────────────────────────────────────────────────────────────────────────────────────────────────
"""
FOOT = """\
° known figure, not read in the paper's text · paper: one run, no interval, arXiv 1812.01187 table 4
Differs: Imagenette 160 px, 20 epochs, 5 seeds, RTX 4090 / ImageNet 224 px, 120 epochs, 8 × V100.
"""


def nasty():
    rows = stacked("linear_scaling", "warmup", "a|b<i>\u202e\x1b[2J")
    return compared(planned([table(rows)], name="table4", base=RECIPE), spread(rows))


def show(tables, width=100, **more):
    more = {"color": False, "ascii": False} | more
    return render_terminal(tables, width=width, **more)


def transcript():
    """The reference's table: our columns as they stand there, the paper's from the package."""
    lines, before = [], None
    [report] = table4()
    for (label, ours), line, row in zip(
        OURS.items(), paper().table(4).rows, report.rows, strict=True
    ):
        theirs = f"{line.top1[1]}°".rjust(7)
        text = f"{label.ljust(22)}  {ours.ljust(42)}  {theirs}"
        if before is not None:
            delta = line.top1[1] - before
            effect = row.delta.effect
            inside = effect.low * 100 <= float(delta) <= effect.high * 100
            sign = "+" if delta > 0 else "−"
            text += f"  {sign}{abs(delta)}  {'yes' if inside else 'no'}"
        lines.append(text)
        before = line.top1[1]
    return HEAD + "\n".join(lines) + "\n" + FOOT


def test_the_reference_transcript_at_100_columns():
    assert show(table4()) == transcript()


@pytest.mark.parametrize(
    ("width", "gone"),
    [(95, ["±sd"]), (92, ["±sd", "paper top-1"]), (80, ["±sd", "paper top-1", "verdict"])],
)
def test_narrower_terminals_drop_whole_columns_in_the_stated_order(width, gone):
    text = show(table4(), width)
    assert f"not shown at this width: {', '.join(gone)} (--columns all)" in text
    assert "paper's Δ in" in text
    assert ("±0." in text) == ("±sd" not in gone)
    # where the figure is gone, its mark stands at the difference
    assert bool(re.search(r"[+−]\d\.\d\d°", text)) == ("paper top-1" in gone)
    assert "not shown" not in show(table4(), width, columns="all")


@pytest.mark.parametrize("make", [table4, lambda: table4(1), table5, tricks, nasty])
@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("width", [30, 59, 60, 75, 90, 100, 130])
def test_no_line_is_too_long_and_nothing_is_cut(make, ascii, width):
    tables = make()
    text = show(tables, width, ascii=ascii)
    if width >= 60:
        assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert not ascii or text.isascii()
    for row in tables[0].rows:
        cell = row.published
        if cell and cell.delta is not None:
            assert str(abs(cell.delta)) in text


def test_below_60_columns_a_block_per_row():
    lines = show(table4(), 50).splitlines()
    [report] = table4()
    cell = report.rows[1].published
    assert "  measured top-1 %           88.3 ±0.3" in lines
    assert f"  paper top-1 %              {cell.top1}°" in lines
    assert f"  paper's Δ in our interval  {'yes' if cell.inside else 'no'}" in lines


def test_one_seed_has_a_band_and_no_yes_or_no():
    text = show(table4(1))
    assert "re-run noise" in text
    assert "inside ±" in text
    assert "One seed: no interval and no verdict." in text
    assert "our interval" not in text
    assert not re.search(r"\b(yes|no)$", text, re.MULTILINE)
    assert "seeds" not in text.split("Differs: ")[1].split(" / ")[0]


def test_single_tricks_say_that_they_are_from_another_stack():
    text = show(tricks())
    heads = text.splitlines()[:2]
    assert "paper's Δ for" in heads[0]
    assert "this trick" in heads[1]
    assert "paper  " not in heads[0]  # no figure of another stack beside ours
    assert text.count("table 4") == 4  # three rows and the footnote
    assert "from another stack" in text


def test_a_source_that_was_read_has_no_mark_and_a_repeated_one_another():
    rows = stacked("efficient", "cosine", "label_smoothing", branches=("mixup", "distill + mixup"))
    resolved = planned([table(rows)], name="table6", base=(*RECIPE, *EFFICIENT, *VARIANT))
    text = show(compared(resolved, spread(rows)))
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    for label, mark in (("+ cosine", "°"), ("+ mixup", "§"), ("+ distill + mixup", " ")):
        [row] = [r for r in paper().table(6).rows if f"+ {r.step}" == label]
        assert f"{row.top1[0]}{mark}" in lines[label]
    assert "§ known figure, the same in an independent public source" in text.replace("\n", " ")


def test_costs_stand_beside_the_paper_s_where_both_are_known():
    assert "M params" not in show(table5(), 130)
    text = show(table5(parameters=25_557_032, macs=3_857_973_248), 130)
    for line, row in zip(text.splitlines()[3:7], paper().table(5).rows, strict=True):
        assert line.endswith(f"25.6 / {row.mparams}°    3.86 / {row.gflops}°")
    narrow = show(table5(parameters=25_557_032, macs=3_857_973_248), 100)
    assert "not shown at this width: M params" in narrow
    alone = show(table5(parameters=25_557_032, macs=3_857_973_248), 70, columns="cost")
    assert "3.86 / " in alone
    assert "verdict" not in alone


def test_the_cost_alone_is_ours_where_the_paper_has_none():
    measured = {"parameters": 25_557_032, "macs": 3_857_973_248}
    tables = table4(summary={"examples": 3925, **measured})
    for text in (show(tables, 100, columns="cost"), show(tables, 50, columns="cost")):
        assert text.count("25.6") == len(tables[0].rows) * len(tables)
        assert "paper" not in text
    assert render_markdown(tables, columns="cost").count("| 25.6 | 3.86 |") == 5 * len(tables)


def test_minutes_stand_beside_the_paper_s():
    rows = stacked("baseline", "efficient")
    resolved = planned([table(rows)], name="table3", bundles={"efficient": EFFICIENT}, base=RECIPE)
    seconds = {"baseline": 90.0, "+ efficient": 30.0}
    text = show(compared(resolved, spread(rows), seconds=seconds), 130)
    first, second = (row.minutes[0] for row in paper().table(3).rows)
    assert f"1.50 / {first}\n" in text  # read in the text: no mark
    assert f"0.500 / {second}\n" in text


def test_the_paper_s_own_recipe_is_not_repeated_in_the_first_row_s_label():
    bundle = {"paper_recipe": RECIPE}
    rows = stacked("paper_recipe + linear_scaling", "warmup", "zero_gamma")
    rows[0] = ("paper_recipe + linear_scaling", "baseline", None)
    of = table(rows)
    first = of.rows[0].model_copy(update={"tricks": ("paper_recipe", "linear_scaling")})
    others = [
        row.model_copy(update={"tricks": (*first.tricks, *row.tricks)}) for row in of.rows[1:]
    ]
    of = of.model_copy(update={"rows": (first, *others)})
    resolved = planned([of], name="table4", bundles=bundle)
    [report] = compared(resolved, spread(rows))
    assert show([report]).splitlines()[3].startswith("linear_scaling  ")
    assert report.rows[0].label == "paper_recipe + linear_scaling"
    assert "| paper\\_recipe" not in render_markdown([report])
    assert "| paper_recipe + linear_scaling | " in render_markdown([report])


def test_markdown_has_every_column_and_what_differs():
    text = render_markdown(table4())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == (
        "| row | measured top-1 % | Δ row above [95%] | verdict | paper top-1 % | paper Δ | "
        "paper's Δ in our interval |"
    )
    assert len({row.count("|") for row in rows}) == 1
    assert FOOT.splitlines()[1] in text.split("\n\n")
    assert "over n = 5 seeds" in text


def test_json_is_extended_by_the_published_figures():
    [plain] = json.loads(render_json(without_paper(table4())))["tables"]
    [found] = json.loads(render_json(table4()))["tables"]
    published = [row.pop("published") for row in found["rows"]]
    view = found.pop("paper")
    assert found == plain  # nothing else changes
    assert (view["match"], view["table"], view["column"]) == ("table", 4, "batch 1024")
    for cell, line in zip(published, paper().table(4).rows, strict=True):
        assert (cell["top1"], cell["top5"]) == (float(line.top1[1]), float(line.top5[1]))
        assert (cell["source"], cell["table"], cell["step"]) == (line.source[1], 4, line.step)
    assert published[0]["delta"] is None
    assert isinstance(published[1]["inside"], bool)


def without_paper(tables):
    from dataclasses import replace

    return [
        replace(each, paper=None, rows=tuple(replace(row, published=None) for row in each.rows))
        for each in tables
    ]


def test_csv_has_the_published_figures_per_row():
    lines = list(csv.DictReader(io.StringIO(render_csv(table4()))))
    for line, row in zip(lines, paper().table(4).rows, strict=False):
        assert float(line["published_top1"]) == float(row.top1[1])
        assert line["published_source"] == row.source[1]
    assert lines[1]["published_inside"] in ("True", "False")
    assert lines[-1]["role"] == "total"
    assert lines[-1]["published_top1"] == ""
    assert "published_top1" not in render_csv(without_paper(table4()))


@pytest.mark.parametrize("render", [render_markdown, render_csv, render_json, show])
def test_no_hidden_character_leaves_in_any_format(render):
    text = render(nasty())
    assert not {"\u202e", "\x1b"} & set(text)
    assert "\\u202e" in text
    if render is render_markdown:
        assert "<i>" not in text


def test_colour_is_the_verdict_s_only():
    text = show(table4(), color=True)
    assert "\x1b[36m▲ gain\x1b[0m" in text
    assert re.sub(r"\x1b\[\d+m", "", text) == show(table4())
