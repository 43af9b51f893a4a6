"""Every shipped study can be planned, and what the paper's tables train is what the paper says."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import pytest
import torch

from ablate.core.resolved_study import ResolvedStudy, Row, Table
from ablate.planning.plan import Plan, make_plan
from ablate.study import load_study, shipped_studies
from tests.helpers.environment import ROOT

STUDIES = ROOT / "studies"
# All of them take minutes; these have a table of each kind, a teacher and a model of two heads.
BOUNDED = ["quickstart", "paper/table2", "imagenette/table6", "followup/cifar10", "attribution"]
MODELS = ("resnet50_v1", "inception_v3", "mobilenet_v1")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@cache
def planned(name: str) -> Plan:
    """As `ablate plan` has it, on a machine without data and without a store."""
    study = load_study(name)
    nowhere = Path("no-such-folder")
    return make_plan(study, store=nowhere, device="cpu", data_root=nowhere, command="test")


@cache
def resolved(name: str) -> ResolvedStudy:
    from ablate.design import resolve

    study = load_study(name)
    return resolve(study, data_root=Path("no-such-folder"), command="t", allow_missing_data=True)


def table_of(name: str, *column: str) -> Table:
    [table] = [t for t in resolved(name).tables if all(part in t.column for part in column)]
    return table


def recipe_of(name: str, row: Row) -> tuple[int, float, int]:
    """(batch size, learning rate, epochs)."""
    recipe = resolved(name).trials[row.keys[0]].recipe
    return recipe.batch_size, round(recipe.lr, 6), recipe.epochs


def test_there_are_at_least_twenty_and_parts_are_not_among_them() -> None:
    assert len(shipped_studies()) >= 20
    assert not [name for name in shipped_studies() if name.rpartition("/")[2].startswith("_")]
    parts = {path.relative_to(STUDIES).as_posix() for path in STUDIES.rglob("_*.toml")}
    assert parts == {
        *("paper/_recipe.toml", "imagenette/_recipe.toml", "followup/_recipe.toml"),
    }
    for number in range(2, 8):
        assert f"paper/table{number}" in shipped_studies()
        assert f"imagenette/table{number}" in shipped_studies()


@pytest.mark.parametrize("name", BOUNDED)
def test_it_can_be_planned(name: str) -> None:
    plan = planned(name)
    assert plan.resolved.tables
    assert str(plan).startswith(f"{name} · ")


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in shipped_studies() if n not in BOUNDED])
def test_the_others_can_be_planned(name: str) -> None:
    assert planned(name).resolved.tables


@pytest.mark.parametrize("name", [n for n in shipped_studies() if "/" in n])
def test_its_comment_says_how_many_trainings_it_is(name: str) -> None:
    comment = (STUDIES / f"{name}.toml").read_text().split("extends")[0]
    if name.startswith("paper/table6"):
        return  # which counts by model: 7 for each and the teacher
    wanted = len(resolved(name).trials)
    assert f"{wanted} training" in comment
    assert wanted <= 150


def test_table_4_has_the_papers_learning_rates() -> None:
    # section 3.1: 0.1 · b/256
    for batch, lr in ((256, 0.1), (1024, 0.4)):
        rows = table_of("paper/table4", f"batch_size {batch}").rows
        assert [row.label for row in rows] == [
            "paper_recipe + linear_scaling",
            *("+ warmup", "+ zero_gamma", "+ no_bias_decay", "+ fp16"),
        ]
        assert {recipe_of("paper/table4", row) for row in rows} == {(batch, lr, 120)}
    for batch, lr in ((64, 0.025), (256, 0.1)):
        rows = table_of("imagenette/table4", f"batch_size {batch}").rows
        assert {recipe_of("imagenette/table4", row) for row in rows} == {(batch, lr, 20)}


@pytest.mark.parametrize(
    ("name", "batch", "lr", "short", "long"),
    [("paper/table6", 1024, 0.4, 120, 200), ("imagenette/table6", 256, 0.1, 20, 33)],
)
@pytest.mark.parametrize("model", MODELS)
def test_table_6_trains_mixup_longer_and_compares_it_with_the_longer_training(
    name: str, batch: int, lr: float, short: int, long: int, model: str
) -> None:
    rows = table_of(name, model).rows
    epochs = [short, short, short, short, long, long, long]
    assert [recipe_of(name, row) for row in rows] == [(batch, lr, e) for e in epochs]
    labels = [row.label for row in rows]
    assert labels[1:] == [
        *("+ cosine", "+ label_smoothing", "+ distill"),
        *(f"+ epochs {long} alone", "+ mixup", "+ distill + mixup"),
    ]
    assert [row.role for row in rows] == [
        *("baseline", "step", "step", "branch", "control", "branch", "branch"),
    ]
    assert [row.above for row in rows] == [None, 0, 1, 2, 2, 4, 4]
    trials = resolved(name).trials
    teachers = {trials[row.keys[0]].teacher for row in rows if "distill" in row.tricks}
    [teacher] = teachers
    assert teacher is not None
    taught = trials[teacher]
    assert (taught.recipe.model, taught.recipe.epochs) == ("resnet152_v1", short)
    assert {"cosine", "label_smoothing", "resnet_d", "zero_gamma"} <= {
        s.name for s in taught.tricks
    }


@pytest.mark.parametrize("folder", ["paper", "imagenette"])
@pytest.mark.parametrize("model", MODELS)
def test_what_has_no_place_in_a_model_is_dropped(folder: str, model: str) -> None:
    rows = table_of(f"{folder}/table6", model).rows
    only_residual = {"zero_gamma", "resnet_b", "resnet_c", "resnet_d"}
    efficient = {"linear_scaling", "warmup", "no_bias_decay", "fp16"}
    for row in rows:
        kept = only_residual & set(row.tricks)
        assert kept == (only_residual if model == "resnet50_v1" else set())
        assert efficient <= set(row.tricks)
    base = "paper_recipe + efficient" + " + resnet_bcd" * (model == "resnet50_v1")
    assert rows[0].label == base
    # the paper: Inception-V3 is trained on 299 pixels, the others on 224
    sizes = {resolved(f"{folder}/table6").trials[row.keys[0]].recipe.image_size for row in rows}
    assert sizes == {299 if model == "inception_v3" else 224 if folder == "paper" else 128}


def test_architectures_that_are_no_resnets_drop_what_only_those_have() -> None:
    resnets = ("resnet18", "resnet34", "resnet50", "resnext50_32x4d", "wide_resnet50_2")
    for table in resolved("followup/architectures").tables:
        equal = {row.label for row in table.rows if row.same_as == 0}
        model = table.column.removeprefix("model ")
        assert equal == (set() if model in resnets else {"zero_gamma", "resnet_d"})


def test_efficient_training_is_one_training_in_tables_3_to_5() -> None:
    def last(name: str, *column: str) -> tuple[str, ...]:
        return table_of(name, *column).rows[-1].keys

    for folder, batch in (("paper", 1024), ("imagenette", 256)):
        efficient = last(f"{folder}/table3", "resnet50_v1")
        seeds = len(efficient)
        assert last(f"{folder}/table4", f"batch_size {batch}")[:seeds] == efficient
        fifth = resolved(f"{folder}/table5").tables[0]
        assert fifth.rows[0].keys[:seeds] == efficient


def test_the_papers_recipe_is_in_every_row_of_its_tables() -> None:
    own = {"xavier_init", "color_jitter", "pca_lighting"}
    for name in shipped_studies():
        if name.startswith(("paper/", "imagenette/")):
            for table in resolved(name).tables:
                assert all(own <= set(row.tricks) for row in table.rows)
            smoothing = {
                spec.params["form"]
                for trial in resolved(name).trials.values()
                for spec in trial.tricks
                if spec.name == "label_smoothing"
            }
            assert smoothing <= {"others"}  # section 5.2: ε/(K − 1) to the other classes


def test_shipped_studies_are_plain_toml() -> None:
    for path in STUDIES.rglob("*.toml"):
        assert tomllib.loads(path.read_text(encoding="utf-8"))
