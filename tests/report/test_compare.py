"""What a comparison may claim where a seed of either side diverged, is missing or had no effect."""

from __future__ import annotations

import json

import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from ablate.report import build_tables, render, render_terminal
from ablate.report.formats.methods import render_methods
from tests.helpers.report_studies import State, cumulative, key, results, study, table
from tests.helpers.set_studies import block, built, of_sets, set_table, subsets

ROWS = cumulative("warmup", "mixup", "cosine")
CLAIMS = {"gain", "loss", "equivalent", "gain, negligible", "loss, negligible"}


def values(seeds=3):
    """Every step is five points, and seeds differ by a tenth."""
    noise = (0.0, 0.1, -0.1, 0.05, -0.05, 0.02)[:seeds]
    return {
        label: tuple(75 + 5 * i + (1 + i / 10) * n for n in noise)
        for i, (label, *_) in enumerate(ROWS)
    }


def made(lost, *, status="diverged", seeds=3, rows=ROWS, **more):
    """lost: by row, seeds that have no result."""
    gone = {key(label, s): State(status) for label, those in lost.items() for s in those}
    kept = {k: r for k, r in results(values(seeds)).items() if k not in gone}
    (found,) = build_tables(study(table(rows, seeds, **more)), kept, gone)
    return found


def test_without_a_lost_seed_all_of_it_is_claimed():
    found = made({})
    assert [row.verdict for row in found.rows[1:]] == ["gain"] * 3
    assert found.total.verdict == "gain"
    assert {row.diverged for row in found.rows} == {None}
    assert {row.delta.diverged_p for row in found.rows[1:]} == {None}


def test_a_baseline_that_diverged_takes_the_verdict_of_the_row_below_and_of_the_total():
    found = made({"baseline": (0, 2)})
    assert [row.verdict for row in found.rows] == [
        "diverged (2 of 3)",
        "reference diverged (2 of 3)",
        "gain",
        "gain",
    ]
    assert found.total.verdict == "reference diverged (2 of 3)"
    assert (found.rows[1].mark, found.total.mark) == ("diverged", "diverged")
    # nor does it say at how many new seeds a row would win: they may diverge too
    assert (found.rows[1].delta.wins, found.total.delta.wins) == (None, None)
    assert found.rows[1].base.wins is None
    assert found.rows[2].delta.wins is not None
    text = render_terminal([found], width=110, color=False, ascii=False)
    total = next(line for line in text.splitlines() if line.startswith("all 3 tricks"))
    assert "↯ reference diverged (2 of 3)" in total
    assert "gain" not in total


@pytest.mark.parametrize("lost", [{"+ cosine": (1,)}, {"baseline": (1,), "+ cosine": (1,)}])
def test_of_two_sides_the_row_s_own_is_named(lost):
    assert made(lost).total.verdict == "diverged (1 of 3)"


@pytest.mark.parametrize(
    ("status", "own", "others"),
    [
        ("interrupted", "incomplete (2 of 3 seeds)", "reference incomplete (2 of 3 seeds)"),
        ("failed", "incomplete (2 of 3 seeds)", "reference incomplete (2 of 3 seeds)"),
        ("no_effect", "no effect", "reference no effect"),
    ],
)
def test_a_reference_without_a_seed_is_named(status, own, others):
    found = made({"+ warmup": (1,)}, status=status)
    assert [row.verdict for row in found.rows] == ["", own, others, "gain"]
    assert found.total.verdict == "gain"  # neither of its rows lacks a seed


def test_kinds_whose_reference_is_one_row():
    rows = [("all", "baseline", None), *((f"without {t}", "step", 0) for t in "ab")]
    names = dict(zip([r[0] for r in rows], values().values(), strict=False))
    gone = {key("all", 1): State("diverged")}
    kept = {k: r for k, r in results(names).items() if k not in gone}
    for kind, reference in (("leave_one_out", "full"), ("one_at_a_time", "baseline")):
        each = table(rows, kind=kind, reference=reference, total=False)
        (found,) = build_tables(study(each), kept, gone)
        assert [row.verdict for row in found.rows[1:]] == ["reference diverged (1 of 3)"] * 2


def test_one_seed_whose_reference_diverged():
    found = made({"baseline": (0,)}, seeds=1)
    assert [row.verdict for row in found.rows][:3] == [
        "diverged (1 of 1)",
        "reference diverged (1 of 1)",
        "",
    ]


@pytest.mark.parametrize("lost", ["baseline", "a", "a + b"])
def test_blocks_claim_nothing_of_a_row_that_diverged(lost):
    every = {members: 0.7 + 0.05 * len(members) for members in subsets("ab")}
    noise = (0.001, -0.001, 0.0005)
    found = of_sets({m: [v + n * (1 + len(m)) for n in noise] for m, v in every.items()})
    gone = {key(lost, 1): State("diverged")}
    kept = {k: r for k, r in found.items() if k not in gone}
    whole = built(set_table("factorial", subsets("ab"), "ab"), results=found)[0]
    assert {line.verdict for line in block(whole, "factorial").lines} & CLAIMS
    tables = built(
        set_table("factorial", subsets("ab"), "ab"),
        set_table("one_at_a_time", [(), ("a",), ("b",)], "ab"),
        set_table("leave_one_out", [("a", "b"), ("a",), ("b",)], "ab"),
        results=kept,
        states=gone,
    )
    names = [b.name for t in tables for b in t.blocks]
    assert "factorial" not in names
    assert "factorial" in [b.name for b in whole.blocks]
    lines = [
        ln.label for t in tables for b in t.blocks if b.name == "attribution" for ln in b.lines
    ]
    # a's lines need all four rows, b's too
    assert lines == []
    judged = [row for t in tables for row in t.rows if row.verdict in CLAIMS]
    for row in judged:
        reference = next(t for t in tables if row in t.rows).rows[row.delta.reference]
        assert lost not in (row.label, reference.label)


def test_the_share_that_diverged_has_an_exact_interval():
    found = made({"baseline": (0, 2)})
    low, high = proportion_confint(2, 3, alpha=0.05, method="beta")
    share = found.rows[0].diverged
    assert (share.count, share.of) == (2, 3)
    assert (share.low, share.high) == pytest.approx((low, high))
    said = "baseline: seeds 0, 2 diverged (2 of 3, 95% interval 9–99%), left out of mean and Δ"
    assert said in found.notes
    p = scipy_stats.fisher_exact([[0, 3], [2, 1]]).pvalue
    assert found.rows[1].delta.diverged_p == pytest.approx(p)
    assert found.total.delta.diverged_p == pytest.approx(p)
    # three seeds each cannot show that two shares differ, whatever they are: no word of it
    assert not any("Fisher" in note for note in found.notes)


def test_a_trial_that_is_not_there_is_no_part_of_the_share():
    gone = {key("+ warmup", 0): State("diverged"), key("+ warmup", 1): State("interrupted")}
    kept = {k: r for k, r in results(values()).items() if k not in gone}
    (found,) = build_tables(study(table(ROWS)), kept, gone)
    assert (found.rows[1].diverged.count, found.rows[1].diverged.of) == (1, 2)


def test_shares_of_enough_seeds_are_compared():
    found = made({"+ mixup": (0, 1, 2, 3, 4)}, seeds=6)
    p = scipy_stats.fisher_exact([[5, 1], [0, 6]]).pvalue
    assert f"{p:.2g}" == "0.015"
    said = "diverged in 5 of 6 seeds, {} in 0 of 6: Fisher's exact p = .015, not corrected"
    assert f"+ mixup {said.format('+ warmup')}" in found.notes
    below = "+ cosine diverged in 0 of 6 seeds, + mixup in 5 of 6: Fisher's exact p = .015"
    assert any(note.startswith(below) for note in found.notes)


def test_files_have_the_share_and_the_test():
    found = made({"baseline": (0, 2)})
    (document,) = json.loads(render("json", [found]))["tables"]
    low, high = proportion_confint(2, 3, alpha=0.05, method="beta")
    share = document["rows"][0]["diverged"]
    assert share == {"count": 2, "of": 3, "low": pytest.approx(low), "high": pytest.approx(high)}
    assert "diverged" not in document["rows"][1]
    p = scipy_stats.fisher_exact([[0, 3], [2, 1]]).pvalue
    assert document["total"]["delta"]["diverged_p"] == pytest.approx(p)
    head, baseline, warmup, *_ = render("csv", [found]).splitlines()
    lines = [
        dict(zip(head.split(","), each.split(","), strict=True)) for each in (baseline, warmup)
    ]
    assert (lines[0]["diverged"], float(lines[0]["diverged_high"])) == ("2", pytest.approx(high))
    assert float(lines[1]["delta_diverged_p"]) == pytest.approx(p)
    assert "diverged" not in render("csv", [made({})]).splitlines()[0]


def test_the_page_s_headline_says_so():
    page = render("html", [made({"baseline": (0, 2)})])
    assert ", reference diverged (2 of 3)</span>" in page
    assert "Diverged <span" not in page
    assert "its reference, 2 of 3" in page


def test_methods_name_the_row_that_diverged_and_not_the_one_below():
    text = render_methods([made({"baseline": (0, 2)})])
    assert "on imagenette: baseline (diverged in 2 of 3, 95% interval 9–99%);" in text
    assert "neither it nor what is compared with it gets a verdict" in text
    assert "Clopper, C. J." in text
