"""The HTML report as a document: valid, closed, complete, and every plotted number in a table."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import stats as scipy_stats

from ablate.report import build_tables, render
from ablate.report.captions import notes
from ablate.report.formats.html import render_html
from ablate.report.model import Block, BlockCell, BlockLine
from tests.helpers import html_studies
from tests.helpers.compared_studies import table4
from tests.helpers.html_reading import (
    SVG,
    Element,
    Scale,
    by_id,
    classed,
    has,
    horizontal,
    numbers_in,
    parsed,
    path_points,
    percent,
    table_numbers,
    tables,
    words,
)
from tests.helpers.moderated import Rule
from tests.helpers.reference_tables import LABELS, NETTE
from tests.helpers.report_studies import cumulative, results, study, table

SECTIONS = [
    "Verdict",
    "Effects",
    "Waterfall",
    "Curves",
    "Cost",
    "Numbers",
    "Settings",
    "Provenance",
]


@cache
def page(name: str) -> str:
    made, epochs = html_studies.ALL[name]()
    return render_html(made, epochs=epochs)


@cache
def tree(name: str) -> Element:
    return parsed(page(name))


def section(name: str, which: str) -> str:
    return " ".join(words(by_id(tree(name), which)).replace("\u00a0", " ").split())


# ---------------------------------------------------------------------------------- the document


@pytest.mark.parametrize("name", html_studies.ALL)
def test_it_is_valid_html_without_script_or_request(name: str) -> None:
    found = tree(name)
    assert not [e for e in found.iter() if e.tag in ("script", "img", "iframe", "object", "video")]
    assert not [a for e in found.iter() for a in e.attrib if a.startswith("on")]
    links = [e.get("href") or "" for e in found.iter("link")]
    assert links == ["data:,"]
    for element in found.iter():
        for attribute in ("src", "href", "{http://www.w3.org/1999/xlink}href"):
            assert (element.get(attribute) or "#").startswith(("#", "data:,"))
    style = "".join(e.text or "" for e in found.iter("style"))
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("name", html_studies.ALL)
def test_headings_go_down_by_one_and_links_lead_somewhere(name: str) -> None:
    found = tree(name)
    levels = [int(e.tag[1]) for e in found.iter() if re.fullmatch(r"h[1-6]", str(e.tag))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    ids = [e.get("id") for e in found.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    targets = [(e.get("href") or "")[1:] for e in found.iter() if e.get("href", "").startswith("#")]
    assert set(targets) <= set(ids)
    assert len(list(found.iter("nav"))) == 1


@pytest.mark.parametrize("name", html_studies.ALL)
def test_charts_have_a_label_and_their_marks_titles(name: str) -> None:
    for svg in tree(name).iter(f"{SVG}svg"):
        if svg.get("role") == "img":
            assert (svg.get("aria-label") or "").strip()
    charts = [e for e in tree(name).iter(f"{SVG}svg") if e.get("role") == "img"]
    for mark in (mark for chart in charts for mark in chart.iter()):
        if any(
            has(mark, kind) for kind in ("thin", "thick", "seed", "bar", "sign", "mean", "seeds")
        ):
            assert mark.find(f"{SVG}title") is not None


def test_sections_are_in_order() -> None:
    found = [words(e).split()[0] for e in tree("clear").iter("h2")]
    assert found == SECTIONS
    links = [words(e) for e in next(tree("clear").iter("nav"))]
    assert links == SECTIONS


def test_several_ablations_repeat_verdict_to_numbers_and_share_the_rest() -> None:
    found = [words(e).split()[0] for e in tree("two_ablations").iter("h3")]
    without_waterfall = [name for name in SECTIONS[:6] if name != "Waterfall"]
    assert found == [*SECTIONS[:6], *without_waterfall]
    assert [words(e).split()[0] for e in tree("two_ablations").iter("h2")] == [
        "main",
        "left",
        "Settings",
        "Provenance",
    ]


def test_several_studies_stand_one_after_another() -> None:
    made, epochs = html_studies.together(["clear", "one_seed", "two_ablations"])
    found = parsed(render_html(made, epochs=epochs))
    assert [words(e).strip() for e in found.iter("h2")] == [
        "group1 clear",
        "group1 one_seed",
        "group1 two_ablations",
    ]
    ids = [e.get("id") for e in found.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    said = words(next(found.iter("header")))
    for note in notes(made):  # as every other format says it
        assert note in said
    assert any(note.startswith("compare rows within a study only") for note in notes(made))


@pytest.mark.parametrize("name", html_studies.ALL)
def test_it_never_claims_more_than_it_may(name: str) -> None:
    said = words(next(tree(name).iter("body"))).lower()
    assert not re.search(r"signifi|\bbetter\b|\bproves?\b|\bproven\b|\bnan\b|\bnone\b", said)


# -------------------------------------------------------------------------------------- verdicts


def test_the_verdict_is_the_tables() -> None:
    """Marks of the terminal's transcript: zero_gamma gains, the others are open."""
    said = section("two_data_sets", "verdict")
    assert "+1.9 [+1.3, +2.4] points of top-1 from all 4 tricks: 89.8 → 91.6 %" in said
    ratio = html_studies.two_data_sets()[0][0].total.ratio
    assert f"at ×0.52 [{ratio.low:.2f}, {ratio.high:.2f}] of the time" in said
    assert "Helps zero_gamma +1.2 [+0.7, +1.8]" in said
    assert "Unresolved warmup, fp16, mixup" in said
    assert "Incomplete zero_gamma (1 of 3 seeds)" in said
    assert "This report could see differences from about 1.1 to 1.7 points (imagenette)" in said
    assert "in another order the steps may differ." in said
    assert "leave_one_out" not in said  # nothing is suggested that would be another chance
    assert "out of memory; 0.9 GiB free, pid 4410 holds 19.8 GiB" in said
    assert "1 of 30 trials not done yet" in said


BEFORE = ((8.0, 8.1, 8.2), (8.2, 8.1, 8.0))  # seconds of the rows above the last, by seed


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ((*BEFORE, (8.0, 8.2, 7.9)), ", no difference in time shown"),
        ((*BEFORE, (6.0, 8.2, 5.4)), ", no difference in time shown"),  # ×0.79
        ((*BEFORE, (4.0, 4.2, 3.9)), ", at ×0.50 [{low:.2f}, {high:.2f}] of the time"),
        (((8.0,) * 3, (8.0,) * 3, (4.0,) * 3), ""),  # they agree exactly: no interval
        # ×1.001, of an interval that leaves out 1 and prints as [1.00, 1.00]
        (((8.0, 8.1, 8.2), (8.001, 8.1002, 8.2009), (8.01, 8.1101, 8.2102)), ""),
    ],
)
def test_a_headline_says_of_time_what_its_interval_shows(
    seconds: tuple[tuple[float, ...], ...], said: str
) -> None:
    rows = cumulative("mixup", "cosine")
    labels = [row[0] for row in rows]
    values = [(70.0, 70.4, 70.1), (75.0, 75.5, 75.0), (75.1, 75.4, 75.3)]
    timed = dict(zip(labels, seconds, strict=True))
    done = results(dict(zip(labels, values, strict=True)), seconds=timed)
    (made,) = build_tables(study(table(rows)), done, {})
    ratio = made.total and made.total.ratio
    assert ratio is not None
    if "no" in said:
        assert ratio.low < 1 < ratio.high
    headline, _, _ = words(by_id(parsed(render_html([made])), "verdict")).partition("  Helps")
    assert headline.endswith(f"70.17 → 75.27 %{said.format(low=ratio.low, high=ratio.high)}")


def test_every_kind_of_verdict_has_its_sentence() -> None:
    made, _ = html_studies.clear()
    marks = {row.mark for t in made for row in t.rows}
    assert {"gain", "loss", "equivalent"} <= marks, "else this test sees nothing"
    said = section("clear", "verdict")
    assert "Hurts mixup" in said
    assert "No difference within ±0.5 fp16" in said
    wild = section("lower_loss", "verdict")
    assert "Diverged wild (1 of 3)" in wild
    assert "Same trial as the row above: same" in wild
    assert "Helps warmup −0.02" in wild  # a loss that falls helps


def test_one_seed_gets_the_band_and_its_sentence_and_no_verdict() -> None:
    said = section("one_seed", "verdict")
    assert "Outside the re-run band: zero_gamma +2.7" in said
    assert "Training the same recipe twice differs by up to ±1.4 points" in said
    assert "inside ±1.4" in section("one_seed", "effects")
    whole = words(next(tree("one_seed").iter("body")))
    assert not re.search(r"\b(gain|unresolved|Holm)", whole)
    assert not classed(tree("one_seed"), "thick")


def test_a_baseline_alone_and_seeds_that_agree() -> None:
    assert "Nothing to compare" in section("alone", "verdict")
    assert [words(e).split()[0] for e in tree("alone").iter("h2")] == [
        *("Verdict", "Numbers", "Settings", "Provenance")
    ]
    assert "the seeds agree exactly" in section("exact", "verdict")


def test_leaving_out_and_one_at_a_time_have_no_waterfall() -> None:
    for name in ("leave_one_out", "one_at_a_time", "transposed"):
        assert not [e for e in tree(name).iter() if e.get("id") == "waterfall"]
    assert "Helps without warmup" in section("leave_one_out", "verdict")
    said = section("transposed", "verdict")
    assert "Helps model resnet50 +" in said


# --------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    "name", ["two_data_sets", "clear", "lower_loss", "transposed", "leave_one_out", "one_seed"]
)
def test_every_mark_of_the_forest_and_the_waterfall_is_a_number_in_a_table(name: str) -> None:
    cells = table_numbers(tree(name))
    marks = [m for rows in classed(tree(name), "rows") for m in horizontal(rows)]
    assert len(marks) > 10
    decimals = max(t.decimals for t in html_studies.ALL[name]()[0])
    coarse = min(t.decimals for t in html_studies.ALL[name]()[0])
    assert decimals <= 3
    for label, value in marks:
        nearest = min(abs(value - cell) for cell in cells)
        # whiskers of the waterfall are the interval moved to the row's mean: two roundings
        assert nearest <= 1.6 * 10**-coarse, (label, value)


def test_the_forest_draws_each_seed_and_both_intervals() -> None:
    """Against the made-up seeds themselves, not against the page's own tables."""
    rows = classed(tree("two_data_sets"), "rows")[0]
    marks: dict[str, list[float]] = {}
    for label, value in horizontal(rows):
        marks.setdefault(label, []).append(value)
    rule = Rule({name: np.array(NETTE[name]) / 100 for name in LABELS}, 3925)
    for above, label in itertools.pairwise(LABELS):
        apart = [b - a for a, b in zip(NETTE[above], NETTE[label], strict=True)]
        drawn = marks[label]
        for value in (*apart, sum(apart) / 3):
            assert min(abs(value - mark) for mark in drawn) < 0.01
        low, high, low_inner, high_inner = drawn[:4]
        told = rule.difference(label, above)
        wanted = [100 * end for level in (0.95, 0.90) for end in told.interval(level)]
        assert [low, high, low_inner, high_inner] == pytest.approx(wanted, abs=0.02)


def test_one_axis_for_all_data_sets() -> None:
    forests = [rows for rows in classed(tree("clear"), "rows") if "forest" in _parents(rows)]
    scales = [words(next(row for row in rows if has(row, "scale"))) for rows in forests]
    assert len(scales) == 2
    assert len(set(scales)) == 1


def _parents(rows: Element) -> set[str]:
    return {
        name
        for element in tree("clear").iter()
        if rows in list(element)
        for name in (element.get("class") or "").split()
    }


@pytest.mark.parametrize("name", ["two_data_sets", "lower_loss"])
def test_every_point_of_the_curves_is_a_number_in_a_table(name: str) -> None:
    found = by_id(tree(name), "curves")
    numbers = {
        (where, label.split(", ")[0]): [
            [c for cell in row[1:] for c in numbers_in(cell)] for row in rows[1:]
        ]
        for caption, rows in tables(found).items()
        if caption
        for where, _, label in [caption.partition(": ")]
    }
    rounding = 0.006 if name == "lower_loss" else 0.06
    paths = {e.get("id"): e.get("d") or "" for e in found.iter(f"{SVG}path") if e.get("id")}
    drawn = 0
    for group in found.iter("div"):
        where = words(group[0]).strip() if len(group) and group[0].tag == "h3" else ""
        for panel in classed(group, "small") if where else []:
            over, strip = list(panel)[1:3]
            used = [(e.get("href") or "")[1:] for e in over.iter(f"{SVG}use")]
            own = [e.get("d") or "" for e in strip.iter(f"{SVG}path")]
            label = next(e for e in over.iter(f"{SVG}svg") if e.get("role")).get("aria-label") or ""
            mine, other = re.fullmatch(r".*? of (.*) and of (.*) by epoch", label).groups()
            assert len(used) == 4
            curves = [(other, paths[u]) for u in used[:2]] + [(mine, paths[u]) for u in used[2:]]
            for part, lines, height in ((over, curves, 110), (strip, [(mine, p) for p in own], 52)):
                scale = _upright(part, height)
                for row, (x, y) in ((row, p) for row, line in lines for p in path_points(line)):
                    if not -1900 < y < 2900:
                        continue  # cut, as its caption says
                    cells = numbers[where, row][int(x)]
                    assert min(abs(scale.value(y) - c) for c in cells) < 2 * rounding
                    drawn += 1
    assert drawn > 500


def _upright(part: Element, height: int) -> Scale:
    """Value by place in the curves' own units, from the grid lines and their labels."""
    labels = [numbers_in(words(t))[0] for t in part.iter(f"{SVG}text")]
    lines = [
        float(e.get("y1") or "nan")
        for e in part.iter(f"{SVG}line")
        if has(e, "grid") or has(e, "zero")
    ]
    return Scale.of([(y / height * 1000, v) for y, v in zip(lines, labels, strict=True)])


def test_curves_end_in_the_results() -> None:
    found = tables(by_id(tree("two_data_sets"), "curves"))
    rows = found["imagenette: + zero_gamma, top-1 %; Δ against + mixup"]
    assert rows[0][:5] == ["epoch", "seed 0", "seed 1", "seed 2", "mean"]
    assert len(rows) == 21
    assert [float(x) for x in rows[-1][1:4]] == [round(x, 1) for x in NETTE["+ zero_gamma"]]


def test_points_of_the_cost_chart_are_minutes_and_means() -> None:
    found = by_id(tree("two_data_sets"), "cost")
    chart = next(svg for svg in found.iter(f"{SVG}svg") if svg.get("role") == "img")
    places = [(percent(e.get("x")), float(e.get("y") or 0)) for e in classed(chart, "at")][:5]
    # 20 epochs of 8.0, 8.0, 4.1, 4.18 and 4.18 s
    minutes = [8.0 / 3, 8.0 / 3, 4.1 / 3, 4.18 / 3, 4.18 / 3]
    scale = places[0][0] / minutes[0]
    for (x, _), time in zip(places, minutes, strict=True):
        assert x == pytest.approx(scale * time, abs=0.05)
    means = [sum(NETTE[label]) / 3 for label in LABELS]
    ys = [y for _, y in places]
    slope = (ys[4] - ys[0]) / (means[4] - means[0])
    for y, mean in zip(ys, means, strict=True):
        assert y == pytest.approx(ys[0] + slope * (mean - means[0]), abs=0.6)
    rows = tables(found)["imagenette"]
    assert rows[1][0].replace("\u00a0", " ") == "baseline"
    assert [row[1] for row in rows[1:]] == ["2.67", "2.67", "1.37", "1.39", "1.39"]
    assert rows[1][2].startswith("89.8 [")


def test_a_line_follows_the_rows_only_where_they_are_steps() -> None:
    # cumulative, leave one out
    first, second = (e for e in tree("two_ablations").iter() if str(e.get("id")).endswith("cost"))
    assert classed(first, "link")
    assert "The line follows" in words(first)
    assert not classed(second, "link")
    assert "The line follows" not in words(second)


def test_intervals_of_the_cost_chart_are_moderated_t_intervals() -> None:
    """A hand computation: equal error rates, so that every row weighs the same.

    By the law the variance is (2 + .5)/4, and it counts for 2.5 beside the 2 of a row's own seeds.
    """
    values = {"baseline": (70.0, 71.0, 72.0), "+ a": (70.5, 71.0, 71.5)}
    done = results(values, seconds={"baseline": 6.0, "+ a": 3.0})
    made = build_tables(study(table(cumulative("a"))), done, {})
    found = parsed(render_html(made, epochs=html_studies.epochs_of(done)))
    rows = tables(by_id(found, "cost"))["imagenette"]
    b = 2 / 4.5
    df = 1 / ((1 - b**2) / 4 + b**2 / 2)  # below 4 + 2
    for row, own in zip(rows[1:], (1.0, 0.25), strict=True):
        variance = (2.5 * 2.5 / 4 + 2 * own) / 4.5
        half = scipy_stats.t.ppf(0.975, df) * (variance / 3) ** 0.5
        mean, low, high = numbers_in(row[2])
        assert mean == 71.0
        assert (high - low) / 2 == pytest.approx(half, abs=0.06)


def test_a_row_without_any_result_is_no_point_of_the_cost_chart() -> None:
    """The others have their intervals, of their own seeds and each other's."""
    values = {"baseline": (70.0, 71.0, 72.0), "+ a": (70.5, 71.0, 71.5)}
    done = results(values)
    charts = []
    for rows in (cumulative("a"), cumulative("a", "b")):
        made = build_tables(study(table(rows)), done, {})
        page = parsed(render_html(made, epochs=html_studies.epochs_of(done)))
        charts.append(tables(by_id(page, "cost"))["imagenette"])
    without, waiting = charts
    assert len(without) == 3
    assert "[" in without[1][2]
    assert waiting[:3] == without


def test_the_last_digit_of_a_result_moves_no_interval_of_two_rows() -> None:
    """Their likelihood is flat in γ, and its prior has the same weight at 1.2 and at 1.3."""
    found = set()
    for digit in range(12):
        values = {"baseline": (10.0, 20.0 + digit * 1e-13), "+ a": (35.0, 33.0)}
        made = build_tables(study(table(cumulative("a"), 2)), results(values), {})
        page = parsed(render_html(made, epochs=html_studies.epochs_of(results(values))))
        rows = tables(by_id(page, "cost"))["imagenette"]
        found.add(tuple(row[2] for row in rows[1:]))
    assert len(found) == 1


def test_the_numbers_table_has_every_column() -> None:
    found = tables(by_id(tree("clear"), "numbers"))
    assert found["imagenette"][0] == [
        *("row", "top-1 % ± sd", "Δ row above [95%]", "verdict", "wins a new seed [95%]"),
        *("Δ baseline [95%]", "top-5 %", "time/epoch", "M params", "GMACs"),
    ]
    assert found["imagenette"][-1][0] == "all 4 tricks"
    seeds = tables(by_id(tree("two_data_sets"), "numbers"))["imagenette: top-1 % of each seed"]
    for row in seeds[1:]:
        label = row[0].replace("\u00a0", " ")
        assert [float(x) for x in row[1:]] == [round(x, 1) for x in NETTE[label]]


def test_published_figures_stand_beside_the_measured_ones() -> None:
    found = parsed(render_html(table4()))
    rows = tables(by_id(found, "numbers"))["imagenette, batch_size 1024"]
    heads = rows[0]
    warmup = dict(zip(heads, rows[2], strict=True))
    assert warmup["paper top-1 %"] == "75.93°"
    assert warmup["paper Δ"] == "+0.76"
    assert warmup["paper's Δ in our interval"] == "yes"
    total = dict(zip(heads, rows[-1], strict=True))
    assert total["row"] == "all 4 tricks"
    assert total["Δ baseline [95%]"] == "+1.6 [+1.2, +1.9]"
    assert "° known figure, not read in the paper's text" in words(by_id(found, "numbers"))


def test_blocks_are_tables_too() -> None:
    block = Block(
        name="shapley",
        title="Shares of the whole <effect>",
        heads=("Shapley [95%]", "leave-one-out"),
        lines=(
            BlockLine("warmup", (BlockCell(0.012, 0.002, 0.022), None), "gain", "gain"),
            BlockLine(
                "mix<up", (BlockCell(-0.004), BlockCell(0.001)), "", "", word="less together"
            ),
        ),
        judged=0,
        comparisons=2,
        caption=("Every order counts the same.",),
    )
    made, epochs = html_studies.clear()
    made[0] = replace(made[0], blocks=(block,))
    found = parsed(render_html(made, epochs=epochs))
    verdict = " ".join(words(by_id(found, "verdict")).split())
    assert "Shares of the whole <effect> Helps warmup +1.20 [+0.20, +2.20]" in verdict
    said = words(by_id(found, "numbers"))
    assert "imagenette: Shares of the whole <effect>" in said
    assert "+1.20 [+0.20, +2.20]" in said
    assert "−0.40" in said
    assert "less together" in said
    assert "Every order counts the same." in said


# ----------------------------------------------------------------------------------------- names


def test_names_are_text() -> None:
    found = tree("hostile")
    whole = words(next(found.iter("body"))).replace("\u00a0", " ")
    for name in (
        "<script>alert(1)</script>",
        '" onload=alert(1) x="',
        "<b>boom</b>",
        "<i>evil</i>",
    ):
        assert name in whole
    assert words(next(found.iter("title"))) == "<i>evil</i>: ablation report"
    assert "a\\u202eb\\u0007</style><img src=x>" in whole
    assert not [e for e in found.iter() if e.tag in ("i", "u")]
    assert not {"\u202e", "\u2066", "\x07", "\x1b"} & set(page("hostile"))
    assert page("hostile").count("<style>") == 1


def test_the_largest_report_is_below_a_megabyte() -> None:
    made, epochs = html_studies.many()
    text = render_html(made, epochs=epochs)
    assert 200_000 < len(text.encode()) < 1_000_000
    assert "Every second epoch is drawn, and the last." in text
    assert text.count("<tr><th>120<td>") == 30, "the last epoch of every row"
    assert text.count("<tr><th>119<td>") == 0
    assert text.count('class="small"') == 29
    assert text.partition("<summary>21 more panels</summary>")[0].count('class="small"') == 8


def test_without_epochs_there_are_no_curves() -> None:
    made, _ = html_studies.clear()
    found = parsed(render("html", made))
    assert not [e for e in found.iter() if e.get("id") == "curves"]
    assert [e for e in found.iter() if e.get("id") == "cost"]
