"""A metric says what it is: direction, unit and noise are declared, and no name is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ablate.core.metrics import KNOWN, LOSS, MEASURED, TOP1, TOP5, Metric, metric_named
from ablate.report.formats import render
from ablate.report.formats.methods import render_methods
from ablate.report.model import ReportTable
from ablate.report.tables.build import build_tables
from tests.helpers import report_studies as made

ERROR = Metric(
    *("wrong", "error rate", "%", 100.0), higher_is_better=False, share_of="examples", margin=0.5
)
LATENCY = Metric("latency", unit="ms", scale=1000.0, higher_is_better=False)
# Rows whose error rates are far apart, so that a row's own noise tells in every interval.
RIGHT = {
    "baseline": (60.1, 58.9, 60.8),
    "+ warmup": (97.0, 96.6, 97.3),
    "+ mixup": (97.1, 96.5, 97.2),
    "+ fp16": (90.0, 91.2, 89.5),
}
STUDY = made.study(made.table(made.cumulative("warmup", "mixup", "fp16")))


def report(
    values: Mapping[str, Sequence[float]], *declared: Metric, name: str = "wrong", seeds: int = 3
) -> ReportTable:
    """A table of `values`, in percent, under that name, of trials that declare these metrics."""
    study = made.study(made.table(made.cumulative("warmup", "mixup", "fp16"), seeds))
    summary: dict[str, Any] = {"examples": 3925, "measures": [m.document() for m in declared]}
    results = made.results({row: line[:seeds] for row, line in values.items()}, summary=summary)
    for row, line in values.items():
        for seed, value in enumerate(line[:seeds]):
            key = made.key(row, seed)
            results[key] = replace(results[key], final={**results[key].final, name: value / 100})
    (table,) = build_tables(study, results, {}, metric=name)
    return table


def wrong(values: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    return {row: [100 - value for value in line] for row, line in values.items()}


def test_an_error_rate_is_the_mirror_of_the_accuracy() -> None:
    """The same trainings counted by what is wrong: every number mirrored, every verdict the same.

    That takes the direction, the noise √error from the value itself, and the margin in points.
    """
    right, table = report(RIGHT, name="top1"), report(wrong(RIGHT), ERROR)
    assert (table.margin, table.decimals, table.metric) == (0.5, right.decimals, ERROR)
    assert {row.verdict for row in right.rows} >= {"gain", "loss"}
    for mine, other in zip(table.judged, right.judged, strict=True):
        assert (mine.verdict, mine.mark) == (other.verdict, other.mark)
        if mine.delta is None:
            continue
        one, two = mine.delta.effect, other.delta.effect
        assert one.delta == pytest.approx(-two.delta)
        assert one.se == pytest.approx(two.se)
        assert (one.low, one.high) == pytest.approx((-two.high, -two.low))
    # by numbers that are no share of the images, the intervals are others
    plain = report(wrong(RIGHT), replace(ERROR, share_of=None))
    ends = [table.rows[2].delta.effect, plain.rows[2].delta.effect]
    assert abs(ends[0].se / ends[1].se - 1) > 0.05


def test_one_seed_of_an_error_rate_has_the_binomial_band_of_its_value() -> None:
    table = report(wrong(RIGHT), ERROR, seeds=1)
    a, b = 1 - 0.601, 1 - 0.970
    expected = 1.959964 * np.sqrt(a / (2 * 3925) + b / (2 * 3925))
    assert table.rows[1].delta.band == pytest.approx(expected, rel=1e-6)
    # a share that cannot be one is refused nowhere, and has no band beyond that of its bounds
    assert report(dict.fromkeys(RIGHT, (-3.0,)), ERROR, seeds=1).rows[1].delta.band == 0


def test_units_are_printed_as_declared() -> None:
    table = report(wrong(RIGHT), ERROR)
    for kind in ("markdown", "html", "latex"):
        said = render(kind, [table])
        assert "error rate" in said
        assert "0.5 points" in said.replace("$", "")
        assert "lower counts as gain" in said
    assert "The lower the error rate the more a row helps." in render("html", [table])
    methods = render_methods([table])
    assert "We report error rate at the last of 20 epochs" in methods
    assert "weighted by a power of the variants' error rates" in methods
    table = report(
        {row: [v / 10 for v in line] for row, line in RIGHT.items()}, LATENCY, name="latency"
    )
    assert table.metric.heading == "latency ms"
    assert "latency ms" in render("markdown", [table])
    (document,) = json.loads(render("json", [table]))["tables"]
    assert document["unit"] == "ms"
    assert document["rows"][0]["mean"] == pytest.approx(1000 * np.mean(RIGHT["baseline"]) / 1000)
    (share,) = json.loads(render("json", [report(wrong(RIGHT), ERROR)]))["tables"]
    assert share["unit"] == "percent"


@pytest.mark.parametrize("name", ["boss_loss_free_accuracy", "lossless", "terror", "ece_free"])
def test_no_direction_is_read_from_a_name(name: str) -> None:
    table = report(RIGHT, name=name)
    assert (table.metric.higher_is_better, table.metric.unit) == (True, "")
    assert table.rows[1].verdict == "gain"
    assert table.rows[3].verdict == "loss"
    (note,) = [n for n in table.notes if "exploratory" in n]
    assert note.endswith("higher counts as gain, which nothing declares")


def test_trials_that_declare_one_name_differently_declare_nothing() -> None:
    other = replace(ERROR, higher_is_better=True)
    assert metric_named("wrong", [ERROR, ERROR]) == ERROR
    assert metric_named("wrong", [ERROR, other]) == Metric("wrong", declared=False)
    assert metric_named("wrong", [LATENCY]) == Metric("wrong", declared=False)
    assert metric_named("top1", [replace(TOP1, higher_is_better=False)]) == TOP1


def test_what_every_training_measures_is_known() -> None:
    assert list(MEASURED) == ["top1", "top5", "loss", "train_loss"]
    lower = {name for name, metric in KNOWN.items() if metric.better == "lower"}
    assert lower == {"loss", "train_loss", "ece"}
    assert [m.name for m in KNOWN.values() if m.of_examples] == ["top1", "top5"]
    assert (TOP1.margin, TOP5.margin, LOSS.margin) == (0.5, 0.5, None)
    # a named extra loss is the engine's to name
    assert metric_named("train_loss/reconstruction").better == "lower"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"scale": 0}, "scale"),
        ({"scale": math.inf}, "scale"),
        ({"scale": 10**400}, "scale"),
        ({"scale": "100"}, "scale"),
        ({"unit": "m\x1bs"}, "unit"),
        ({"unit": 3}, "unit"),
        ({"label": "l" * 61}, "label"),
        ({"name": " "}, "no name"),
        ({"name": "loss"}, "another name"),
        ({"name": "train_loss/x"}, "another name"),
        ({"margin": -1}, "margin"),
        ({"margin": math.nan}, "margin"),
        ({"higher_is_better": "no"}, "higher_is_better"),
        ({"share_of": "pixels"}, "share_of"),
        ({"among": 1}, "among"),
    ],
)
def test_a_declaration_that_cannot_hold_is_refused_and_never_read(
    more: dict[str, Any], said: str
) -> None:
    metric = replace(LATENCY, **more)
    assert said in (metric.problem() or "")
    assert Metric.read(metric.document()) is None


@pytest.mark.parametrize("stored", [None, [], "wrong", {"nam": 1}, {"name": 3}, {"name": []}, {}])
def test_a_damaged_declaration_is_none(stored: Any) -> None:
    assert Metric.read(stored) is None


def test_a_declaration_comes_back_as_it_was() -> None:
    for metric in (ERROR, LATENCY, Metric("weight_norm")):
        assert metric.problem() is None
        assert Metric.read(json.loads(json.dumps(metric.document()))) == metric
