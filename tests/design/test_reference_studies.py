"""Every reference study expands to the rows and trials of the design page, counted by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ablate.core.resolved_study import ResolvedStudy, Table
from ablate.design import resolve
from ablate.study import Study
from tests.helpers.stand_ins import add_what_is_to_come, reference

GROUP1 = ["baseline", "+ warmup", "+ fp16", "+ mixup", "+ zero_gamma"]
GROUP2 = ["+ cosine", "+ label_smoothing", "+ no_bias_decay", "+ resnet_bcd"]
EIGHT = ["warmup", "fp16", "mixup", "zero_gamma", "cosine", "label_smoothing", "no_bias_decay"]
TABLE3 = ["baseline", "+ batch_size 1024 alone", "+ efficient"]
TABLE4 = ["linear_scaling", "+ warmup", "+ zero_gamma", "+ no_bias_decay", "+ fp16"]
TABLE5 = ["efficient", "+ resnet_b", "+ resnet_c", "+ resnet_d"]
TABLE6 = [
    "efficient + resnet_bcd",
    "+ cosine",
    "+ label_smoothing",
    "+ distill",
    "+ epochs 200 alone",
    "+ mixup",
    "+ distill + mixup",
]
LOO = ["all 8 tricks", *(f"without {name}" for name in (*EIGHT, "resnet_bcd"))]
LOO_EVERYTHING = [
    "all 8 tricks",
    "without warmup",
    "without fp16",
    "without mixup, with its epochs 200",
    *(f"without {name}" for name in (*EIGHT[2:], "resnet_d")),
]
MODELS = ["model resnet50_v1", "model inception_v3, image_size 299", "model mobilenet_v1"]
TWO_MODELS = ["model resnet18", "model resnet50_v1"]
PAPER = {
    "table3": (MODELS, TABLE3),
    "table4": (["batch_size 256", "batch_size 1024"], TABLE4),
    "table5": ([""], TABLE5),
    "table6": (MODELS, TABLE6),
}
# table3 9 trials; table4 10, less linear scaling at batch 256 (the baseline) and the last row at
# 1024 (`efficient`); table5 4, less its base; table6 21, less its three bases; one teacher
PAPER_TRIALS = 9 + 8 + 3 + 18 + 1

# study: ({ablation: (columns, rows)}, data sets, seeds, trials)
EXPECTED = {
    "group1": ({"main": ([""], GROUP1)}, 2, 3, 5 * 2 * 3),
    "group2": ({"main": ([""], ["baseline", *GROUP2])}, 2, 3, 5 * 2 * 3),
    "bag_of_tricks": ({"main": ([""], GROUP1 + GROUP2)}, 2, 3, 9 * 2 * 3),
    # on resnet50_v1, "all 8" and "without resnet_bcd" are the last two rows of main
    "loo": (
        {"main": ([""], GROUP1 + GROUP2), "loo": (TWO_MODELS, LOO)},
        2,
        3,
        (9 + 9 + 7) * 2 * 3,
    ),
    "optimizers": (
        {
            "optimizers": (
                [""],
                [
                    "baseline",
                    "lr 0.001 alone",
                    "adam",
                    "lr 0.0001, weight_decay 1e-05 alone",
                    "rmsprop",
                ],
            )
        },
        1,
        5,
        5 * 5,
    ),
    "paper": (PAPER, 1, 1, PAPER_TRIALS),
    "variants": (
        {
            "alpha": (
                [""],
                ["baseline", "mixup_01", "mixup_02", "mixup_04", "lr 0.05 alone", "sam_lr"],
            )
        },
        2,
        5,
        6 * 2 * 5,
    ),
    # the paper's, then three new rows each of optimizers and alpha, and ten rows on two models
    "everything": (
        {
            **PAPER,
            "optimizers": ([""], ["baseline", "lr 0.001 alone", "adam", "rmsprop"]),
            "alpha": ([""], ["baseline", "mixup_01", "mixup_02", "mixup_04"]),
            "loo": (TWO_MODELS, LOO_EVERYTHING),
        },
        1,
        1,
        PAPER_TRIALS + 3 + 3 + 20,
    ),
}


@pytest.fixture
def to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    add_what_is_to_come(monkeypatch)


def untuned(study: Study) -> Study:
    plain = tuple(dataclasses.replace(ablation, tune={}) for ablation in study.ablations)
    return dataclasses.replace(study, ablations=plain)


def planned(study: Study) -> ResolvedStudy:
    return resolve(
        untuned(study), data_root=Path("nowhere"), command="test", allow_missing_data=True
    )


def labels(table: Table) -> list[str]:
    return [row.label for row in table.rows]


@pytest.mark.usefixtures("to_come")
@pytest.mark.parametrize("name", EXPECTED)
def test_reference_study_expands_to_its_rows(name: str) -> None:
    ablations, datasets, seeds, trials = EXPECTED[name]
    resolved = planned(reference(name))
    found: dict[str, list[Table]] = {}
    for table in resolved.tables:
        found.setdefault(table.ablation, []).append(table)
    assert list(found) == list(ablations)
    for ablation, (columns, rows) in ablations.items():
        tables = found[ablation]
        assert [table.column for table in tables] == columns * datasets
        for table in tables:
            dropped = ablation == "table6" and "resnet50_v1" not in table.column
            base = rows[0].removesuffix(" + resnet_bcd") if dropped else rows[0]
            assert labels(table) == [base, *rows[1:]]
        assert all(len(row.keys) == seeds for table in tables for row in table.rows)
    assert len(resolved.trials) == trials
    assert sorted(resolved.order) == sorted(resolved.trials) == sorted(resolved.labels)


@pytest.mark.usefixtures("to_come")
@pytest.mark.parametrize(("name", "rows"), [("optimizers", 5), ("everything", 4)])
def test_every_row_of_the_tuned_tables_chooses_among_three(name: str, rows: int) -> None:
    study = reference(name)
    resolved = resolve(study, data_root=Path("nowhere"), command="test", allow_missing_data=True)
    tuned = [table for table in resolved.tables if table.tuning is not None]
    assert {table.ablation for table in tuned} == {"optimizers"}
    for table in tuned:
        assert table.tuning is not None
        assert table.tuning.labels == ("lr × 0.3", "lr × 1", "lr × 3")
        assert [[len(keys) for keys in row.tuning] for row in table.rows] == [
            [3] * len(study.seeds)
        ] * rows
        assert all(all(row.open) for row in table.rows)
    assert len(resolved.tuning) == 3 * rows * len(tuned) * len(study.seeds)
    # what is there to train now: the choices, and the tables that choose nothing
    others = untuned(study)
    plain = resolve(others, data_root=Path("nowhere"), command="test", allow_missing_data=True)
    assert set(resolved.order[: len(resolved.tuning)]) == set(resolved.tuning)
    rest = {
        key for t in plain.tables if t.ablation != "optimizers" for r in t.rows for key in r.keys
    }
    assert rest <= set(resolved.order)


@pytest.fixture
def paper(to_come: None) -> ResolvedStudy:
    return planned(reference("paper"))


def table_of(resolved: ResolvedStudy, ablation: str, column: str) -> Table:
    (found,) = (t for t in resolved.tables if (t.ablation, t.column) == (ablation, column))
    return found


def test_branches_and_controls_are_compared_with_the_trunk(paper: ResolvedStudy) -> None:
    rows = table_of(paper, "table6", MODELS[0]).rows
    assert [(row.role, row.above) for row in rows] == [
        ("baseline", None),
        ("step", 0),
        ("step", 1),
        ("branch", 2),
        ("control", 2),
        ("branch", 4),  # mixup against 200 epochs without it
        ("branch", 4),
    ]
    epochs = [paper.trials[row.keys[0]].recipe.epochs for row in rows]
    assert epochs == [120, 120, 120, 120, 200, 200, 200]
    assert rows[4].changes == "epochs: 120 → 200"
    assert rows[4].settings == {"epochs": (120, 200)}


def test_the_papers_batch_and_rate(paper: ResolvedStudy) -> None:
    small = table_of(paper, "table4", "batch_size 256").rows
    large = table_of(paper, "table4", "batch_size 1024").rows
    assert {paper.trials[row.keys[0]].recipe.lr for row in small} == {0.1}
    assert {paper.trials[row.keys[0]].recipe.lr for row in large} == {0.4}
    # linear scaling changes nothing at 256: the row is the baseline's trial
    baseline = table_of(paper, "table3", MODELS[0]).rows[0]
    assert small[0].keys == baseline.keys
    assert small[0].tricks == ("linear_scaling",)
    # a bundle is the set of its members, wherever they come from
    efficient = table_of(paper, "table3", MODELS[0]).rows[2]
    assert large[4].keys == efficient.keys == table_of(paper, "table5", "").rows[0].keys


def test_override_drops_members_of_bundles_and_of_base(paper: ResolvedStudy) -> None:
    for column in MODELS[1:]:
        base, *_, last = table_of(paper, "table6", column).rows
        assert base.tricks == ("linear_scaling", "warmup", "no_bias_decay", "fp16")
        assert last.tricks == (*base.tricks, "cosine", "label_smoothing", "distill", "mixup")
    recipe = paper.trials[table_of(paper, "table6", MODELS[1]).rows[0].keys[0]].recipe
    assert (recipe.image_size, recipe.eval_size, recipe.eval_resize) == (299, 299, 342)
    recipe = paper.trials[table_of(paper, "table6", MODELS[2]).rows[0].keys[0]].recipe
    assert (recipe.image_size, recipe.eval_size, recipe.eval_resize) == (224, 224, 256)


def test_one_teacher_for_every_student_and_trained_first(paper: ResolvedStudy) -> None:
    students = [key for key, trial in paper.trials.items() if trial.teacher is not None]
    assert len(students) == 2 * 3  # two rows of table6 for each of three models
    (teacher,) = {paper.trials[key].teacher for key in students}
    assert teacher is not None
    trial = paper.trials[teacher]
    assert trial.recipe.model == "resnet152_v1"
    assert (trial.recipe.batch_size, trial.recipe.epochs, trial.seed) == (1024, 120, 0)
    assert {spec.name for spec in trial.tricks} == {
        *("warmup", "zero_gamma", "no_bias_decay", "fp16"),
        *("resnet_b", "resnet_c", "resnet_d", "cosine", "label_smoothing"),
    }
    assert paper.labels[teacher] == "imagenet · @teacher · seed 0"
    assert all(paper.order.index(teacher) < paper.order.index(key) for key in students)


@pytest.mark.usefixtures("to_come")
def test_overrides_of_data_set_model_and_trick() -> None:
    resolved = planned(reference("variants"))
    found = {}
    for table in resolved.tables:
        for row in table.rows:
            trial = resolved.trials[row.keys[0]]
            params = {k: v for spec in trial.tricks for k, v in spec.params.items()}
            recipe = trial.recipe
            found[table.dataset, row.label] = (recipe.model, recipe.lr, recipe.batch_size, params)
    nette, cifar = ("resnet18", 64), ("resnet18_small", 128)
    for (dataset, label), (model, lr, batch, params) in found.items():
        assert (model, batch) == (cifar if dataset == "cifar10" else nette)
        plain = 0.1 if dataset == "cifar10" else 0.025
        expected = {"mixup_04": 0.05, "lr 0.05 alone": 0.05, "sam_lr": 0.05}.get(label, plain)
        assert lr == expected, (dataset, label)
        if label == "sam_lr":
            assert params == {"rho": 0.1 if dataset == "cifar10" else 0.05}
        elif label.startswith("mixup"):
            assert params == {"alpha": int(label[-1]) / 10}
        else:
            assert params == {}


@pytest.mark.usefixtures("to_come")
def test_leave_one_out_shares_the_cumulative_rows() -> None:
    resolved = planned(reference("loo"))
    main = table_of_dataset(resolved, "main", "", "imagenette")
    loo = table_of_dataset(resolved, "loo", "model resnet50_v1", "imagenette")
    assert (main.reference, main.total, loo.reference, loo.total) == ("above", True, "full", False)
    assert loo.rows[0].keys == main.rows[-1].keys
    assert loo.rows[-1].keys == main.rows[-2].keys
    assert {row.above for row in loo.rows[1:]} == {0}
    group1 = planned(reference("group1"))
    assert {row.keys for row in table_of_dataset(group1, "main", "", "imagenette").rows} == {
        row.keys for row in main.rows[:5]
    }


def table_of_dataset(resolved: ResolvedStudy, ablation: str, column: str, dataset: str) -> Table:
    (found,) = (
        t
        for t in resolved.tables
        if (t.ablation, t.column, t.dataset) == (ablation, column, dataset)
    )
    return found


@pytest.mark.usefixtures("to_come")
def test_everything_inherits_tables_and_replaces_lists() -> None:
    study = reference("everything")
    by_name = {ablation.name: ablation for ablation in study.ablations}
    assert by_name["table3"].transpose
    assert not by_name["table4"].transpose
    assert study.tricks["distill"].params == {"teacher": "@teacher", "temperature": 20}
    assert len(study.rules) == 3
    assert study.datasets == ("imagenet",)
    assert study.name == "everything"
