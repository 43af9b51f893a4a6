"""`tune`: equal budgets, choices as a loop by hand makes them, sharing, faults, precedence."""

from __future__ import annotations

import csv
import io
from html import unescape
from pathlib import Path

import pytest

from ablate.core.resolved_study import ResolvedStudy
from ablate.core.trial import Trial
from ablate.errors import StudyError
from ablate.planning.tuning import best
from ablate.report import render, render_methods, render_terminal
from ablate.report.model import ReportTable
from ablate.session.judged_tables import tables_of
from ablate.session.lookup import from_file, from_store
from ablate.sql.effects import effects
from ablate.store.store import Store
from ablate.study import load_study
from tests.helpers.planted_runs import ONCE, TUNED, Planted, session


def peaked(trial: Trial) -> float:
    """Best at 0.3 for SGD and at 0.001 for Adam, on whatever images; seeds differ a little."""
    peak = 0.001 if any(spec.name == "adam" for spec in trial.tricks) else 0.3
    ratio = trial.recipe.lr / peak
    return round(0.9 - 0.1 * abs(ratio - 1) / (ratio + 1) - 0.001 * trial.seed, 6)


def apart(trial: Trial) -> float:
    """Mixup's best rate is 0.03 with seed 1, and 0.3 as everyone's with every other."""
    if trial.seed == 1 and any(spec.name == "mixup" for spec in trial.tricks):
        return round(0.9 - trial.recipe.lr, 6)
    return peaked(trial)


def lrs(resolved: ResolvedStudy, row: int) -> set[float]:
    return set(each_lr(resolved, row))


def texts(table: ReportTable) -> dict[str, str]:
    """What each format prints, without its line breaks."""
    found = {kind: render(kind, [table]) for kind in ("markdown", "latex", "html", "json")}
    found["terminal"] = render_terminal([table], width=100, color=False, ascii=False)
    found["methods"] = render_methods([table])
    found["methods"] = found["methods"].replace("variants tuned anew", "rows tuned anew")
    return {kind: " ".join(unescape(text).split()) for kind, text in found.items()}


def each_lr(resolved: ResolvedStudy, row: int) -> list[float]:
    keys = resolved.tables[0].rows[row].keys
    return [round(resolved.trials[key].recipe.lr, 9) for key in keys]


def test_every_row_has_the_same_number_of_trials_to_choose_by(tmp_path: Path) -> None:
    first = session(tmp_path, TUNED)
    assert first.stage.kind == "tune"
    # baseline, mixup, the control "lr 0.001 alone", adam: four rows, three factors, two seeds
    assert len(first.work.to_train) == 4 * 3 * 2
    trials = [first.resolved.trials[key] for key in first.work.to_train]
    # seed after seed, each on a tenth of its own
    assert [trial.seed for trial in trials] == [0] * 12 + [1] * 12
    assert [trial.dataset.fold for trial in trials] == [0] * 12 + [1] * 12
    assert {trial.dataset.held_out for trial in trials} == {10}
    found: dict[tuple[str, int], list[float]] = {}
    for row in first.resolved.tables[0].rows:
        for seed, keys in enumerate(row.tuning):
            lr = [round(first.resolved.trials[key].recipe.lr, 9) for key in keys]
            found[row.label, seed] = lr
    base, small = [0.03, 0.1, 0.3], [0.0003, 0.001, 0.003]
    assert list(found.values()) == [base] * 4 + [small] * 4
    assert [row.open for row in first.resolved.tables[0].rows] == [(True, True)] * 4


def test_seeds_above_nine_choose_on_the_tenths_of_those_below(tmp_path: Path) -> None:
    seeds = session(tmp_path, TUNED, seeds=12).resolved.tables[0].rows[0].tuning
    first = session(tmp_path, TUNED, seeds=12).resolved
    trials = [first.trials[keys[0]] for keys in seeds]
    assert [trial.dataset.fold for trial in trials] == [*range(10), 0, 1]
    assert [trial.seed for trial in trials] == list(range(12))
    assert len({trial.key for trial in trials}) == 12


def test_every_seed_is_trained_with_what_it_chose(tmp_path: Path) -> None:
    planted = Planted(apart)
    ran = planted.run(session(tmp_path, TUNED, seeds=3))
    assert [(kind, len(keys)) for kind, keys in planted.stages] == [("tune", 36), ("train", 12)]
    resolved, store = ran.session.resolved, ran.session.store
    assert [each_lr(resolved, row) for row in range(4)] == [
        [0.3, 0.3, 0.3], [0.3, 0.03, 0.3], [0.003] * 3, [0.001] * 3,
    ]  # fmt: skip
    for row in resolved.tables[0].rows:
        for seed, (key, tried) in enumerate(zip(row.keys, row.tuning, strict=True)):
            # by hand: the best of what this seed measured on its tenth, and nothing of others
            results = {store.result(k).final["top1"]: k for k in tried}  # type: ignore[union-attr]
            best_of = resolved.trials[results[max(results)]]
            trial = resolved.trials[key]
            assert trial.recipe == best_of.recipe
            assert (trial.seed, trial.dataset.held_out, trial.dataset.fold) == (seed, None, 0)
    (table,) = tables_of(resolved, store)
    assert table.notes[0] == (
        "lr chosen of 0.3, 1, 3 × each row's own by each seed on a held-out tenth of train of its "
        "own: baseline 0.3; mixup 0.3 (2 of 3 seeds), 0.03 (1 of 3); lr 0.001 alone 0.003; "
        "adam 0.001"
    )
    assert "mixup (1 of 3 seeds): the smallest lr there was" in table.notes[1]
    assert table.notes[2].startswith(
        "baseline, mixup (2 of 3 seeds), lr 0.001 alone: the largest lr there was to choose"
    )
    assert (
        resolved.tables[0].rows[1].changes.endswith("; lr 0.3 (2 of 3 seeds), 0.03 (1 of 3) chosen")
    )
    said = render_methods([table])
    assert "anew among the same 3: lr chosen of 0.3, 1, 3 × each row's own" in unescape(said)
    assert "Chosen were: baseline 0.3; mixup 0.3 (2 of 3 seeds), 0.03 (1 of 3);" in said
    assert "arXiv 2103.03098" in said
    for text in texts(table).values():
        assert "lr 0.1" not in text  # the file's, with which no row was trained
        assert "not about rows tuned anew" not in text


def test_headers_give_what_was_chosen_among_instead_of_what_the_file_says(tmp_path: Path) -> None:
    other = """
[[ablation]]
name  = "fixed"
kind  = "one_at_a_time"
stack = ["mixup"]
"""
    tune = "{ batch_size = [8, 16], lr.factor = [1, 3] }"
    text = TUNED.replace('["mixup", "adam"]', '["mixup"]') + other
    text = text.replace("{ lr.factor = [0.3, 1, 3] }", tune)
    ran = Planted(peaked).run(session(tmp_path, text))
    tables = tables_of(ran.session.resolved, ran.session.store)
    tuned = "resnet8 · 1 epoch · batch_size tuned of 8, 16, lr of 1, 3 × 0.1 by each seed · 8 px"
    fixed = "resnet8 · 1 epoch · batch 16 · lr 0.1 · 8 px"
    assert [table.provenance.headline for table in tables] == [tuned, fixed]
    assert "batch 16" not in tables[0].provenance.settings
    page = unescape(render("html", tables))
    header = page.partition("<header>")[2].partition("</header>")[0]
    assert f"{tuned} (main digits); {fixed} (fixed digits)" in header
    said = unescape(render_methods(tables))
    first, second = said.split("\n\n")[:2]
    assert "(1 epoch, batch_size tuned of 8, 16, lr of 1, 3 × 0.1 by each seed, 8 px)" in first
    assert "Chosen were: baseline batch_size 8 lr 0.3; mixup batch_size 8 lr 0.3." in first
    _, _, fixed_design = first.partition("Ablation fixed: ")
    assert "(1 epoch, batch 16, lr 0.1, 8 px)" in fixed_design
    assert second.count("On digits the seeds agree exactly") == 1
    (once,) = tables_of(*study_of(tmp_path, ONCE))
    assert once.provenance.headline == (
        "resnet8 · 1 epoch · batch 16 · lr tuned of 0.3, 1, 3 × each row's own once for all seeds "
        "· 8 px"
    )


def study_of(folder: Path, text: str) -> tuple[ResolvedStudy, Store]:
    """Trained, with its store."""
    ran = Planted(peaked).run(session(folder, text, name="other"))
    return ran.session.resolved, ran.session.store


def test_a_seed_that_cannot_choose_leaves_the_others(tmp_path: Path) -> None:
    def faulty(trial: Trial) -> float | str:
        mixed = any(spec.name == "mixup" for spec in trial.tricks)
        return "failed" if mixed and trial.dataset.fold == 1 else peaked(trial)

    planted = Planted(faulty)
    ran = planted.run(session(tmp_path, TUNED, seeds=3))
    # mixup has no rate for seed 1, so eleven of twelve are trained
    assert [len(keys) for _, keys in planted.stages] == [36, 11]
    row = ran.session.resolved.tables[0].rows[1]
    assert row.open == (False, True, False)
    assert row.changes.endswith(
        "lr 0.3 (2 of 3 seeds) chosen; lr not chosen: 3 of 3 trials failed (1 of 3 seeds)"
    )
    (table,) = tables_of(ran.session.resolved, ran.session.store)
    assert table.rows[1].verdict == "incomplete (2 of 3 seeds)"
    assert "mixup: lr not chosen: 3 of 3 trials failed (1 of 3 seeds)" in table.notes
    assert ran.outcome.exit_code == 1
    mended = Planted(peaked)
    mended.run(session(tmp_path, TUNED, seeds=3))
    assert [(kind, len(keys)) for kind, keys in mended.stages] == [("tune", 3), ("train", 1)]


def test_once_is_one_choice_and_says_so_everywhere(tmp_path: Path) -> None:
    planted = Planted(apart)
    first = session(tmp_path, ONCE, seeds=3)
    assert first.stage.words == "choosing lr on a held-out tenth of train, seed 0"
    ran = planted.run(first)
    assert [(kind, len(keys)) for kind, keys in planted.stages] == [("tune", 12), ("train", 12)]
    resolved = ran.session.resolved
    tried = [resolved.trials[key] for key in resolved.tuning]
    assert {(trial.seed, trial.dataset.fold) for trial in tried} == {(0, 0)}
    assert each_lr(resolved, 1) == [0.3] * 3  # seed 1 would have chosen 0.03
    (table,) = tables_of(resolved, ran.session.store)
    assert table.notes[0] == (
        "lr chosen of 0.3, 1, 3 × each row's own on a held-out tenth of train, seed 0: "
        "baseline 0.3, mixup 0.3, lr 0.001 alone 0.003, adam 0.001"
    )
    for kind, text in texts(table).items():
        assert "not about rows tuned anew" in text, kind
    lines = list(csv.DictReader(io.StringIO(render("csv", [table]))))
    assert [line["settings"] for line in lines] == ["chosen once"] * len(lines)
    notes = {row["note"] for row in effects(ran.session.store, print)}
    assert notes == {"settings chosen once"}
    # a study that lets every seed choose has what seed 0 chose already
    other = Planted(apart)
    each = other.run(session(tmp_path, TUNED, seeds=3, name="other")).session
    (table,) = tables_of(each.resolved, each.store)
    assert "settings" not in render("csv", [table]).splitlines()[0].split(",")
    others = [row for row in effects(each.store, print) if row["study"] == "other"]
    assert {row["label"] for row in others} == {row.label for row in table.rows}
    assert not any(row.get("note") for row in others)
    # of the trainings, mixup's seed 1 alone has another rate than it had
    assert [(kind, len(keys)) for kind, keys in other.stages] == [("tune", 24), ("train", 1)]


def test_choices_are_those_of_a_loop_over_the_stored_results(tmp_path: Path) -> None:
    planted = Planted(peaked)
    ran = planted.run(session(tmp_path, TUNED))
    assert [kind for kind, _ in planted.stages] == ["tune", "train"]
    assert [len(keys) for _, keys in planted.stages] == [24, 8]
    resolved = ran.session.resolved
    store = Store.open(tmp_path / "store", create=False)
    for row in resolved.tables[0].rows:
        for place, keys in enumerate(row.tuning):
            chosen, highest = None, -1.0
            for index, key in enumerate(keys):
                result = store.result(key)
                assert result is not None
                if result.final["top1"] > highest:
                    chosen, highest = index, result.final["top1"]
            assert row.chosen[place] == chosen
            lr = resolved.trials[keys[chosen or 0]].recipe.lr
            assert resolved.trials[row.keys[place]].recipe.lr == lr
            assert resolved.trials[row.keys[place]].dataset.held_out is None
        assert "chosen" in row.changes
    assert [lrs(resolved, row) for row in range(4)] == [{0.3}, {0.3}, {0.003}, {0.001}]
    assert ran.outcome.exit_code == 0
    (table,) = tables_of(resolved, store)
    assert table.notes[0] == (
        "lr chosen of 0.3, 1, 3 × each row's own by each seed on a held-out tenth of train of its "
        "own: baseline 0.3, mixup 0.3, lr 0.001 alone 0.003, adam 0.001"
    )
    assert table.notes[1].startswith("baseline, mixup, lr 0.001 alone: the largest lr")
    assert not any("adam:" in note for note in table.notes)


def test_rerunning_trains_nothing_and_reports_agree(tmp_path: Path) -> None:
    Planted(peaked).run(session(tmp_path, TUNED))
    again = Planted(peaked)
    ran = again.run(session(tmp_path, TUNED))
    assert (again.stages, ran.trained) == ([], False)
    store = Store.open(tmp_path / "store", create=False)
    stored = from_store("study", store).resolved
    study = load_study(tmp_path / "study.toml")
    from_toml = from_file(study, store, data_root=None, command="report").resolved
    assert stored.tables == from_toml.tables == ran.session.resolved.tables


def test_ties_go_to_the_first_and_diverged_is_the_worst() -> None:
    def choice(*values: float | str) -> int | None:
        statuses = ["done" if isinstance(v, float) else v for v in values]
        finals = [{"top1": v} if isinstance(v, float) else {} for v in values]
        return best(statuses, finals, "top1", higher_is_better=True).index

    assert choice(0.5, 0.5, 0.4) == 0
    assert choice("diverged", 0.1, 0.1) == 1
    assert choice(float("nan"), 0.1, "diverged") == 1
    assert choice("diverged", "diverged", "diverged") is None
    assert choice("failed", 0.9, 0.9) is None
    assert choice(0.9, "interrupted", 0.9) is None
    losses = [{"loss": 0.3}, {"loss": 0.2}, {"loss": 0.2}]
    assert best(["done"] * 3, losses, "loss", higher_is_better=False).index == 1
    assert best(["done"] * 3, losses, "top1", higher_is_better=True).reason == (
        "top1 was not measured"
    )


def test_a_row_that_cannot_choose_is_not_trained_and_is_said(tmp_path: Path) -> None:
    def faulty(trial: Trial) -> float | str:
        names = {spec.name for spec in trial.tricks}
        if trial.dataset.held_out and "mixup" in names and trial.recipe.lr > 0.2:
            return "failed"
        if trial.dataset.held_out and "adam" in names:
            return "diverged"
        return peaked(trial)

    planted = Planted(faulty)
    ran = planted.run(session(tmp_path, TUNED))
    # a failed setting is not tried twice in one run; two rows of two seeds are left to train
    assert [len(keys) for _, keys in planted.stages] == [24, 4]
    rows = {row.label: row for row in ran.session.resolved.tables[0].rows}
    assert rows["mixup"].unchosen == ("1 of 3 trials failed",) * 2
    assert rows["adam"].unchosen == ("every setting diverged",) * 2
    assert ran.outcome.exit_code == 1
    assert [ran.outcome.statuses[key] for key in ran.outcome.wrong] == ["failed"] * 2
    (table,) = tables_of(ran.session.resolved, ran.session.store)
    verdicts = {row.label: row.verdict for row in table.rows}
    assert verdicts["mixup"] == verdicts["adam"] == "incomplete (0 of 2 seeds)"
    assert "adam: lr not chosen: every setting diverged" in table.notes
    # the next run tries the failed setting again, and then has the row
    mended = Planted(lambda trial: "diverged" if faulty(trial) == "diverged" else peaked(trial))
    ran = mended.run(session(tmp_path, TUNED))
    assert [(kind, len(keys)) for kind, keys in mended.stages] == [("tune", 2), ("train", 2)]
    assert ran.outcome.exit_code == 1  # adam still has no rate


def test_a_setting_that_diverged_is_an_answer(tmp_path: Path) -> None:
    planted = Planted(lambda t: "diverged" if t.recipe.lr > 0.2 else peaked(t))
    ran = planted.run(session(tmp_path, TUNED))
    assert ran.outcome.exit_code == 0
    assert lrs(ran.session.resolved, 0) == {0.1}


def test_stopped_anywhere_it_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = Planted(peaked)
    (tmp_path / "whole").mkdir()
    expected = whole.run(session(tmp_path / "whole", TUNED)).session.resolved
    seen: list[str] = []
    for stop_after in (5, 16, 7):  # in seed 0's choices, in seed 1's, between training's seeds
        part = Planted(peaked, stop_after)
        ran = part.run(session(tmp_path, TUNED))
        assert ran.outcome.exit_code == 130
        seen += part.trained
    last = Planted(peaked)
    resolved = last.run(session(tmp_path, TUNED)).session.resolved
    seen += last.trained
    assert sorted(seen) == sorted(whole.trained)  # nothing twice, nothing left out
    assert resolved.tables == expected.tables


def test_studies_share_what_they_choose_by(tmp_path: Path) -> None:
    Planted(peaked).run(session(tmp_path, TUNED))
    other = TUNED.replace('["mixup", "adam"]', '["mixup"]').replace("[0.3, 1, 3]", "[1, 3, 10]")
    second = Planted(peaked)
    second.run(session(tmp_path, other, name="second"))
    # baseline and mixup had 1 and 3 already; 10 is new to both, and 0.3 is chosen again
    assert [(kind, len(keys)) for kind, keys in second.stages] == [("tune", 4)]


def test_factors_multiply_what_set_says_and_values_replace_it(tmp_path: Path) -> None:
    first = session(tmp_path, TUNED, overrides=["recipe.lr=0.5"])
    rows = first.resolved.tables[0].rows
    found = [round(first.resolved.trials[key].recipe.lr, 9) for key in rows[0].tuning[1]]
    assert found == [0.15, 0.5, 1.5]
    text = TUNED.replace("lr.factor = [0.3, 1, 3]", "lr = [0.2, 0.4], weight_decay.factor = [1, 5]")
    grid = session(tmp_path, text, name="grid", overrides=["recipe.lr=0.5"])
    tried = grid.resolved.tables[0].rows[0].tuning[1]
    recipes = [grid.resolved.trials[key].recipe for key in tried]
    pairs = [(recipe.lr, round(recipe.weight_decay, 9)) for recipe in recipes]
    assert pairs == [(0.2, 0.0001), (0.2, 0.0005), (0.4, 0.0001), (0.4, 0.0005)]
    assert any("--set recipe.lr does not hold in main" in text for text in grid.warnings())
    assert grid.resolved.tables[0].tuning is not None
    assert grid.resolved.tables[0].tuning.words == (
        "lr chosen of 0.2, 0.4, weight_decay of 1, 5 × 0.0001"
    )


def test_linear_scaling_multiplies_last(tmp_path: Path) -> None:
    text = TUNED.replace('["mixup", "adam"]', '["linear_scaling"]').replace("= 16", "= 64")
    first = session(tmp_path, text)
    tried = first.resolved.tables[0].rows[1].tuning[1]
    found = [first.resolved.trials[key].recipe.lr for key in tried]
    assert found == pytest.approx([0.03 / 4, 0.1 / 4, 0.3 / 4])


@pytest.mark.parametrize(
    ("tune", "said"),
    [
        ("{ lr = [0.1] }", "leaves one setting, which is no choice"),
        ("{ lr = [0.1, 0.1] }", "stands twice"),
        ("{ lr.factor = [1, 1.0] }", "stands twice"),
        ("{ model.factor = [1, 2] }", "is no number that a factor could multiply"),
        ("{ momentum.factor = [1, 3] }", "momentum"),
        ("{ epochs.factor = [1, 1.5] }", "epochs"),
        ("{ lr = [0.1, -1] }", "above 0"),
        ("{ once = true }", "is empty; name at least one setting"),
        ("{ once = 1, lr = [0.1, 0.2] }", "expected true or false, found 1"),
        ("{ Once = true, lr = [0.1, 0.2] }", "did you mean 'once'?"),
    ],
)
def test_what_is_no_choice_is_refused(tmp_path: Path, tune: str, said: str) -> None:
    text = TUNED.replace("{ lr.factor = [0.3, 1, 3] }", tune)
    with pytest.raises(StudyError) as caught:
        session(tmp_path, text)
    (problem,) = caught.value.problems
    assert problem.key.startswith("ablation[0].tune")
    assert said in problem.message
    assert not (tmp_path / "store").exists()


def test_teachers_are_not_tuned(tmp_path: Path) -> None:
    text = TUNED.replace('["mixup", "adam"]', '["distill"]').replace(
        "[tricks]", '[trial.big]\ntricks = ["mixup"]\n[tricks]\ndistill = { teacher = "@big" }'
    )
    first = session(tmp_path, text)
    assert len(first.work.to_train) == 1 + 2 * 2 * 3
    teacher = first.resolved.trials[first.work.to_train[3]]
    assert teacher.dataset.held_out is None
    ran = Planted(peaked).run(first)
    assert len(ran.session.resolved.order) == 1 + 2 * 2 * 3 + 2 * 2


def test_choices_come_first_then_a_seed_of_every_row_after_the_other(tmp_path: Path) -> None:
    ran = Planted(peaked).run(session(tmp_path, TUNED))
    resolved = ran.session.resolved
    choices = len(resolved.tuning)
    assert choices == 24
    assert set(resolved.order[:choices]) == set(resolved.tuning)
    # those of one seed, which hold out the same images, are together
    assert [resolved.trials[key].seed for key in resolved.order[:choices]] == [0] * 12 + [1] * 12
    rows = resolved.tables[0].rows
    first, second = ([row.keys[seed] for row in rows] for seed in range(2))
    assert resolved.order[choices:] == (*first, *second[1:], second[0])


def test_retraining_chooses_anew(tmp_path: Path) -> None:
    Planted(peaked).run(session(tmp_path, TUNED))
    again = Planted(lambda trial: 1 - peaked(trial))
    ran = again.run(session(tmp_path, TUNED, retrain=["adam"]))
    # what retraining sets aside is the runner's matter; here it is that both stages have it
    assert again.stages[0][0] == "tune"
    assert len(again.stages[0][1]) == 2 * 3
    assert ran.session.work.again <= set(ran.session.resolved.order)
