"""Blocks below a table, hand-made, as a reader and a program see them."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len

from ablate.report import build_tables, render_csv, render_json, render_markdown
from ablate.report.model import Block, BlockCell, BlockLine
from tests.helpers.reference_tables import MARKDOWN, NASTY, NETTE_100, nette, one_seed, show, woof
from tests.helpers.report_blocks import (
    ALL,
    ATTRIBUTION,
    DATA_SETS,
    FACTORIAL,
    NEW_IMAGES,
    below,
    classes,
    named,
)
from tests.helpers.report_studies import cumulative, results, study, table

FACTORIAL_100 = """\

Main effects and pair interactions
                effect
                [95% interval]     verdict
─────────────────────────────────────────────────
warmup          +1.2 [+0.7, +1.7]  ▲ gain
mixup           −0.0 [−0.5, +0.5]  ○ unresolved
warmup × mixup  −1.1 [−1.6, −0.7]  ○ unresolved †
† the interval leaves out 0, the test corrected for 3 comparisons does not
Main effect: mean over the other tricks, in points.
Intervals are not corrected.
"""
ATTRIBUTION_100 = """\

Alone, left out, and the difference
            alone              left out           difference
            [95% interval]     [95% interval]     [95% interval]     verdict
────────────────────────────────────────────────────────────────────────────────────────────────
warmup      +1.2 [+0.7, +1.7]  +0.4 [−0.1, +0.9]  −0.8 [−1.3, −0.3]  ▲ gain        less together
zero_gamma  +0.2 [−0.3, +0.7]  +1.3 [+0.8, +1.8]  +1.1 [+0.6, +1.6]  ○ unresolved  more together
mixup       +0.2 [−0.3, +0.7]                                        … incomplete

            Shapley
            [95% interval]
─────────────────────────────
warmup      +0.8 [+0.3, +1.3]
zero_gamma  +0.8
mixup          –
Shapley values add up to the full set minus the baseline.
"""
CLASSES_100 = """\

Accuracy by class
         baseline  + zero_gamma
───────────────────────────────
class 0      50.0          91.0
class 1      70.0          91.0
Mean over seeds, per cent.
"""


@pytest.mark.parametrize(
    ("block", "said"),
    [(FACTORIAL, FACTORIAL_100), (ATTRIBUTION, ATTRIBUTION_100), (classes(2), CLASSES_100)],
    ids=["factorial", "attribution", "classes"],
)
def test_a_block_stands_below_its_table(block, said):
    text, note, families = show(below(nette(), block)).partition("\n! ")
    assert text + "\n" * bool(note) == NETTE_100 + said + "\n" * bool(note)
    # a block that is judged is a family of its own, beside the table's
    assert families.startswith("2 families of comparisons") == (block.judged is not None)


def test_the_table_itself_is_as_without_blocks():
    assert show(below(nette(), *ALL)).startswith(NETTE_100)
    assert render_markdown(below(nette(), *ALL)).startswith(MARKDOWN)
    costs, _, _ = show(below(nette(), *ALL), columns="cost").partition("\n! ")
    assert costs.rstrip("\n") == show(nette(), columns="cost").rstrip("\n")


def test_every_column_in_one_table_where_asked():
    lines = show(below(nette(), ATTRIBUTION), 60, columns="all").splitlines()
    [line] = [line for line in lines if line.startswith("warmup  ")]
    assert line.count("[") == 4


def test_below_60_columns_each_line_is_a_block_of_its_own():
    lines = show(below(nette(), ATTRIBUTION, classes(1)), 50).splitlines()
    at = lines.index("warmup")
    assert lines[at + 1 : at + 7] == [
        "  alone       +1.2 [+0.7, +1.7]",
        "  left out    +0.4 [−0.1, +0.9]",
        "  difference  −0.8 [−1.3, −0.3]",
        "  verdict     ▲ gain",
        "              less together",
        "  Shapley     +0.8 [+0.3, +1.3]",
    ]
    at = lines.index("class 0")
    assert lines[at + 1] == "  baseline      50.0"


@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("width", [30, 47, 60, 61, 72, 80, 93, 100, 121])
def test_nothing_is_cut_at_any_width(width, ascii):
    text = show(below(nette(), *ALL), width, ascii=ascii)
    assert all(cell_len(line) <= max(width, 47) for line in text.splitlines())
    words = re.split(r"\s+", text)
    for block in ALL:
        for line in block.lines:
            for word in (*line.label.split(), *line.verdict.split(), *line.word.split()):
                assert not word or word.replace("×", "x" if ascii else "×") in words
            for cell in line.cells:
                for value in (cell.value, cell.low, cell.high) if cell else ():
                    number = "" if value is None else f"{abs(value) * 100:.1f}"
                    assert number in text
    assert not ascii or text.isascii()


def test_captions_are_dim_and_verdicts_coloured():
    text = show(below(nette(), FACTORIAL), color=True)
    assert "\x1b[2mIntervals are not corrected.\x1b[0m" in text
    assert "+1.2 [+0.7, +1.7]  \x1b[36m▲ gain\x1b[0m" in text
    assert "\x1b[1mMain effects and pair interactions\x1b[0m" in text
    assert re.sub(r"\x1b\[\d+m", "", text) == show(below(nette(), FACTORIAL))


def test_the_lines_of_a_transposed_ablation_say_whose_block_it_is():
    made = [
        build_tables(
            study(table(cumulative("warmup"), 2, column=column, transpose=True)),
            results({"baseline": (70.0, 71.0), "+ warmup": (72.0, 73.0)}, column=column),
            {},
        )[0]
        for column in ("model a", "model b")
    ]
    made = [*below(made[:1], DATA_SETS), *below(made[1:], DATA_SETS)]
    text = show(made)
    assert text.index("model a: imagenette and") < text.index("model b: imagenette and")
    assert "#### model b: imagenette and imagewoof" in render_markdown(made)


def rendered(text: str) -> list[tuple[str, list[list[str]]]]:
    """(heading before it, cells) of each table that a Markdown renderer finds."""
    found, heading, rows, row, take = [], "", [], [], ""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type in ("heading_open", "td_open", "th_open"):
            take = token.type.removesuffix("_open")
        elif token.type == "inline" and take:
            said = "".join(child.content for child in token.children)
            heading, row = (said, row) if take == "heading" else (heading, [*row, said])
            take = ""
        elif token.type == "tr_close":
            rows, row = [*rows, row], []
        elif token.type == "table_close":
            found, rows = [*found, (heading, rows)], []
    return found


def test_markdown_renders_as_tables():
    found = rendered(render_markdown(below(nette(), *ALL)))
    assert [heading for heading, _ in found] == [
        "group1 on imagenette",
        *(block.title for block in ALL),
    ]
    main, factorial, attribution, *_ = (rows for _, rows in found)
    assert main[5][:4] == ["+ zero_gamma", "91.6 ± 0.3", "+1.2 [+0.7, +1.8]", "gain"]
    assert factorial == [
        ["", "effect [95%]", "verdict"],
        ["warmup", "+1.2 [+0.7, +1.7]", "gain"],
        ["mixup", "−0.0 [−0.5, +0.5]", "unresolved"],
        ["warmup × mixup", "−1.1 [−1.6, −0.7]", "unresolved †"],
    ]
    heads = [
        "",
        "alone [95%]",
        "left out [95%]",
        "difference [95%]",
        "verdict",
        "",
        "Shapley [95%]",
    ]
    assert attribution[0] == heads
    assert attribution[2][3:] == ["+1.1 [+0.6, +1.6]", "unresolved", "more together", "+0.8"]
    assert all(len(row) == len(rows[0]) for _, rows in found for row in rows)


@pytest.mark.parametrize("make", [nette, woof, one_seed])
def test_plain_tables_render_with_every_row(make):
    [(heading, rows)] = rendered(render_markdown(make()))
    assert heading == f"group1 on {make()[0].dataset}"
    labels = [row.label for row in make()[0].judged]
    assert [row[0] for row in rows[1:]] == labels


def test_hostile_names_are_text_in_a_markdown_renderer():
    hostile = "a|b`c<img src=x>*_d_ [x](javascript:y) \\| $&amp; ##"
    found = rendered(render_markdown(below(nette(), named(hostile))))
    [_, (heading, rows)] = found
    assert heading == hostile
    assert rows[1][0] == hostile
    assert rows[1][3] == hostile
    assert "<img" not in MarkdownIt("commonmark").enable("table").render(
        render_markdown(below(nette(), named(hostile)))
    )


def test_no_hidden_character_of_a_block_leaves():
    made = below(nette(), named(NASTY))
    for text in (show(made), show(made, 40), render_markdown(made), render_csv(made)):
        assert not {"\u202e", "\x1b"} & set(text)
        assert "\\u202e" in text
    [block] = json.loads(render_json(made))["tables"][0]["blocks"]
    assert block["title"] == block["heads"][0] == block["lines"][0]["line"] == NASTY


def test_json_has_every_number_in_the_unit_printed():
    [first, *_, by_class] = json.loads(render_json(below(nette(), *ALL)))["tables"][0]["blocks"]
    assert first | {"lines": 0} == {
        "name": "factorial",
        "title": FACTORIAL.title,
        "heads": ["effect"],
        "signed": True,
        "values": [],
        "judged": 0,
        "comparisons": 3,
        "lines": 0,
        "caption": list(FACTORIAL.caption),
    }
    line = first["lines"][0]
    assert (line["line"], line["verdict"], line["word"]) == ("warmup", "gain", "")
    assert line["cells"][0] == pytest.approx(
        {
            "value": 1.2,
            "low": 0.74,
            "high": 1.66,
            "se": 0.2,
            "low_inner": 0.83,
            "high_inner": 1.57,
            "df": 8,
            "p": 0.01,
            "p_holm": 0.03,
            "p_equivalence": 0.4,
        }
    )
    assert by_class["lines"][0]["cells"][1]["value"] == pytest.approx(91.0)
    assert by_class["lines"][0]["cells"][1]["p"] is None
    assert json.loads(render_json(nette()))["tables"][0]["blocks"] == []


def test_an_empty_cell_is_null_and_a_number_that_is_not_known_too():
    block = ATTRIBUTION
    [found] = json.loads(render_json(below(nette(), block)))["tables"][0]["blocks"]
    cells = found["lines"][2]["cells"]
    assert cells[1] is None
    assert cells[3]["value"] is None
    bad = Block("x", "x", ("v",), (BlockLine("l", (BlockCell(float("nan")),)),))
    assert "–" in show(below(nette(), bad)).splitlines()[-1]


def test_csv_stays_one_rectangle():
    plain = list(csv.reader(io.StringIO(render_csv(nette()))))
    lines = list(csv.reader(io.StringIO(render_csv(below(nette(), *ALL)))))
    assert len({len(line) for line in lines}) == 1
    assert [name for name in lines[0] if name not in plain[0]] == [
        *("block_column", "word", "mean_low", "mean_high")
    ]
    found = list(csv.DictReader(io.StringIO(render_csv(below(nette(), *ALL)))))
    own = [line for line in found if line["role"].startswith("block:")]
    assert len(own) == sum(len(block.lines) * len(block.heads) for block in ALL)
    left = [line for line in own if line["role"] == "block:attribution"]
    judged = [line for line in left if line["row"] == "warmup" and line["verdict"]]
    assert [line["block_column"] for line in judged] == ["difference"]
    assert float(judged[0]["delta"]) == pytest.approx(-0.8)
    assert float(judged[0]["delta_p_holm"]) == pytest.approx(0.03)
    assert judged[0]["word"] == "less together"
    value = own[-1]
    assert (value["role"], value["delta"], value["row"]) == ("block:classes", "", "class 9")
    assert float(value["mean"]) == pytest.approx(91.0)
    wide = next(line for line in own if line["block_column"] == "new images")
    assert float(wide["delta_low"]) == pytest.approx(NEW_IMAGES.lines[0].cells[1].low * 100)
