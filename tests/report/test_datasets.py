"""Verdicts over several data sets: each table by the one rule, Holm's correction by statsmodels.

Of three tricks on two and on three data sets: one that gains everywhere, one that only the mean of
some is sure of, one that costs, one that changes less than the margin.
"""

from __future__ import annotations

import csv
import io
import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from ablate.report import render, render_methods
from ablate.report.formats.html import render_html
from ablate.report.model import ReportTable
from ablate.sql.effects import effects
from tests.helpers.html_reading import by_id, parsed, words
from tests.helpers.moderated import Rule, Told, combined
from tests.helpers.reference_tables import show
from tests.helpers.set_studies import block, built, of_sets, set_table
from tests.helpers.small_stores import IMAGES as SMALL
from tests.helpers.small_stores import make_study, new_store

SETS = [(), ("a",), ("b",), ("c",), ("d",)]
NAMES = ("imagenette", "imagewoof", "cifar10")
# what a trick adds on each data set, in points; the margin is 0.5
PLANTED = {"a": (2.0, 3.0, 2.5), "b": (3.0, 0.0, 0.1), "c": (0.05, 0.0, 0.0), "d": (-2.0,) * 3}
SEEDS, MARGIN = 6, 0.005


def accuracies(name: str) -> dict[tuple[str, ...], np.ndarray]:
    """[seeds] of every row."""
    number = NAMES.index(name)
    rng = np.random.default_rng(number)
    luck = rng.normal(0, 0.005, SEEDS)
    planted = {(): 0.0} | {(trick,): each[number] / 100 for trick, each in PLANTED.items()}
    return {s: 0.8 + e + luck + rng.normal(0, 0.001, SEEDS) for s, e in planted.items()}


def made(number: int) -> list[ReportTable]:
    names, done = NAMES[:number], {}
    for name in names:
        done |= of_sets(accuracies(name), dataset=name)
    tables = [set_table("one_at_a_time", SETS, "abcd", seeds=SEEDS, dataset=name) for name in names]
    return built(*tables, results=done)


def told(number: int) -> dict[str, list[Told]]:
    """By trick, its comparison on each data set."""
    rules = [Rule(accuracies(name), 3925) for name in NAMES[:number]]
    return {trick: [rule.difference((trick,), ()) for rule in rules] for trick in PLANTED}


def within(one: Told) -> bool:
    return max(map(abs, one.interval(0.90))) < MARGIN


def judge(p: float, equivalent: bool, gains: bool) -> str:
    if p >= 0.05:
        return "equivalent" if equivalent else "unresolved"
    return ("gain" if gains else "loss") + (", negligible" if equivalent else "")


def wanted(number: int) -> dict[str, tuple[Told, float, str, str]]:
    """By trick: its mean, its corrected p, its verdict, what holds on all data sets."""
    each = told(number)
    means = {trick: combined([(1 / number, one) for one in row]) for trick, row in each.items()}
    holm = multipletests([mean.p for mean in means.values()], method="holm")[1]
    largest = [
        max(one.p for one in row) if len({one.estimate > 0 for one in row}) == 1 else 1.0
        for row in each.values()
    ]
    found = {}
    everywhere = multipletests(largest, method="holm")[1]
    for (trick, mean), p, largest_p in zip(means.items(), holm, everywhere, strict=True):
        verdict = judge(p, within(mean), mean.estimate > 0)
        on_all = judge(largest_p, all(map(within, each[trick])), each[trick][0].estimate > 0)
        where = "both" if number == 2 else f"all {number}"
        word = "" if on_all == "unresolved" else f"{on_all} on {where}"
        found[trick] = (mean, float(p), verdict, word)
    return found


@pytest.mark.parametrize(("number", "where"), [(2, "both"), (3, "all 3")])
def test_what_is_planted_is_what_the_rule_says(number: int, where: str) -> None:
    """Else the tests below would compare one word with itself."""
    said = {trick: (verdict, word) for trick, (_, _, verdict, word) in wanted(number).items()}
    assert said["a"] == ("gain", f"gain on {where}")
    assert said["b"] == ("gain", "")  # of their mean, not of every one
    assert said["c"] == ("equivalent", f"equivalent on {where}")
    assert said["d"] == ("loss", f"loss on {where}")


@pytest.mark.parametrize("number", [2, 3])
def test_the_mean_is_judged_and_words_say_what_holds_on_all(number: int) -> None:
    *others, last = made(number)
    assert all(not table.blocks for table in others)
    found, each = block(last, "data_sets"), told(number)
    assert found.heads[: number + 1] == (*NAMES[:number], "mean")
    assert (found.judged, found.comparisons) == (number, 4)
    for line in found.lines:
        mean, p, verdict, word = wanted(number)[line.label]
        assert (line.verdict, line.word, line.dagger) == (verdict, word, False)
        cell = line.cells[number]
        assert cell is not None
        assert cell.effect is not None
        assert cell.effect.p_holm == pytest.approx(p, rel=1e-6, abs=1e-14)
        assert (cell.low, cell.high) == pytest.approx(mean.interval(), rel=1e-6)
        for one, by_itself in zip(line.cells[:number], each[line.label], strict=True):
            assert one is not None
            assert (one.low, one.high) == pytest.approx(by_itself.interval(), rel=1e-6)


def points(told: Told, decimals: int = 2) -> list[str]:
    values = (told.estimate, *told.interval())
    return [f"{100 * value:+.{decimals}f}".replace("-", "−") for value in values]


@pytest.mark.parametrize("number", [2, 3])
def test_the_terminal(number: int) -> None:
    text = show(made(number), 200).partition("effects on ")[2]
    lines = {line.split()[0]: line for line in text.splitlines() if line.split()[:1]}
    for trick, (_, _, verdict, word) in wanted(number).items():
        assert re.search(rf"\b{verdict}(  +{word}|$)", lines[trick].rstrip())
        assert (" on " in lines[trick]) == bool(word)
    flat = " ".join(text.split())
    assert "verdicts are of the mean, Holm-corrected over 4 comparisons" in flat
    each = "both" if number == 2 else "all 3"
    assert f"On {each}: every data set's own test says so" in flat


@pytest.mark.parametrize("number", [2, 3])
def test_markdown(number: int) -> None:
    text = render("markdown", made(number)).partition("effects on ")[2]
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line[:1] == "|"}
    for trick, (_, _, verdict, word) in wanted(number).items():
        cells = [cell.strip() for cell in lines[trick].strip("|").split("|")]
        assert verdict in cells
        assert not word or word in cells
        assert any(" on " in cell for cell in cells) == bool(word)


@pytest.mark.parametrize("number", [2, 3])
def test_json_and_csv(number: int) -> None:
    tables = made(number)
    (found,) = json.loads(render("json", tables))["tables"][-1]["blocks"]
    assert (found["name"], found["judged"], found["comparisons"]) == ("data_sets", number, 4)
    reader = csv.DictReader(io.StringIO(render("csv", tables)))
    flat = {
        line["row"]: line
        for line in reader
        if (line["role"], line["block_column"]) == ("block:data_sets", "mean")
    }
    for line in found["lines"]:
        mean, p, verdict, word = wanted(number)[line["line"]]
        assert (line["verdict"], line["word"]) == (verdict, word)
        cell = line["cells"][number]
        low, high = (100 * end for end in mean.interval())
        told = [cell[k] for k in ("value", "low", "high", "se", "df", "p_holm")]
        numbers = [100 * mean.estimate, low, high, 100 * mean.se, mean.df, p]
        assert told == pytest.approx(numbers, rel=1e-6, abs=1e-12)
        row = flat[line["line"]]
        assert (row["verdict"], row["word"]) == (verdict, word)
        names = ("delta", "delta_low", "delta_high", "delta_se", "delta_df", "delta_p_holm")
        assert [float(row[k]) for k in names] == pytest.approx(numbers, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("number", [2, 3])
def test_the_page_lists_them_as_verdicts(number: int) -> None:
    said = words(by_id(parsed(render_html(made(number))), "verdict")).replace("\u00a0", " ")
    said = " ".join(said.split()).partition(f"effects on {number} data sets ")[2]
    helps, hurts = said.partition("Helps ")[2], said.partition("Hurts ")[2]
    for trick, text in (("a", helps), ("b", helps), ("d", hurts)):
        mean, _, _, word = wanted(number)[trick]
        value, low, high = points(mean)
        assert f"{trick} {value} [{low}, {high}]{', ' if word else ''}{word}" in text
    assert re.search(r"No difference within ±0.5 c\b", said)


def test_methods_count_them_as_a_family() -> None:
    text = render_methods(made(2))
    assert "“effects on 2 data sets” is a family of 4 comparisons" in text
    assert "which needs no correction for their number (intersection–union)" in text


def test_a_data_set_that_agrees_exactly_or_is_missing_judges_nothing() -> None:
    tables = [
        set_table("one_at_a_time", SETS, "abcd", seeds=SEEDS, dataset=name) for name in NAMES[:2]
    ]
    exact = {members: np.full(SEEDS, 0.8) for members in SETS}
    done = of_sets(accuracies(NAMES[0]), dataset=NAMES[0])
    assert built(*tables, results=done)[1].blocks == ()
    done |= of_sets(exact, dataset=NAMES[1])
    assert built(*tables, results=done)[1].blocks == ()


STORED = {
    "baseline": (0.902, 0.897, 0.894, 0.899),
    "warmup": (0.938, 0.932, 0.934, 0.936),
    "mixup": (0.940, 0.932, 0.934, 0.941),
    "cosine": (0.971, 0.969, 0.973, 0.972),
}


def test_queries_have_the_verdict_of_the_mean_and_what_holds_on_all(tmp_path: Path) -> None:
    store = new_store(tmp_path / "store")
    make_study(store, STORED, datasets=("digits", "other"))  # a point less on the second
    values = [{k: np.array(v) - less for k, v in STORED.items()} for less in (0.0, 0.01)]
    rules, names = [Rule(each, SMALL) for each in values], list(STORED)
    pairs = {f"+ {name}": (name, above) for above, name in pairwise(names)}
    pairs["all 3 tricks"] = (names[-1], names[0])
    each = [[rule.difference(*pair) for rule in rules] for pair in pairs.values()]
    means = [combined([(0.5, one) for one in row]) for row in each]
    holm = multipletests([mean.p for mean in means], method="holm")[1]
    largest = multipletests([max(one.p for one in row) for row in each], method="holm")[1]
    assert all(len({one.estimate > 0 for one in row}) == 1 for row in each)
    said = [
        judge(p, all(map(within, row)), gains=True) for p, row in zip(largest, each, strict=True)
    ]
    on_both = [None if word == "unresolved" else f"{word} on both" for word in said]
    assert set(on_both) == {"gain on both", "equivalent on both"}
    found = [row for row in effects(store, pytest.fail) if row["role"] == "block:data_sets"]
    of_mean = {row["label"]: row for row in found if row["quantity"] == "mean"}
    assert list(of_mean) == list(pairs)
    for row, mean, p, word in zip(of_mean.values(), means, holm, on_both, strict=True):
        assert row["verdict"] == judge(p, equivalent=within(mean), gains=True)
        assert row["note"] == word
        wanted = (100 * mean.estimate, 100 * mean.se, mean.df, p)
        told = [row[k] for k in ("delta", "se", "df", "p_holm")]
        assert told == pytest.approx(wanted, rel=1e-6, abs=1e-14)
    assert {row["verdict"] for row in found if row["quantity"] != "mean"} == {None}


def test_one_trick_by_itself_needs_no_correction() -> None:
    tables = [
        set_table("one_at_a_time", [(), ("b",)], "b", seeds=SEEDS, dataset=n) for n in NAMES[:2]
    ]
    done = {}
    for name in NAMES[:2]:
        done |= of_sets({s: accuracies(name)[s] for s in ((), ("b",))}, dataset=name)
    found = block(built(*tables, results=done)[1], "data_sets")
    rules = [Rule({s: accuracies(n)[s] for s in ((), ("b",))}, 3925) for n in NAMES[:2]]
    mean = combined([(0.5, rule.difference(("b",), ())) for rule in rules])
    (line,) = found.lines
    cell = line.cells[2]
    assert cell is not None
    assert cell.effect is not None
    assert (cell.effect.p, cell.effect.p_holm) == pytest.approx((mean.p, mean.p), rel=1e-6)
