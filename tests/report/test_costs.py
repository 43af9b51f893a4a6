"""The cost of rows: figures worked out by hand, where they stand, and where they are not shown."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from ablate.report import build_tables, render, render_csv, render_json, render_markdown
from ablate.report.numbers import Clock, figures
from ablate.sql.effects import _of_table
from tests.helpers.costly_tables import IMAGES, V1, D, costly, uneven
from tests.helpers.html_studies import uneven_times
from tests.helpers.reference_tables import LABELS, NETTE, SECONDS, nette, show
from tests.helpers.report_studies import GROUP1, cumulative, results, study, table

COST_100 = """\
imagenette         M  GMACs  images/s  time per     top-1 %
              params                   epoch        ±sd
─────────────────────────────────────────────────────────────
baseline        25.6   3.86     1,176  8.0 s        89.8 ±0.4
+ warmup        25.6   3.86     1,176  8.0 s ×1.00  90.1 ±0.3
+ fp16          25.6   3.86     2,295  4.1 s ×0.51  90.1 ±0.3
+ mixup         25.6   3.86     2,251  4.2 s ×1.02  90.4 ±0.3
+ zero_gamma    25.6   4.33     2,251  4.2 s ×1.00  91.6 ±0.3
─────────────────────────────────────────────────────────────
all 4 tricks                                 ×0.52
M params: trained parameters · GMACs: multiply-adds of one test image · images/s and time per
epoch: of training, the first epoch left out · × is against the row above · ± sd over n = 3 seeds ·
last epoch · RTX 4090
"""

COST_MARKDOWN = """\
### group1 on imagenette

| row | M params | GMACs | images/s | time/epoch | top-1 % |
| :-- | --: | --: | --: | --: | --: |
| baseline | 25.6 | 3.86 | 1,176 | 8.0 s | 89.8 ± 0.4 |
| + warmup | 25.6 | 3.86 | 1,176 | 8.0 s (×1.00) | 90.1 ± 0.3 |
| + fp16 | 25.6 | 3.86 | 2,295 | 4.1 s (×0.51) | 90.1 ± 0.3 |
| + mixup | 25.6 | 3.86 | 2,251 | 4.2 s (×1.02) | 90.4 ± 0.3 |
| + zero_gamma | 25.6 | 4.33 | 2,251 | 4.2 s (×1.00) | 91.6 ± 0.3 |
| **all 4 tricks** | | | | (×0.52) | |

M params: trained parameters. GMACs: multiply-adds of one test image. images/s and time per epoch: \
of training, the first epoch left out. × is against the row above. Top-1 at the last of 20 epochs, \
mean ± standard deviation over n = 3 seeds (0–2).

resnet50_v1, batch 64, 160 px, fast numerics; 1 × NVIDIA RTX 4090, torch 2.8.0, ablate 0.1.0. \
`ablate run studies/group1.toml`
"""


def test_the_table_of_cost():
    assert show(uneven(), columns="cost") == COST_100
    assert render("markdown", uneven(), columns="cost") == COST_MARKDOWN


def test_the_usual_table_is_as_ever_where_no_row_s_model_differs():
    for width in (50, 80, 100, 121, 200):
        assert show(costly(), width) == show(nette_like(), width)
    assert render_markdown(costly()) == render_markdown(nette_like())


def nette_like():
    return build_tables(
        study(table(GROUP1)),
        results(NETTE, top5=dict.fromkeys(LABELS, 98.7), seconds=SECONDS),
        {},
    )


def heads(text):
    return {head for head in ("GMACs", "images/s", "top-5", "time per", "−3 ") if head in text}


def test_a_model_s_cost_takes_no_other_number_s_place():
    """From narrow to wide: every other column is there before the cost is."""
    shown_from = None
    for width in range(60, 180):
        text = show(uneven(), width)
        shown = "params" in text.split("─")[0]
        if shown and shown_from is None:
            shown_from = width
        assert shown == (shown_from is not None)  # once shown, at every greater width too
        if shown:
            assert {"top-5", "time per", "GMACs"} <= heads(text)
            assert "not shown" not in text
            assert "GMACs: multiply-adds of one test image" in text
        else:
            assert "not shown at this width: M params, GMACs" in text
    assert shown_from == 95 + 2 * 2 + 6 + 5
    assert {"GMACs", "−3 "} <= heads(show(uneven(), 140))


def test_all_columns_append_the_cost():
    text = show(uneven(), 80, columns="all")
    assert heads(text) == {"GMACs", "images/s", "top-5", "time per"}
    line = next(line for line in text.splitlines() if line.startswith("+ zero_gamma"))
    assert line.split()[-3:] == ["25.6", "4.33", "2,251"]
    head, _, *rows = [
        x for x in render("markdown", uneven(), columns="all").splitlines() if "|" in x
    ]
    assert head.endswith("| time/epoch | wins a new seed [95%] | M params | GMACs | images/s |")
    assert re.search(r"\| 4.2 s \(×1.00\) \| > 99% \[.*\] \| 25.6 \| 4.33 \| 2,251 \|$", rows[4])
    assert re.search(r"\| \(×0.52\) \| > 99% \[.*\] \| \| \| \|$", rows[5])


def test_markdown_has_the_model_s_cost_where_rows_differ():
    head, _, *rows = [x for x in render_markdown(uneven()).splitlines() if x.startswith("|")]
    assert head.endswith("| time/epoch | M params | GMACs |")
    assert rows[4].endswith("| 25.6 | 4.33 |")
    assert "GMACs: multiply-adds of one test image." in render_markdown(uneven())


def test_blocks_below_60_columns():
    lines = show(uneven(), 50).splitlines()
    at = lines.index("+ zero_gamma")
    assert lines[at + 7 : at + 9] == ["  M params        25.6", "  GMACs           4.33"]
    lines = show(uneven(), 50, columns="cost").splitlines()
    at = lines.index("+ zero_gamma")
    assert lines[at + 1 : at + 6] == [
        "  M params        25.6",
        "  GMACs           4.33",
        "  images/s        2,251",
        "  time per epoch  4.2 s ×1.00",
        "  top-1 %         91.6 ±0.3",
    ]


def test_trials_from_before_the_figures_print_a_dash():
    lines = show(nette(), columns="cost").splitlines()
    assert lines[3].split() == ["baseline", "–", "–", "–", "8.0", "s", "89.8", "±0.4"]
    assert "M params" not in show(nette(), 200).split("±")[0]
    row = json.loads(render_json(nette()))["tables"][0]["rows"][0]
    assert [row[name] for name in ("parameters", "macs", "images_per_second")] == [None] * 3


def test_one_old_trial_hides_nothing_of_the_others():
    tables = costly({"+ warmup": [V1, (None, None), V1]})
    row = tables[0].rows[1]
    assert (row.parameters, row.macs) == V1
    assert not tables[0].notes
    unknown = costly({"+ warmup": (None, None)})[0]
    assert unknown.rows[1].parameters is None
    assert not unknown.costs_differ


def test_seeds_that_trained_different_models_have_no_size_and_a_note():
    (found,) = costly({"+ warmup": [V1, D, V1]})
    assert (found.rows[1].parameters, found.rows[1].macs) == (None, None)
    told = [note for note in found.notes if note.startswith("+ warmup")]
    assert len(told) == 2
    assert "parameters" in told[0]
    assert "multiply-adds" in told[1]


def test_images_per_second_are_an_epoch_s_images_over_its_time():
    (found,) = costly()
    for row in found.rows:
        assert row.images_per_second * row.seconds == pytest.approx(IMAGES)
    assert found.rows[0].seeds[1].images_per_second == pytest.approx(IMAGES / 8)


@pytest.mark.parametrize(
    ("images", "text"), [(9_408, "1,176"), (848, "106"), (666, "83"), (79, "9.88"), (4, "0.500")]
)
def test_speeds_are_whole_unless_an_image_takes_long(images, text):
    (found,) = costly(images=images)
    assert show([found], columns="cost").splitlines()[3].split()[3] == text


@pytest.mark.parametrize(
    "machine",
    [
        {label: {"shared_device": True} for label in LABELS},
        {"+ fp16": {"device_name": "NVIDIA H200"}},
    ],
)
def test_speeds_are_hidden_where_times_are(machine):
    (found,) = costly(machine=machine)
    assert all(row.images_per_second is None and row.seconds is None for row in found.rows)
    assert all(row.parameters for row in found.rows)
    lines = show([found], columns="cost").splitlines()
    assert lines[3].split() == ["baseline", "25.6", "3.86", "–", "–", "89.8", "±0.4"]
    assert any("times not" in line for line in lines)


def test_json_and_csv_have_the_cost_in_full():
    rows = json.loads(render_json(uneven()))["tables"][0]["rows"]
    assert [(row["parameters"], row["macs"]) for row in rows] == [V1] * 4 + [D]
    assert rows[2]["images_per_second"] == pytest.approx(IMAGES / 4.1)
    assert rows[2]["epoch_seconds"] == pytest.approx(4.1)
    lines = list(csv.DictReader(io.StringIO(render_csv(uneven()))))
    assert (int(lines[4]["parameters"]), int(lines[4]["macs"])) == D
    assert float(lines[2]["images_per_second"]) == pytest.approx(IMAGES / 4.1)
    assert [lines[5][name] for name in ("parameters", "macs", "images_per_second")] == [""] * 3


def test_one_seed():
    lines = show(costly({"+ zero_gamma": D}, seeds=1), columns="cost").splitlines()
    assert " ".join(lines).endswith("above · n = 1 seed · last epoch · RTX 4090")
    assert lines[3].split()[-1] == "90.1"
    assert "GMACs" in show(costly({"+ zero_gamma": D}, seeds=1)).splitlines()[0]


def test_transposed_tables_stand_apart_for_their_cost():
    rows = cumulative("cosine")
    values = {"baseline": (70.0, 71.0), "+ cosine": (72.0, 73.5)}
    tables = [
        table(rows, 2, column=f"model {model}", transpose=True) for model in ("resnet18", "vgg11")
    ]
    done = {}
    for each in tables:
        done |= results(values, column=each.column)
    made = build_tables(study(*tables), done, {})
    for text in (show(made, columns="cost"), render("markdown", made, columns="cost")):
        assert text.count("GMACs: multiply") == 2
        assert "imagenette, model vgg11" in text


def test_a_ratio_has_its_interval_where_there_is_room():
    """That of the table's fit, which tests/stats holds against the paired t."""
    made = costly(seconds=uneven_times())
    fp16, total = made[0].rows[2].ratio, made[0].total.ratio
    texts = [f"×{r.ratio:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in (fp16, total)]
    assert texts[0].startswith("×0.51 [0.")
    for columns in ("all", "cost"):
        text = show(made, columns=columns)
        assert f"4.1 s {texts[0]}" in text.splitlines()[5]
        assert text.splitlines()[1].count("epoch [95%]") == 1
        assert texts[1] in text
        assert f"| 4.1 s ({texts[0]}) |" in render("markdown", made, columns=columns)
        assert f"({texts[1]})" in render("markdown", made, columns=columns)
        tex = render("latex", made, columns=columns).replace("\\,", "")
        assert f"{fp16.low:.2f}" in tex
        assert "ratio [95\\%]" in tex
    page = render("html", made)
    assert all(text in page for text in texts)
    assert "time/epoch [95%]" in page
    for width in (80, 121, 300):  # the usual table stays as narrow as it was
        assert "×0.51 [" not in show(made, width)
    rows = list(csv.DictReader(io.StringIO(render_csv(made))))
    found = [float(rows[2][f"time_ratio{end}"]) for end in ("", "_low", "_high")]
    assert found == [fp16.ratio, fp16.low, fp16.high]
    (row,) = (row for row in _of_table(made[0]) if row["role"] == "total")
    names = ("time_ratio", "time_ratio_low", "time_ratio_high")
    assert [row[name] for name in names] == [total.ratio, total.low, total.high]
    told = json.loads(render_json(made))["tables"][0]["total"]["time_ratio"]
    assert told == {"ratio": total.ratio, "low": total.low, "high": total.high}


@pytest.mark.parametrize(
    ("seconds", "texts"),
    [
        ((0.0123, 0.5), ["0.0123 s", "0.5000 s"]),
        ((4.1, 8.0), ["4.1 s", "8.0 s"]),
        ((110.0, 250.0), ["110 s", "250 s"]),
        ((264.0, 798.0), ["4.4 min", "13.3 min"]),  # the paper's ResNet-50, 1,024 and 256 a batch
        ((3540.0, 5400.0), ["59.0 min", "90.0 min"]),
        ((4680.0, 10800.0, 3_607_260.0), ["1 h 18", "3 h", "1,002 h 1"]),
        ((None, 300.0), ["5.0 min"]),
    ],
)
def test_times_are_in_one_unit_a_table(seconds, texts):
    clock = Clock.of(seconds)
    assert [clock.text(value) for value in seconds if value is not None] == texts


def test_long_epochs_print_minutes():
    seconds = {label: 60 * value for label, value in SECONDS.items()}
    assert "8.0 min ×1.00" in show(costly(seconds=seconds))
    assert "| 4.1 min (×0.51) |" in render_markdown(costly(seconds=seconds))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (25.557032, "25.6"),
        (4.089, "4.09"),
        (9.996, "10.0"),
        (0.27247, "0.272"),
        (0.0347, "0.0347"),
        (138.366, "138"),
        (999.6, "1,000"),
        (1412.4, "1,412"),
        (3.0, "3.00"),
    ],
)
def test_three_figures(value, text):
    assert figures(value) == text
