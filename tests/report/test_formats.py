"""Markdown, CSV, JSON and addresses; names in all of them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math

import pytest

from ablate.errors import AblateError
from ablate.report import (
    build_tables,
    render,
    render_csv,
    render_json,
    render_markdown,
    row_address,
)
from ablate.report.formats.escape import (
    ascii_only,
    code,
    markdown,
    paragraph,
    spreadsheet,
    visible,
)
from tests.helpers.reference_tables import MARKDOWN, NASTY, NETTE, nette, one_seed, woof
from tests.helpers.report_studies import GROUP1, State, cumulative, key, results, study, table


def test_markdown_is_the_reference_s():
    assert render_markdown(nette()) == MARKDOWN
    assert render("markdown", nette()) == MARKDOWN


def test_markdown_lines_have_the_same_number_of_cells():
    for tables in (nette(), woof(), one_seed(), nasty()):
        lines = [x for x in render_markdown(tables).splitlines() if x.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_json_has_every_seed_unrounded():
    document = json.loads(render_json(nette() + woof()))
    assert document["schema_version"] == 1
    first, second = document["tables"]
    for row in first["rows"]:
        values = [trial["value"] for trial in row["trials"]]
        assert values == pytest.approx(NETTE[row["row"]], rel=1e-12)
        assert row["mean"] == pytest.approx(sum(values) / 3, rel=1e-12)
        assert row["n"] == 3
    gain = first["rows"][4]
    assert gain["verdict"] == "gain"
    assert gain["delta"]["p_holm"] < 0.05 < first["rows"][1]["delta"]["p_holm"]
    assert first["total"]["delta"]["delta"] == pytest.approx(1.86, rel=1e-9)
    missing = second["rows"][4]["trials"][1]
    assert (missing["status"], missing["value"], missing["finished"]) == ("oom", None, None)
    assert second["rows"][4]["delta"]["low"] is None


def test_json_writes_nan_as_null():
    rows = cumulative("warmup")
    values = {"baseline": (70.0, 71.0), "+ warmup": (72.0, math.nan)}
    text = render_json(build_tables(study(table(rows, 2)), results(values), {}))
    assert "NaN" not in text
    assert json.loads(text)["tables"][0]["rows"][1]["trials"][1]["metrics"]["top1"] is None


def test_csv_has_one_line_per_row_and_full_precision():
    lines = list(csv.DictReader(io.StringIO(render_csv(nette() + woof()))))
    rows = [line["row"] for line in lines[:6]]
    assert rows[0] == "baseline"
    assert rows[1:5] == [f"'{label}" for label in NETTE][1:]  # else a spreadsheet computes them
    assert rows[5] == "all 4 tricks"
    assert float(lines[4]["delta"]) == pytest.approx(91.62 - (90.46 + 90.07 + 90.66) / 3, rel=1e-9)
    assert lines[2]["delta"].startswith("-0.06")  # an ASCII minus
    assert [float(lines[0][f"seed_{s}"]) for s in range(3)] == pytest.approx(NETTE["baseline"])
    assert lines[10]["seed_1"] == ""
    assert lines[10]["verdict"] == "incomplete (2 of 3 seeds)"
    assert all(None not in line.values() and None not in line for line in lines)


def nasty():
    rows = cumulative(NASTY)
    values = {"baseline": (70.0, 71.0), rows[1][0]: (72.0, 73.5)}
    return build_tables(study(table(rows, 2)), results(values), {})


@pytest.mark.parametrize("name", ["markdown", "csv", "json"])
def test_no_hidden_character_leaves_in_any_format(name):
    text = render(name, nasty())
    assert not {"\u202e", "\x1b"} & set(text)
    assert "\\u202e" in text
    if name == "json":
        assert json.loads(text)["tables"][0]["rows"][1]["row"] == f"+ {NASTY}"
    if name == "markdown":
        assert "<img" not in text
        assert "a\\|b\\`c" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("zero_gamma", "zero_gamma"),
        ("_x_", "\\_x\\_"),
        ("a|b", "a\\|b"),
        ("<b>&", "&lt;b\\>&amp;"),
        ("\\", "\\\\"),
        ("+ warmup", "+ warmup"),
    ],
)
def test_markdown_escapes(text, said):
    assert markdown(text) == said


# OWASP, "CSV Injection": what a spreadsheet takes for a formula, wide forms included.
FORMULAS = ("=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", " =1")


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_computed(text):
    said = spreadsheet(text)
    if text[0] in "\t\r":  # spelled out: no cell begins with it
        assert said == {"\t": "\\u0009=1", "\r": "\\u000d=1"}[text[0]]
    else:
        assert said == f"'{text}"


def test_what_is_no_formula_stays():
    for text in ("baseline", "", "warmup + mixup", "1 - 2", "a=b", "−1", "'quoted", "0"):
        assert spreadsheet(text) == text


@pytest.mark.parametrize("name", ["=1+1", "+1", "@x", "-x"])
def test_in_csv_texts_are_texts_and_numbers_numbers(name):
    rows = [("baseline", "baseline", None), (name, "step", 0)]
    built = table(rows, 2, dataset=f"imagefolder:{name}", column=name, kind="one_at_a_time")
    made = study(built.model_copy(update={"reference": "baseline"}), name=name)
    values = {"baseline": (72.0, 73.5), name: (70.0, 71.0)}
    tables = build_tables(made, results(values, dataset=f"imagefolder:{name}", column=name), {})
    _, line = csv.DictReader(io.StringIO(render_csv(tables)))
    assert (line["row"], line["study"], line["column"]) == (f"'{name}",) * 3
    assert float(line["delta"]) == pytest.approx(-2.25)
    for cell in line.values():  # what is left of them begins as a number does, and is one
        assert not cell.startswith(("=", "+", "@"))
        assert not cell.startswith("-") or float(cell) < 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("+ warmup: seed 1 diverged", "\\+ warmup: seed 1 diverged"),
        ("- x", "\\- x"),
        ("1. x", "1\\. x"),
        ("2) x", "2\\) x"),
        ("+1", "+1"),
        ("1.5 points", "1.5 points"),
        ("a + b", "a + b"),
        ("# x", "\\# x"),
    ],
)
def test_a_paragraph_is_no_list(text, said):
    """CommonMark: a list item is `-`, `+`, `*`, or digits with . or ), and a space."""
    assert paragraph(text) == said


def test_a_note_that_begins_with_a_row_is_no_list():
    values = {"baseline": (70.0, 71.0), "+ warmup": (72.0, 73.0)}
    diverged = {key("+ warmup", 1): State("diverged")}
    found = {k: r for k, r in results(values).items() if k not in diverged}
    text = render("markdown", build_tables(study(table(cumulative("warmup"), 2)), found, diverged))
    assert "\n\\+ warmup: " in text
    assert "\n+ " not in text


def test_a_row_that_sentences_name_is_escaped():
    (made,) = nasty()
    text = render("markdown", [dataclasses.replace(made, against="+ <img src=x>")])
    assert "<img" not in text


def test_code_spans_hold_backticks():
    assert code("a`b") == "``a`b``"
    assert code("`") == "`` ` ``"


def test_visible_keeps_what_can_be_seen():
    assert visible("混合 γ − é") == "混合 γ − é"
    assert visible("\u2066x\u2069\x07\U000e0001") == "\\u2066x\\u2069\\u0007\\U000e0001"
    assert ascii_only("▲ ±0.4 é") == "^ +/-0.4 \\u00e9"


def test_an_unknown_format_names_the_known_ones():
    with pytest.raises(AblateError, match="did you mean 'markdown'"):
        render("markdwn", nette())


def addressed():
    tables = [table(GROUP1, dataset=d) for d in ("imagenette", "imagewoof")]
    return study(*tables, table(GROUP1[:3], 1, ablation="short"), name="g/one")


@pytest.mark.parametrize(
    ("address", "keys"),
    [
        ("g/one:mixup/imagewoof/1", ["imagewoof--+_mixup-1"]),
        ("g/one:3/imagewoof/2", ["imagewoof--+_mixup-2"]),
        ("g/one:+ mixup/imagenette", [f"imagenette--+_mixup-{s}" for s in range(3)]),
        ("g/one:short:fp16", ["imagenette--+_fp16-0"]),
        ("g/one:main:0/imagenette/0", ["imagenette--baseline-0"]),
    ],
)
def test_addresses(address, keys):
    assert list(row_address(addressed(), address)) == keys


def test_an_address_of_a_row_is_every_trial_of_it():
    assert len(row_address(addressed(), "g/one:zero_gamma")) == 6


def test_a_row_that_is_the_same_trials_in_several_tables_needs_no_table():
    alone = [("baseline", "baseline", None), ("mixup", "step", 0), ("warmup", "step", 0)]
    keys = {"warmup": "+ warmup"}
    less = [("all", "baseline", None), ("without warmup", "step", 0)]
    tables = [
        table(cumulative("warmup", "mixup")),
        table(alone, ablation="alone", kind="one_at_a_time", reference="baseline", keys=keys),
        table(less, ablation="less", kind="leave_one_out", reference="full"),
    ]
    found = study(*tables, name="g")
    assert list(row_address(found, "g:baseline/imagenette/0")) == ["imagenette--baseline-0"]
    assert list(row_address(found, "g:warmup/imagenette/1")) == ["imagenette--+_warmup-1"]
    assert list(row_address(found, "g:without warmup/imagenette/1")) == [
        "imagenette--without_warmup-1"
    ]
    assert list(row_address(found, "g:less:warmup/imagenette/1")) == [
        "imagenette--without_warmup-1"
    ]
    for both in ("g:mixup", "g:0"):  # "+ mixup" has warmup too; the full set is number 0 of less
        with pytest.raises(AblateError, match="is a row of both main and"):
            row_address(found, both)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mixup", "no row of g/one"),
        ("other:mixup", "no row of g/one"),
        ("g/one:mixupp", "did you mean 'mixup'"),
        ("g/one:9", "no row '9'"),
        ("g/one:warmup", "a row of both main and short"),
        ("g/one:mixup/imagewof/1", "did you mean 'imagewoof'"),
        ("g/one:mixup/imagewoof/7", "no seed '7'; the study has 0, 1, 2"),
    ],
)
def test_wrong_addresses_say_what_would_be_right(address, said):
    with pytest.raises(AblateError) as error:
        row_address(addressed(), address)
    assert said in error.value.message
