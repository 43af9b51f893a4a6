"""The reference transcripts, line by line: seeds made up so that their numbers come out."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from ablate.report import build_tables
from tests.helpers.reference_tables import LABELS, NETTE_100, nette, one_seed, show, woof
from tests.helpers.report_studies import cumulative, results, study, table

NETTE_80 = """\
imagenette    top-1 %    Δ row above                                      Δ
              ±sd        [95% interval]     verdict                    base
───────────────────────────────────────────────────────────────────────────
baseline      89.8 ±0.4
+ warmup      90.1 ±0.3  +0.4 [−0.4, +1.2]  ○ unresolved               +0.4
+ fp16        90.1 ±0.3  −0.1 [−0.9, +0.7]  ○ unresolved               +0.3
+ mixup       90.4 ±0.3  +0.3 [−0.4, +1.0]  ○ unresolved               +0.6
+ zero_gamma  91.6 ±0.3  +1.2 [+0.7, +1.8]  ▲ gain                     +1.9
───────────────────────────────────────────────────────────────────────────
all 4 tricks             +1.9 [+1.3, +2.4]  ▲ gain
not shown at this width: top-5, time (--columns all)
"""

WOOF_100 = """\
imagewoof     top-1 %     Δ row above                                        Δ  top-5  time per
              ±sd         [95% interval]     verdict                      base      %  epoch
──────────────────────────────────────────────────────────────────────────────────────────────────
baseline      78.0 ±0.2                                                          96.9  8.0 s
+ warmup      79.1 ±0.4   +1.1 [+0.1, +2.1]  ○ unresolved †               +1.1   97.1  8.0 s ×1.00
+ fp16        79.3 ±0.7   +0.3 [−1.0, +1.5]  ○ unresolved                 +1.3   97.2  4.1 s ×0.51
+ mixup       78.2 ±0.4   −1.1 [−2.5, +0.2]  ○ unresolved                 +0.2   97.0  4.2 s ×1.02
+ zero_gamma  80.4 (n 2)  +2.1 on 2 seeds    … incomplete (2 of 3 seeds)         97.4  4.2 s ×1.00
──────────────────────────────────────────────────────────────────────────────────────────────────
all 4 tricks              +2.5 on 2 seeds    … incomplete (2 of 3 seeds)                     ×0.52
† the interval leaves out 0, the test corrected for 5 comparisons does not
✗ imagew imagewoof · + zero_gamma · seed 1: out of memory; 0.9 GiB free (ablate logs imagew)
"""

ONE_SEED = """\
imagenette    top-1  Δ row  re-run noise     Δ  top-5  time per
                  %  above  (95% band)    base      %  epoch
──────────────────────────────────────────────────────────────────
baseline       78.2                              96.9  8.0 s
+ warmup       79.0   +0.8  inside ±1.4   +0.8   97.0  8.0 s ×1.00
+ fp16         79.1   +0.1  inside ±1.4   +0.9   97.0  4.1 s ×0.51
+ mixup        77.9   −1.2  inside ±1.4   −0.3   96.8  4.2 s ×1.02
+ zero_gamma   80.6   +2.7  outside ±1.4  +2.4   97.3  4.2 s ×1.00
One seed: no interval and no verdict. Training the same recipe twice differs by up to ±1.4 points
(95%; sd ≈ √(error/2N), N = 3,925). "Outside" is a reason to run more seeds, not a finding.
"""


def test_three_seeds_at_100_columns():
    assert show(nette()) == NETTE_100


def test_80_columns_drop_top5_and_time_and_say_so():
    assert show(nette(), 80).startswith(NETTE_80)
    assert "time per" in show(nette(), 80, columns="all")


def test_a_row_short_of_seeds():
    assert show(woof()).startswith(WOOF_100)
    assert "✗" not in show(woof(), failures=False)


def test_one_seed_has_a_band_and_a_sentence():
    assert show(one_seed()) == ONE_SEED


def test_the_interval_is_drawn_from_121_columns():
    assert "●" not in show(nette(), 120)
    lines = show(nette(), 121).splitlines()
    assert lines[1].endswith("−3       0       +3")
    drawn = {line[:12].strip(): line[97:].ljust(19) for line in lines[3:10]}
    assert all(d[9] in "│┼●─" for label, d in drawn.items() if label.startswith("+"))
    assert drawn["+ zero_gamma"].index("●") == 9 + 4  # +1.2 of 3 on nine cells
    assert drawn["+ zero_gamma"] == "         │ ──●─    "
    assert drawn["+ fp16"].count("●") == 1
    assert drawn["baseline"].strip() == ""


@pytest.mark.parametrize("make", [nette, woof, one_seed])
@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("width", [24, 40, 59, 60, 66, 72, 79, 80, 90, 99, 110, 121, 200])
def test_no_line_is_too_long_and_no_number_is_cut(make, ascii, width):
    text = show(make(), width, ascii=ascii)
    # a block's line is a fact that has no shorter form
    assert all(cell_len(line) <= max(width, 47) for line in text.splitlines())
    for label in (*LABELS, *(["all 4 tricks"] if make is not one_seed else [])):
        assert label in text
    for row in make()[0].rows:
        assert f"{row.mean * 100:.1f}" in text
        for word in row.verdict.split():
            assert word in text
    assert not ascii or text.isascii()


def test_below_60_columns_one_block_per_row():
    lines = show(nette(), 50).splitlines()
    at = lines.index("+ zero_gamma")
    assert lines[at + 1 : at + 7] == [
        "  top-1 %         91.6 ±0.3",
        "  Δ row above     +1.2 [+0.7, +1.8]",
        "  verdict         ▲ gain",
        "  Δ baseline      +1.9",
        "  top-5 %         99.1",
        "  time per epoch  4.2 s ×1.00",
    ]
    at = lines.index("all 4 tricks")
    assert lines[at + 1] == "  Δ baseline      +1.9 [+1.3, +2.4]"


def test_the_order_in_which_columns_go():
    gone = []
    for width in range(121, 66, -1):
        text = show(nette(), width)
        said = [line for line in text.splitlines() if line.startswith("not shown")]
        gone.append(said[0].split(": ")[1].removesuffix(" (--columns all)") if said else "")
    names = ["top-5", "time", "Δ base", "±sd"]
    assert list(dict.fromkeys(gone)) == [", ".join(names[:i]) for i in range(5)]


def test_colour_says_nothing_that_the_text_does_not():
    import re

    colour = show(nette(), color=True)
    assert "\x1b[36m▲ gain\x1b[0m" in colour
    assert set(re.findall(r"\x1b\[(\d+)m", colour)) <= {"0", "1", "2", "31", "33", "36"}
    assert re.sub(r"\x1b\[\d+m", "", colour) == show(nette())


def test_ascii_signs():
    text = show(woof(), ascii=True)
    assert "+ zero_gamma  80.4 (n 2)   +2.1 on 2 seeds    ... incomplete (2 of 3 seeds)" in text
    assert "+1.1 [+0.1, +2.1]  o unresolved *" in text
    assert "-1.1 [-2.5, +0.2]  o unresolved" in text


def test_names_that_would_move_the_cursor_are_shown():
    rows = cumulative("bad\u202ename\x1b[2J")
    values = {"baseline": (70.0, 71.0), rows[1][0]: (72.0, 73.5)}
    tables = build_tables(study(table(rows, 2)), results(values), {})
    text = show(tables)
    assert "+ bad\\u202ename\\u001b[2J" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_wide_characters_keep_their_columns():
    rows = cumulative("混合", "warmup")
    values = {"baseline": (70.0, 71.0), "+ 混合": (72.0, 73.5), "+ warmup": (72.5, 73.0)}
    text = show(build_tables(study(table(rows, 2)), results(values), {}))
    lines = [line for line in text.splitlines() if "±" in line and "." in line][:3]
    assert len({cell_len(line[: line.index("±")]) for line in lines}) == 1
