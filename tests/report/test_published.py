"""Published figures beside measured ones: which figure, which difference, inside or not."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from ablate.errors import AblateError
from ablate.report import render_terminal
from ablate.report.published.attach import check_name, nothing_published
from ablate.report.published.data import paper
from tests.helpers.compared_studies import (
    EFFICIENT,
    RECIPE,
    VARIANT,
    compared,
    planned,
    spread,
    stacked,
)
from tests.helpers.report_studies import GROUP1, table

TABLE4 = stacked("linear_scaling", "warmup", "zero_gamma", "no_bias_decay", "fp16")
TABLE6 = stacked(
    "efficient", "cosine", "label_smoothing", branches=("distill", "mixup", "distill + mixup")
)
BUNDLES = {"efficient": EFFICIENT, "resnet_bcd": VARIANT}


def raw():
    """The packaged file as it stands, read apart from the code under test."""
    text = files("ablate.report").joinpath("paper.toml").read_text(encoding="utf-8")
    return tomllib.loads(text, parse_float=Decimal)


def figures(number, column):
    """{step: top-1} of one column of a published table, from the packaged file."""
    [found] = [t for t in raw()["table"] if t["number"] == number]
    return {row["step"]: row["top1"][column] for row in found["rows"]}


# The packaged figures


def test_figures_that_were_read_in_the_paper_are_the_paper_s():
    # its abstract: ResNet-50 comes to 79.29%; its text: 13.3 and 4.4 minutes an epoch
    best = paper().table(6).rows[-1]
    assert (best.top1[0], best.source[0]) == (Decimal("79.29"), "text")
    first, second = paper().table(3).rows
    assert (first.minutes[0], second.minutes[0]) == (Decimal("13.3"), Decimal("4.4"))
    assert (first.minutes_source[0], second.minutes_source[0]) == ("text", "text")


def test_every_figure_is_a_percentage_with_a_known_source():
    assert [found.number for found in paper().tables] == [2, 3, 4, 5, 6, 7]
    for found in paper().tables:
        for row in found.rows:
            assert len(row.top1) == len(row.top5) == len(row.source) == len(found.columns)
            for top1, top5 in zip(row.top1, row.top5, strict=True):
                assert 50 < top1 < top5 < 100
                assert top1.as_tuple().exponent == top5.as_tuple().exponent == -2


def test_tables_that_share_a_training_agree():
    # the same network trained once: table 3's end is table 4's, which is where table 5 begins
    efficient = figures(3, 0)["efficient"]
    assert efficient == figures(4, 1)["fp16"] == figures(5, 0)["efficient"]
    assert figures(5, 0)["resnet_d"] == figures(6, 0)["efficient"]
    assert figures(2, 0)["baseline"] == figures(3, 0)["baseline"] == figures(4, 0)["linear_scaling"]
    for column in (1, 2):
        assert figures(3, column)["efficient"] == figures(6, column)["efficient"]


# Matching


def cells(report):
    return {row.label: row.published for row in report.rows}


def test_table_4_by_name_has_each_row_s_figure_and_step():
    both = [table(TABLE4, column=f"batch_size {b}") for b in (64, 256)]
    resolved = planned(both, name="imagenette/table4", base=(*RECIPE, "linear_scaling"))
    for column, report in enumerate(compared(resolved, spread(TABLE4))):
        published = figures(4, column)
        assert report.paper.match == "table"
        assert report.paper.column == ("batch 256", "batch 1024")[column]  # by order of size
        found = cells(report)
        assert found["linear_scaling"].delta is None
        for before, step in pairwise(published):
            cell = found[f"+ {step}"]
            assert cell.top1 == published[step]
            assert cell.delta == published[step] - published[before]
            assert (cell.table, cell.against, cell.asked) == (4, before, "row")


@pytest.mark.parametrize(
    ("batches", "own", "expected"),
    [
        ((1024, 256), 256, "batch 256"),  # the larger first
        ((256,), 256, "batch 256"),  # alone: the nearest
        ((64,), 64, "batch 256"),
        ((900,), 900, "batch 1024"),
    ],
)
def test_batch_sizes_are_matched_by_their_rank(batches, own, expected):
    tables = [table(TABLE4, column=f"batch_size {b}") for b in batches]
    resolved = planned(tables, name="table4", base=("linear_scaling",))
    found = {r.column: r.paper.column for r in compared(resolved, spread(TABLE4))}
    assert found[f"batch_size {own}"] == expected


def test_a_column_that_is_not_trained_yet_still_has_its_rank():
    both = [table(TABLE4, column=f"batch_size {b}") for b in (64, 256)]
    resolved = planned(both, name="imagenette/table4", base=("linear_scaling",))
    resolved = resolved.model_copy(update={"tables": resolved.tables[1:]})  # as a lookup trims it
    [report] = compared(resolved, spread(TABLE4))
    assert report.paper.column == "batch 1024"


def test_bundles_branches_and_aliases_are_matched_by_what_they_add():
    rows = stacked(
        "efficient + resnet_bcd", "cos", "smooth", branches=("distill", "mix", "distill + mix")
    )
    columns = ("resnet50_v1", "inception_v3", "mobilenet_v1")
    resolved = planned(
        [table(rows, column=f"model {model}") for model in columns],
        name="mine/table6",
        base=(*EFFICIENT, *VARIANT),
        aliases={"cos": "cosine", "smooth": "label_smoothing", "mix": "mixup"},
        bundles=BUNDLES,
    )
    for column, report in enumerate(compared(resolved, spread(rows))):
        published = figures(6, column)
        assert report.paper.column == paper().table(6).columns[column].label
        last = published["label_smoothing"]
        found = cells(report)
        for label, step in (("distill", "distill"), ("mix", "mixup"), ("distill + mix", None)):
            cell = found[f"+ {label}"]
            top1 = published[step or "distill + mixup"]
            assert (cell.top1, cell.delta) == (top1, top1 - last)  # against the trunk, not a branch


def test_a_bundle_of_which_a_member_was_dropped_is_still_that_bundle():
    rows = stacked("baseline", "efficient")
    fewer = {"efficient": tuple(trick for trick in EFFICIENT if trick != "zero_gamma")}
    of = [table(rows, column="model mobilenet_v1")]
    [report] = compared(planned(of, name="table3", bundles=fewer), spread(rows))
    assert cells(report)["+ efficient"].top1 == figures(3, 2)["efficient"]
    other = {"efficient": ("cosine",)}  # a name alone is nothing
    [report] = compared(planned(of, name="table3", bundles=other), spread(rows))
    assert report.paper.match == "tricks"
    assert cells(report)["+ efficient"].step == "cosine"


def test_rows_that_the_paper_has_not_stay_empty():
    rows = [*TABLE4, ("+ ema", "branch", 4)]
    resolved = planned([table(rows)], name="table4", base=("linear_scaling",))
    [report] = compared(resolved, spread(rows))
    assert cells(report)["+ ema"] is None
    assert cells(report)["+ fp16"] is not None


def test_tables_without_a_name_are_found_by_their_steps():
    rows = stacked("baseline", "resnet_b", "resnet_c", "resnet_d")
    [report] = compared(planned([table(rows)], name="variants"), spread(rows))
    assert (report.paper.match, report.paper.table) == ("table", 5)
    assert "first row without tricks" in report.paper.differs
    assert "first row efficient" in report.paper.differs
    rows = stacked("baseline", "resnet_c", "resnet_b", "resnet_d")  # not the paper's order
    [report] = compared(planned([table(rows)], name="variants"), spread(rows))
    assert report.paper.match == "tricks"


def test_places_is_compared_with_places_only():
    rows = stacked("efficient", "best")
    bundles = {"best": ("cosine", "label_smoothing", "mixup")}
    for dataset, number in (("places365", 7), ("imagenette", 6)):
        resolved = planned([table(rows, dataset=dataset)], name="other", bundles=bundles)
        [report] = compared(resolved, spread(rows))
        assert cells(report)["+ best"].table == number
        more = [*rows, ("+ ema", "step", 1)]  # not the table's steps any more
        of = table(more, dataset=dataset)
        [report] = compared(planned([of], name="other", bundles=bundles), spread(more))
        assert (report.paper.match, cells(report)["+ best"].table) == ("tricks", number)


def test_a_control_row_s_trick_is_another_question_unless_the_baseline_answers_it():
    rows = [("baseline", "baseline", None), ("+ batch 256 alone", "control", 0)]
    rows += [("+ efficient", "step", 1)]
    resolved = planned([table(rows)], name="table3", bundles=BUNDLES)
    # a control row has the tricks of the row above it
    [of] = resolved.tables
    control = of.rows[1].model_copy(update={"tricks": of.rows[0].tricks})
    last = of.rows[2].model_copy(update={"tricks": EFFICIENT})
    of = of.model_copy(update={"rows": (of.rows[0], control, last)})
    trials = {
        key: trial.model_copy(update={"tricks": ()}) if key in control.keys else trial
        for key, trial in resolved.trials.items()
    }
    resolved = resolved.model_copy(update={"tables": (of,), "trials": trials})
    [report] = compared(resolved, spread(rows))
    found = cells(report)
    assert found["+ batch 256 alone"] is None
    cell = found["+ efficient"]
    assert (cell.asked, cell.against) == ("baseline", "baseline")
    effect = report.rows[2].base.effect
    assert cell.inside == (effect.low * 100 <= float(cell.delta) <= effect.high * 100)
    [note] = [line for line in report.paper.footnotes if line.startswith("‡")]
    assert "the paper's Δ is to baseline; ours to baseline is +2" in note
    # the cost alone has no Δ, and so no mark to explain
    timed = compared(resolved, spread(rows), seconds={label: 60.0 for label, _, _ in rows})
    assert "‡" in render_terminal(timed, color=False, ascii=False, width=130)
    assert "1.00 / " in render_terminal(timed, color=False, ascii=False, width=130, columns="cost")
    assert "‡" not in render_terminal(timed, color=False, ascii=False, width=130, columns="cost")


# Differences and intervals by hand


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(("share", "inside"), [(0.99, True), (1.01, False)])
def test_inside_is_the_paired_t_interval_s_verdict(side, share, inside):
    """Two rows: the interval is the paired t's, so its ends can be put beside the figure."""
    rows = stacked("linear_scaling", "warmup")
    published = figures(4, 1)
    theirs = float(published["warmup"] - published["linear_scaling"])
    apart = np.array([-0.1, 0.0, 0.1])
    half = stats.t.ppf(0.975, 2) * apart.std(ddof=1) / np.sqrt(3)
    ours = theirs + side * share * half + apart
    first = np.array([80.0, 80.3, 79.9])
    values = {"linear_scaling": tuple(first), "+ warmup": tuple(first + ours)}
    resolved = planned([table(rows, column="batch_size 1024")], name="table4")
    [report] = compared(resolved, values)
    effect = report.rows[1].delta.effect
    assert effect.low * 100 == pytest.approx(ours.mean() - half, abs=1e-9)
    assert effect.high * 100 == pytest.approx(ours.mean() + half, abs=1e-9)
    assert report.rows[1].published.inside is inside


def test_one_seed_has_no_interval_to_be_inside_of():
    resolved = planned([table(TABLE4, 1)], name="table4", base=("linear_scaling",))
    [report] = compared(resolved, spread(TABLE4, 1))
    assert all(row.published.inside is None for row in report.rows)
    assert report.rows[1].published.delta is not None


def test_top_5_is_compared_with_top_5():
    resolved = planned([table(TABLE4)], name="table4", base=("linear_scaling",))
    resolved = resolved.model_copy(update={"metric": "top5"})
    top5 = {label: 95.0 + i for i, (label, _, _) in enumerate(TABLE4)}
    [report] = compared(resolved, spread(TABLE4), top5=top5)
    first, second = paper().table(4).rows[:2]
    assert report.rows[1].published.delta == second.top5[0] - first.top5[0]
    resolved = resolved.model_copy(update={"metric": "loss"})
    [report] = compared(resolved, spread(TABLE4))
    assert report.paper is None


# Single tricks


def test_a_study_of_other_steps_has_the_paper_s_own_step_for_each_trick():
    [report] = compared(planned([table(GROUP1)], name="group1"), spread(GROUP1))
    assert (report.paper.match, report.paper.table) == ("tricks", 0)
    heuristics, refined = figures(4, 1), figures(6, 0)
    expected = {
        "+ warmup": heuristics["warmup"] - heuristics["linear_scaling"],
        "+ fp16": heuristics["fp16"] - heuristics["no_bias_decay"],
        "+ mixup": refined["mixup"] - refined["label_smoothing"],
        "+ zero_gamma": heuristics["zero_gamma"] - heuristics["warmup"],
    }
    found = cells(report)
    assert {label: found[label].delta for label in expected} == expected
    assert found["baseline"] is None
    mixup, before = paper().table(6).rows[4], paper().table(6).rows[2]
    assert (mixup.source[0], before.source[0]) == ("repeated", "recall")
    assert found["+ mixup"].delta_source == "recall"  # the weaker of the two
    assert {cell.column for cell in found.values() if cell} == {"batch 1024", "ResNet-50-D"}
    assert "table 4 at batch 1024 on ResNet-50, table 6 on ResNet-50-D" in report.paper.footnotes[1]
    assert "120 epochs (200 with mixup)" in report.paper.differs


def test_several_tricks_in_one_row_are_several_steps():
    rows = stacked("baseline", "resnet_bcd", "cosine + label_smoothing")
    [report] = compared(planned([table(rows)], name="x", bundles=BUNDLES), spread(rows))
    found = cells(report)
    variants, refined = figures(5, 0), figures(6, 0)
    assert found["+ resnet_bcd"].delta == variants["resnet_d"] - variants["efficient"]
    both = found["+ cosine + label_smoothing"]
    assert both.delta == refined["label_smoothing"] - refined["efficient"]


def test_the_model_chooses_the_column_of_a_single_trick():
    rows = stacked("baseline", "cosine", "ema")
    resolved = planned([table(rows)], name="x", recipe={"model": "mobilenet_v1"})
    [report] = compared(resolved, spread(rows))
    published = figures(6, 2)
    cell = cells(report)["+ cosine"]
    assert (cell.column, cell.delta) == ("MobileNet", published["cosine"] - published["efficient"])
    assert cells(report)["+ ema"] is None


def test_leaving_a_trick_out_turns_the_sign():
    rows = [("all 2 tricks", "baseline", None)]
    rows += [(f"without {trick}", "step", 0) for trick in ("cosine", "warmup")]
    of = table(rows, kind="leave_one_out", reference="full", total=False)
    tricks = {"all 2 tricks": ("cosine", "warmup"), "without cosine": ("warmup",)}
    tricks |= {"without warmup": ("cosine",)}
    made = tuple(row.model_copy(update={"tricks": tricks[row.label]}) for row in of.rows)
    resolved = planned([of], name="loo")
    trials = {k: t.model_copy(update={"tricks": ()}) for k, t in resolved.trials.items()}
    of = of.model_copy(update={"rows": made})
    resolved = resolved.model_copy(update={"tables": (of,), "trials": trials})
    [report] = compared(resolved, spread(rows))
    published = figures(6, 0)
    assert report.paper.negated
    assert cells(report)["without cosine"].delta == published["efficient"] - published["cosine"]
    assert any("sign turned" in line for line in report.paper.footnotes)


def test_nothing_published_is_refused_with_what_there_is():
    rows = stacked("baseline", "ema", "sam")
    [report] = compared(planned([table(rows)], name="x"), spread(rows))
    assert report.paper is None
    error = nothing_published(["x"])
    assert "no row of x" in error.message
    assert "table 5: resnet_b, resnet_c, resnet_d" in error.message
    assert error.exit_code == 2
    with pytest.raises(AblateError, match="did you mean 'paper'"):
        check_name("papr")


# What differs


@pytest.mark.parametrize(("form", "said"), [("uniform", True), ("others", False)])
def test_the_other_form_of_label_smoothing_differs(form, said):
    resolved = planned(
        [table(TABLE6, 1, dataset="imagenet")],
        name="paper/table6",
        base=(*RECIPE, *EFFICIENT, *VARIANT),
        params={"label_smoothing": {"epsilon": 0.1, "form": form}},
    )
    [report] = compared(resolved, spread(TABLE6, 1))
    ours, theirs = report.paper.differs.split(" / ")
    assert ("label_smoothing form uniform" in ours) == said
    assert ("label_smoothing form others" in theirs) == said


def test_what_is_the_same_is_not_among_what_differs():
    of = table(TABLE6, 1, dataset="imagenet")
    resolved = planned(
        [of],
        name="paper/table6",
        base=(*RECIPE, *EFFICIENT, *VARIANT),
        recipe={"image_size": 224, "epochs": 120, "batch_size": 1024},
        recipes={label: {"epochs": 200} for label, _, _ in TABLE6 if "mixup" in label},
        params={"mixup": {"alpha": 0.2}, "label_smoothing": {"epsilon": 0.1}},
    )
    [report] = compared(resolved, spread(TABLE6, 1))
    assert report.paper.differs == "Differs: RTX 4090 / 8 × V100."


def test_what_differs_is_said_on_both_sides():
    of = table(TABLE6, dataset="imagewoof")
    resolved = planned(
        [of],
        name="imagenette/table6",
        base=(*EFFICIENT, *VARIANT),
        recipe={"image_size": 128, "epochs": 20, "batch_size": 256, "model": "resnet18"},
        recipes={label: {"epochs": 33} for label, _, _ in TABLE6 if "mixup" in label},
        params={"mixup": {"alpha": 0.4}, "label_smoothing": {"epsilon": 0.1}},
    )
    [report] = compared(resolved, spread(TABLE6))
    assert report.paper.differs == (
        "Differs: Imagewoof 128 px, resnet18, batch 256, 20 epochs (33 with mixup), without "
        "color_jitter + pca_lighting + xavier_init, mixup alpha 0.4, 3 seeds, RTX 4090 / "
        "ImageNet 224 px, ResNet-50-D, batch 1024, 120 epochs (200 with mixup), mixup alpha 0.2, "
        "8 × V100."
    )
