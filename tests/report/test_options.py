"""Other questions to the same trials: metrics, references, images, classes, checkpoints."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import special
from scipy import stats as scipy_stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from ablate.core.metrics import metric_named
from ablate.errors import AblateError
from ablate.report import render, render_terminal
from ablate.report.options import Asked
from ablate.session.judged_tables import tables_of
from ablate.store.store import Store
from tests.helpers import report_studies as made
from tests.helpers.asked_stores import (
    CLASSES,
    IMAGES,
    LABELS,
    ask,
    finals,
    of_tables,
    predictions_file,
    scores_of,
    stored,
    study_of,
    write,
)
from tests.helpers.moderated import Rule, two_way

RESOLVED = study_of("warmup", "mixup", "zero_gamma")
ROWS = range(4)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return stored(tmp_path_factory.mktemp("asked") / "store", RESOLVED)


def sklearn_error(scores: np.ndarray) -> float:
    sure = special.softmax(scores.astype(float), axis=1).max(axis=1)
    right = scores.argmax(1) == LABELS
    accuracy, confidence = calibration_curve(right, sure, n_bins=15, strategy="uniform")
    images = np.histogram(sure, np.linspace(0, 1, 16))[0]
    return float(np.sum(images[images > 0] / IMAGES * np.abs(accuracy - confidence)))


# ------------------------------------------------------------------------------------- metrics


def test_rows_family_and_verdicts_are_of_the_metric_asked_for(store: Store) -> None:
    table = ask(RESOLVED, store, metric="loss")
    losses = np.array([[finals(scores_of(r, s))["loss"] for s in range(3)] for r in ROWS])
    assert [row.mean for row in table.rows] == pytest.approx(losses.mean(axis=1))
    rule = Rule(dict(enumerate(losses)), None)  # no share of images: equal weights
    told = [rule.difference(a, b) for a, b in [(1, 0), (2, 1), (3, 2), (3, 0)]]
    steps, p = [each.estimate for each in told], [each.p for each in told]
    deltas = [row.delta for row in table.rows[1:]] + [table.total.delta]
    assert [d.delta for d in deltas] == pytest.approx(steps)
    assert [d.effect.p for d in deltas] == pytest.approx(p)
    assert table.comparisons == 4
    for delta, judged in zip(deltas, table.judged[1:], strict=True):
        if delta.effect.p_holm < 0.05:
            assert judged.verdict == ("gain" if delta.delta < 0 else "loss")
        else:
            assert judged.verdict == "unresolved"
    assert table.total.verdict == "gain"  # lower, and so better


def test_calibration_error_is_scikit_learns_and_lower_is_better(store: Store) -> None:
    table = ask(RESOLVED, store, metric="ece")
    expected = np.array([[sklearn_error(scores_of(r, s)) for s in range(3)] for r in ROWS])
    assert [row.mean for row in table.rows] == pytest.approx(expected.mean(axis=1))
    assert not table.metric.higher_is_better
    # not a share of right images: no weights by error rate, as a fit without them has it
    told = Rule(dict(enumerate(expected)), None).difference(1, 0)
    assert table.rows[1].delta.effect.se == pytest.approx(told.se)
    text = render_terminal([table], width=120, color=False, ascii=False)
    assert "ECE %" in text.splitlines()[0]
    assert f"{expected[0].mean() * 100:.1f} ±" in text


def test_an_undeclared_metric_is_exploratory_and_has_no_margin(store: Store) -> None:
    for name in ("loss", "ece", "train_loss"):
        table = ask(RESOLVED, store, metric=name)
        assert any("not the declared metric (top1): exploratory" in n for n in table.notes)
        assert table.margin == 0
        assert table.seeds_needed is None
        for kind in ("terminal", "markdown", "latex"):
            text = (
                render_terminal([table], width=100, color=False, ascii=False)
                if kind == "terminal"
                else render(kind, [table])
            )
            one_line = " ".join(text.split())
            assert "exploratory" in one_line
            assert not re.search(r"±0(?![.\d])", one_line)
            assert "more seeds than anyone" not in one_line
        document = json.loads(render("json", [table]))["tables"][0]
        assert document["margin"] is None
        assert document["declared_metric"] == "top1"
        assert not any(row.verdict.endswith(("equivalent", "negligible")) for row in table.judged)


def test_a_declared_margin_holds_for_its_own_metric_and_for_accuracies() -> None:
    from ablate.report.tables.metrics import margin

    loss = study_of("warmup", metric="loss", margin=0.02)
    assert margin(loss, metric_named("loss")) == 0.02
    assert margin(loss, metric_named("top1")) == 0
    assert margin(loss, metric_named("ece")) == 0
    assert margin(RESOLVED, metric_named("top5")) == 0.5


def test_a_loss_has_a_margin_only_if_its_study_says_one(tmp_path: Path) -> None:
    from ablate.study import load_study

    text = '[study]\ndatasets = ["digits"]\nstack = ["mixup"]\n[recipe]\nmodel = "resnet8"\n'
    for protocol, expected in (
        ('metric = "loss"', 0.0),
        ('metric = "loss"\nmargin = 0.02', 0.02),
        ('metric = "top5"', 0.5),
    ):
        (tmp_path / "s.toml").write_text(f"{text}[protocol]\n{protocol}\n")
        assert load_study(tmp_path / "s.toml").margin == expected


def test_a_metric_that_was_not_measured_is_refused_with_those_that_were(store: Store) -> None:
    for name in ("los", "lr", "top5"):
        with pytest.raises(AblateError, match="was not measured") as caught:
            ask(RESOLVED, store, metric=name)
        assert caught.value.hint == "measured: ece, loss, top1, train_loss"
    with pytest.raises(AblateError, match="did you mean 'loss'"):
        ask(RESOLVED, store, metric="los")


def test_a_hooks_metric_is_incomplete_where_a_row_lacks_it(tmp_path: Path) -> None:
    resolved = study_of("warmup", "mixup")
    store = Store.open(tmp_path / "store", create=True)
    for i, row in enumerate(resolved.tables[0].rows):
        for seed, key in enumerate(row.keys):
            more = {"weight_norm": 3.0 + i + seed / 10} if (i, seed) != (2, 1) else {}
            write(store.path, key, scores_of(i, seed), more=more)
    table = ask(resolved, store, metric="weight_norm")
    assert [row.n for row in table.rows] == [3, 3, 2]
    assert table.rows[1].delta.delta == pytest.approx(1.0)
    assert table.rows[2].verdict == "incomplete (2 of 3 seeds)"
    assert "+ mixup: no weight norm of seed 1" in table.notes
    assert not any("diverged" in note for note in table.notes)


def test_tables_without_the_metric_are_left_out_and_named(tmp_path: Path) -> None:
    two = of_tables(
        made.table(made.cumulative("mixup"), dataset="own:one"),
        made.table(made.cumulative("mixup"), dataset="own:two"),
    )
    store = Store.open(tmp_path / "store", create=True)
    for table in two.tables:
        for i, row in enumerate(table.rows):
            for seed, key in enumerate(row.keys):
                more = {"extra": 1.0 + seed} if table.dataset == "own:one" else {}
                write(store.path, key, scores_of(i, seed), more=more)
    (found,) = tables_of(two, store, Asked(metric="extra"))
    assert found.dataset == "own:one"
    assert "no extra of main own:two" in found.notes


def test_trials_without_usable_predictions_lack_the_calibration_error(tmp_path: Path) -> None:
    resolved = study_of("warmup")
    store = stored(tmp_path / "store", resolved)
    predictions_file(store, resolved.tables[0].rows[1].keys[2]).unlink()
    table = ask(resolved, store, metric="ece")
    assert table.rows[1].verdict == "incomplete (2 of 3 seeds)"
    assert "+ warmup: no ECE of seed 2" in table.notes
    for row in resolved.tables[0].rows:
        for key in row.keys:
            if list((store.path / "trials" / key).glob("*/predictions.npz")):
                predictions_file(store, key).unlink()
    with pytest.raises(AblateError, match="no trial has stored predictions that allow it"):
        ask(resolved, store, metric="ece")


def test_predictions_are_read_only_for_what_needs_them(tmp_path: Path) -> None:
    resolved = study_of("warmup")
    store = stored(tmp_path / "store", resolved)
    broken = predictions_file(store, resolved.tables[0].rows[1].keys[0])
    broken.write_bytes(broken.read_bytes()[:300])
    for harmless in ({}, {"metric": "loss"}, {"baseline": "warmup"}):
        assert ask(resolved, store, **harmless).rows[1].n == 3
    for needing in ("new_images", "per_class"):
        with pytest.raises(AblateError, match="is damaged") as caught:
            ask(resolved, store, **{needing: True})
        assert str(broken) in str(caught.value)


# ------------------------------------------------------------------------------------ baseline


@pytest.mark.parametrize("name", ["mixup", "+ mixup", "2"])
def test_every_row_is_compared_with_the_one_asked_for(store: Store, name: str) -> None:
    table = ask(RESOLVED, store, baseline=name)
    plain = ask(RESOLVED, store)
    assert table.against == "+ mixup"
    assert table.rows[2].delta is None
    assert table.total is None
    assert table.comparisons == 3
    means = [row.mean for row in plain.rows]
    for i in (0, 1, 3):
        assert table.rows[i].delta.delta == pytest.approx(means[i] - means[2])
        assert table.rows[i].delta.reference == 2
    # Holm over these three, by hand
    p = sorted((table.rows[i].delta.effect.p, i) for i in (0, 1, 3))
    running = 0.0
    for rank, (value, i) in enumerate(p):
        running = max(running, min(1, value * (3 - rank)))
        assert table.rows[i].delta.effect.p_holm == pytest.approx(running)
        assert table.rows[i].verdict
    assert [row.role for row in table.rows] == [row.role for row in plain.rows]


def test_what_is_compared_stands_in_heading_and_caption(store: Store) -> None:
    table = ask(RESOLVED, store, baseline="mixup")
    text = render_terminal([table], width=120, color=False, ascii=False)
    assert "Δ to + mixup" in text.splitlines()[0]
    assert "every row is compared with + mixup, as asked" in text
    assert "Δ row above" not in text
    assert "| Δ to + mixup [95%] |" in render("markdown", [table])
    assert "× is against + mixup" in render("markdown", [table])
    lines = list(csv.DictReader(io.StringIO(render("csv", [table]))))
    assert {line["against"] for line in lines} == {"'+ mixup"}
    assert json.loads(render("json", [table]))["tables"][0]["against"] == "+ mixup"
    one = study_of("warmup", "mixup", "zero_gamma", seeds=1)
    (single,) = tables_of(one, store, Asked(baseline="3"))
    head = render_terminal([single], width=120, color=False, ascii=False).splitlines()[:2]
    assert "Δ to" in head[0]
    assert "+ zero_gamma" in head[1]


def test_a_row_that_there_is_not(store: Store) -> None:
    with pytest.raises(AblateError, match="no row 'mixupp'; did you mean 'mixup'"):
        ask(RESOLVED, store, baseline="mixupp")
    for name in ("4", "-1", "9" * 5000, ""):
        with pytest.raises(AblateError, match="no row"):
            ask(RESOLVED, store, baseline=name)


# ------------------------------------------------------------- blocks of single images


def test_new_images_are_the_two_way_layout_of_the_stored_images(store: Store) -> None:
    table = ask(RESOLVED, store, new_images=True)
    (block,) = table.blocks
    assert block.name == "new_images"
    assert [line.label for line in block.lines] == [row.label for row in table.judged[1:]]
    right = np.array([[scores_of(r, s).argmax(1) == LABELS for s in range(3)] for r in ROWS])
    rule = Rule(dict(enumerate(right.mean(axis=2))), IMAGES)
    for line, (row, reference) in zip(block.lines, [(1, 0), (2, 1), (3, 2), (3, 0)], strict=True):
        told = two_way(right[row], right[reference], rule.difference(row, reference))
        found = line.cells[1]
        assert [cell.value for cell in line.cells] == pytest.approx([told.estimate] * 2)
        assert found.effect.se == pytest.approx(told.se)
        assert (found.low, found.high) == pytest.approx(told.interval())
    assert line.cells[0].low == table.total.delta.effect.low


def test_rows_short_of_trials_have_no_interval_for_new_images(tmp_path: Path) -> None:
    resolved = study_of("warmup", "mixup")
    store = stored(tmp_path / "store", resolved)
    rows = resolved.tables[0].rows
    predictions_file(store, rows[2].keys[1]).unlink()
    (block,) = ask(resolved, store, new_images=True).blocks
    assert [line.cells[1] is not None for line in block.lines] == [True, False, False]
    assert [line.word for line in block.lines] == ["", *["no stored predictions"] * 2]
    assert f"{rows[2].keys[1][:6]} (+ mixup, seed 1)" in block.caption[-1]


def test_why_there_are_no_new_images(store: Store, tmp_path: Path) -> None:
    (two,) = tables_of(study_of("warmup", seeds=2), store, Asked(new_images=True))
    assert not two.blocks
    assert "no intervals for new images: they need at least 3 seeds, this table has 2 seeds" in (
        two.notes
    )
    loss = ask(RESOLVED, store, metric="loss", new_images=True)
    assert not loss.blocks
    assert any("--metric top1 or top5, not loss" in note for note in loss.notes)
    bare = study_of("warmup")
    other = stored(tmp_path / "bare", bare, predictions=False)
    table = ask(bare, other, new_images=True, per_class=True)
    assert not table.blocks
    assert "no intervals for new images: no trial has stored predictions" in table.notes
    assert "no accuracy by class: no trial has stored predictions" in table.notes


def test_other_images_are_not_compared(tmp_path: Path) -> None:
    resolved = study_of("warmup")
    store = stored(tmp_path / "store", resolved)
    path = predictions_file(store, resolved.tables[0].rows[1].keys[0])
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    shuffled = np.random.default_rng(0).permutation(IMAGES)
    order = {n: arrays[n][shuffled] for n in ("ids", "labels", "scores")}
    before = ask(resolved, store, new_images=True).blocks
    np.savez(path, **(arrays | order))
    assert ask(resolved, store, new_images=True).blocks == before  # the order is no difference
    np.savez(path, **(arrays | {"ids": arrays["ids"] + 1}))
    table = ask(resolved, store, new_images=True)
    assert "no intervals for new images: its trials were tested on different images" in table.notes


def test_classes_are_scikit_learns_confusion_matrix_and_a_fit_of_each(store: Store) -> None:
    table = ask(RESOLVED, store, per_class=True)
    (block,) = table.blocks
    assert block.heads == ("baseline", "+ warmup", "+ mixup", "+ zero_gamma")
    assert [line.label for line in block.lines] == [f"class {c}" for c in range(CLASSES)]
    accuracy = np.empty((4, 3, CLASSES))
    for r in ROWS:
        for s in range(3):
            matrix = confusion_matrix(LABELS, scores_of(r, s).argmax(1), labels=range(CLASSES))
            accuracy[r, s] = matrix.diagonal() / matrix.sum(axis=1)
    for c, line in enumerate(block.lines):
        assert line.cells[0].value == pytest.approx(accuracy[0, :, c].mean())
        for i in (1, 2, 3):
            step = accuracy[i, :, c].mean() - accuracy[i - 1, :, c].mean()
            assert line.cells[i].value == pytest.approx(step)
            rule = Rule(dict(enumerate(accuracy[:, :, c])), IMAGES // CLASSES)
            expected = rule.difference(i, i - 1).interval()
            assert (line.cells[i].low, line.cells[i].high) == pytest.approx(expected)
    assert "of 12 comparisons about 0.6 would leave out 0 by chance" in " ".join(block.caption)
    text = render_terminal([table], width=120, color=False, ascii=False)
    first = f"{accuracy[0, :, 0].mean() * 100:.1f}"
    assert f"class 0      {first}" in text  # a value has no sign
    assert f"+{first}" not in text


def test_of_many_rows_the_classes_of_the_total(tmp_path: Path) -> None:
    resolved = study_of("warmup", "mixup", "zero_gamma", "cosine", "fp16")
    store = stored(tmp_path / "store", resolved)
    (block,) = ask(resolved, store, per_class=True).blocks
    assert block.heads == ("baseline", "all 5 tricks")
    (block,) = ask(resolved, store, per_class=True, baseline="mixup").blocks
    assert block.heads == ("+ mixup", "+ fp16")
    assert "Of 5 compared rows the last." in block.caption


def test_of_many_tricks_alone_each_has_its_classes(tmp_path: Path) -> None:
    resolved = study_of("warmup", "mixup", "zero_gamma", "cosine", "fp16")
    alone = {"kind": "one_at_a_time", "total": False}
    resolved = resolved.model_copy(
        update={"tables": (resolved.tables[0].model_copy(update=alone),)}
    )
    store = stored(tmp_path / "store", resolved)
    (block,) = ask(resolved, store, per_class=True).blocks
    assert len(block.heads) == 6
    assert not any("compared rows" in line for line in block.caption)


def test_classes_have_the_names_that_are_known(tmp_path: Path) -> None:
    from ablate.report.tables.per_class import class_names

    assert class_names("imagenette", 10)[0] == "tench"
    assert class_names("imagenette", 9) == [f"class {c}" for c in range(9)]
    assert class_names("imagefolder:/nowhere", 2) == ["class 0", "class 1"]
    for part in ("train", "val"):
        for name in ("apple", "<b>pear</b>"):
            folder = tmp_path / "fruit" / part / name.replace("/", "_")
            folder.mkdir(parents=True)
            (folder / "0.png").write_bytes(b"")
    assert list(class_names(f"imagefolder:{tmp_path}/fruit", 2)) == ["<b>pear<_b>", "apple"]


def test_mcnemar_is_scipys_test_of_two_checkpoints(store: Store) -> None:
    one = study_of("warmup", "mixup", "zero_gamma", seeds=1)
    (table,) = tables_of(one, store, Asked(mcnemar=True))
    (block,) = table.blocks
    assert "it compares two checkpoints, not two recipes" in block.caption[0]
    for i, line in enumerate(block.lines, start=1):
        a, b = (scores_of(r, 0).argmax(1) == LABELS for r in (i, i - 1))
        only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
        p = scipy_stats.binomtest(only_a, only_a + only_b).pvalue
        assert line.cells[0].effect.p == pytest.approx(p)
        assert line.word.endswith(f"{only_a} : {only_b} images")
        assert line.cells[0].value == pytest.approx(a.mean() - b.mean())
    several = ask(RESOLVED, store, mcnemar=True)
    assert not several.blocks
    assert any("two checkpoints" in note and "--seeds 1" in note for note in several.notes)


@pytest.mark.parametrize("kind", ["markdown", "csv", "json", "latex"])
def test_all_of_it_in_every_format(store: Store, kind: str) -> None:
    table = ask(RESOLVED, store, metric="top1", baseline="1", new_images=True, per_class=True)
    text = render(kind, [table])
    assert text.isascii() or kind != "latex"
    for word in ("new images too", "class 3"):
        assert word in text
