"""Precedence, sets, conflicts, order of work, missing data: each rule on its own small study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablate.core.recipe import Recipe
from ablate.core.resolved_study import ResolvedStudy, Row
from ablate.design import resolve, row_changes
from ablate.errors import AblateError, DataError, StudyError
from ablate.study import load_study
from tests.helpers.stand_ins import catalogue

HEAD = """\
[study]
datasets = ["digits"]
seeds = 1
{study}
[recipe]
model = "resnet18"
{recipe}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    def planned(
        rest: str = "", *, study: str = "", recipe: str = "", **options: Any
    ) -> ResolvedStudy:
        file = tmp_path / "mine.toml"
        file.write_text(HEAD.format(study=study, recipe=recipe) + rest)
        device = options.pop("device_type", "cpu")
        missing = options.pop("allow_missing_data", False)
        loaded = load_study(file, catalogue=catalogue(), **options)
        return resolve(
            loaded,
            data_root=tmp_path,
            device_type=device,
            command="ablate run mine.toml",
            allow_missing_data=missing,
        )

    return planned


def recipes(resolved: ResolvedStudy) -> dict[str, Recipe]:
    """Column and label of every row -> its recipe."""
    return {
        f"{table.column} {row.label}".strip(): resolved.trials[row.keys[0]].recipe
        for table in resolved.tables
        for row in table.rows
    }


def row(resolved: ResolvedStudy, label: str) -> Row:
    (found,) = (r for table in resolved.tables for r in table.rows if r.label == label)
    return found


def problems(plan: Any, *args: Any, **kwargs: Any) -> list[str]:
    with pytest.raises(StudyError) as caught:
        plan(*args, **kwargs)
    return [f"{p.line}: {p.key}: {p.message} | {p.hint}" for p in caught.value.problems]


LADDER = """\
[tricks]
mixup = {{ {trick} }}
[[override]]
when = {{ dataset = "digits" }}
set = {{ {override} }}
[[override]]
when = {{ trick = "mixup" }}
set = {{ {by_trick} }}
[[ablation]]
name = "a"
stack = ["mixup"]
over = [ {{ {column}, batch_size = 32 }} ]
"""


@pytest.mark.parametrize("steps", range(1, 7))
def test_precedence_of_settings(plan: Any, steps: int) -> None:
    """Each level beats those before it: with `steps` of them, the last one's lr holds."""
    names = ("recipe", "column", "override", "trick", "by_trick")
    values = {name: f"lr = {n}" if n <= steps else "flip = 0.25" for n, name in enumerate(names, 1)}
    values["trick"] = f"set.{values['trick']}"
    overrides = ["recipe.lr=6"] if steps == 6 else []
    recipe = values.pop("recipe")
    found = recipes(plan(LADDER.format(**values), recipe=recipe, overrides=overrides))
    with_mixup = next(r for label, r in found.items() if label.endswith("mixup"))
    assert with_mixup.lr == steps
    control = next((r for label, r in found.items() if label.endswith("alone")), None)
    # the control row has the settings of the row it is compared with, whatever they came from
    assert control is not None
    assert control == with_mixup
    baseline = next(r for label, r in found.items() if label.endswith("baseline"))
    assert baseline.lr == {6: 6}.get(steps, min(steps, 3))


def test_what_nobody_sets_comes_from_data_and_model(plan: Any) -> None:
    found = recipes(plan(study='stack = ["mixup"]'))["baseline"]
    assert (found.image_size, found.eval_size, found.eval_resize) == (32, 32, round(32 * 256 / 224))
    assert (found.flip, found.crop is None, found.mean is None, found.std is None) == (
        0.0, False, False, False,
    )  # fmt: skip
    sized = recipes(plan(study='stack = ["mixup"]', recipe="image_size = 112"))["baseline"]
    assert (sized.eval_size, sized.eval_resize) == (112, 128)
    sized = recipes(plan(study='stack = ["mixup"]', recipe="eval_size = 224"))["baseline"]
    assert (sized.image_size, sized.eval_resize) == (32, 256)


def test_tables_of_settings_merge(plan: Any) -> None:
    text = '[[ablation]]\nname = "a"\nstack = ["fp16"]\nover = { schedule.gamma = [0.1, 0.5] }\n'
    found = recipes(plan(text, recipe="schedule = { milestones = [0.25] }"))
    schedule = found["schedule.gamma 0.5 + fp16"].schedule
    assert (schedule.milestones, schedule.gamma) == ((0.25,), 0.5)


def test_parameters_override_and_set(plan: Any) -> None:
    text = """\
[tricks]
mixup = { alpha = 0.1 }
[[override]]
when = { model = ["resnet18", "resnet34"] }
tricks.mixup.alpha = 0.3
"""

    def alpha(**options: Any) -> Any:
        resolved = plan(text, study='stack = ["mixup"]', **options)
        (spec,) = resolved.trials[row(resolved, "+ mixup").keys[0]].tricks
        return spec.params["alpha"]

    assert alpha() == 0.3
    assert alpha(overrides=["tricks.mixup.alpha=0.5"]) == 0.5
    assert alpha(overrides=["recipe.model=resnet50"]) == 0.1  # the condition sees --set


def test_a_variant_is_a_set_whatever_order_alias_or_bundle(plan: Any) -> None:
    text = """\
[tricks]
pair = { bundle = ["warmup", "smooth"] }
smooth = { use = "label_smoothing", epsilon = 0.1 }
warmup = { epochs = 2 }
[[ablation]]
name = "one"
stack = ["warmup", "smooth"]
[[ablation]]
name = "other"
stack = ["smooth", "warmup"]
[[ablation]]
name = "bundle"
stack = ["pair"]
[[ablation]]
name = "default"
base = ["warmup"]
stack = ["label_smoothing"]
"""
    one, other, bundle, default = plan(text).tables
    assert one.rows[2].keys == other.rows[2].keys == bundle.rows[1].keys == default.rows[1].keys
    assert one.rows[0].keys == other.rows[0].keys
    assert one.rows[1].keys != other.rows[1].keys


def test_bundles_are_named_in_the_specs(plan: Any) -> None:
    text = """\
[tricks]
inner = { bundle = ["resnet_b", "resnet_c"] }
outer = { bundle = ["inner", "fp16"] }
"""
    resolved = plan(text, study='stack = ["outer", "warmup"]')
    specs = resolved.trials[row(resolved, "+ warmup").keys[0]].tricks
    assert {spec.label: spec.bundle for spec in specs} == {
        "resnet_b": "outer", "resnet_c": "outer", "fp16": "outer", "warmup": "",
    }  # fmt: skip


def test_a_row_that_changes_nothing_is_the_row_above(plan: Any) -> None:
    resolved = plan(study='stack = ["linear_scaling", "fp16"]', recipe="batch_size = 256")
    baseline, scaled, half = resolved.tables[0].rows
    assert (scaled.keys, scaled.same_as, scaled.changes) == (baseline.keys, 0, "")
    assert (half.same_as, half.tricks) == (None, ("linear_scaling", "fp16"))
    assert len(resolved.trials) == 2
    resolved = plan(study='stack = ["linear_scaling"]', recipe="batch_size = 64\nlr = 0.1")
    assert row(resolved, "+ linear_scaling").settings == {"lr": (0.1, 0.025)}
    assert row(resolved, "+ linear_scaling").changes == "lr: 0.1 → 0.025"


def test_a_dropped_trick_is_the_row_above(plan: Any) -> None:
    text = '[[override]]\nwhen = { model = "resnet18" }\ndrop = ["mixup"]\n'
    rows = plan(text, study='stack = ["fp16", "mixup", "warmup"]').tables[0].rows
    assert [r.same_as for r in rows] == [None, None, 1, None]
    assert rows[3].tricks == ("fp16", "warmup")


def test_conflicts_name_the_stack_entry_and_say_what_to_do(plan: Any) -> None:
    (problem,) = problems(plan, study='stack = ["mixup", "adam", "fp16", "rmsprop"]')
    source = catalogue().load("adam").source.split(" ")[0]
    assert problem == (
        f"4: study.stack[1]: adam and rmsprop (both {source}) replace build_optimizer | "
        'keep one in the stack, or put each in a branch: stack = [["adam"], ["rmsprop"]]'
    )
    assert plan(study='stack = ["mixup", ["adam"], ["rmsprop"]]').tables


def test_every_conflict_is_reported_once(plan: Any) -> None:
    text = """\
[tricks]
m1 = { use = "mixup", alpha = 0.1 }
m2 = { use = "mixup", alpha = 0.2 }
slow = { use = "warmup", set.lr = 0.1 }
quick = { use = "cosine", set.lr = 0.2 }
[[ablation]]
name = "a"
stack = ["m1", "m2"]
over = { batch_size = [32, 64] }
[[ablation]]
name = "b"
kind = "one_at_a_time"
base = ["fp16"]
stack = ["bf16", "warmup"]
[[ablation]]
name = "c"
stack = ["slow", "quick"]
"""
    found = problems(plan, text)
    assert [line.split(" | ")[0] for line in found] == [
        "15: ablation[0].stack[0]: m1 and m2 are both mixup, which a row can have once",
        "21: ablation[1].stack[0]: bf16 and fp16 (both ablate-study) replace precision",
        "24: ablation[2].stack[0]: slow and quick both set lr",
    ]


def test_too_many_trials_are_refused_before_they_are_planned(plan: Any) -> None:
    text = '[[ablation]]\nname = "a"\nstack = ["fp16"]\nover = {{ lr = {}, batch_size = {} }}\n'
    grid = list(range(1, 31))
    with pytest.raises(AblateError, match=r"18,000 trials are asked for; 10,000 are the most"):
        plan(text.format(grid, grid), seeds=10)


def test_more_are_planned_where_the_study_says_so(plan: Any) -> None:
    text = '[[ablation]]\nname = "a"\nstack = ["mixup"]\nover = { lr = [0.1, 0.2] }\n'
    with pytest.raises(AblateError, match="12 trials are asked for; 11 are the most") as caught:
        plan(text, study="max_trials = 11", seeds=3)
    assert "--set study.max_trials=12" in (caught.value.hint or "")
    assert len(plan(text, study="max_trials = 12", seeds=3).trials) == 12


def ordered(resolved: ResolvedStudy) -> list[str]:
    return [resolved.labels[key] for key in resolved.order]


def test_a_seed_of_every_row_comes_before_the_next_seed_of_any(plan: Any) -> None:
    rows = ("baseline", "+ mixup", "+ cosine")
    # each seed begins one row further, so that no row is the last in every block
    turns = ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 1, 2))
    expected = [
        f"digits · {rows[row]} · seed {seed}" for seed, turn in enumerate(turns) for row in turn
    ]
    assert ordered(plan(study='stack = ["mixup", "cosine"]', seeds=4)) == expected
    # another table with the same rows and one more: what both have is trained once
    text = '[[ablation]]\nname = "b"\nstack = ["mixup", "cosine", "resnet_d"]\n'
    both = ordered(plan(text, study='stack = ["mixup", "cosine"]', seeds=4))
    assert both == [
        label
        for seed in range(4)
        for label in (*expected[3 * seed : 3 * seed + 3], f"digits · + resnet_d · seed {seed}")
    ]


def test_all_data_sets_come_in_a_block_and_a_teacher_right_before_its_first_student(
    plan: Any,
) -> None:
    text = (
        '[trial.big]\nset.model = "resnet34"\n[tricks]\ndistill = { teacher = "@big" }\n'
        '[[ablation]]\nname = "b"\nkind = "leave_one_out"\nstack = ["mixup", "distill"]\n'
    )
    resolved = plan(
        text,
        study='stack = ["cosine"]',
        seeds=2,
        datasets=["digits", "cifar10"],
        allow_missing_data=True,
    )
    teachers = {trial.teacher for trial in resolved.trials.values()} - {None}
    assert len(teachers) == 2, "one for each data set"
    order = [key for key in resolved.order if key not in teachers]
    seeds = [resolved.trials[key].seed for key in order]
    assert seeds == sorted(seeds)
    half = len(order) // 2
    rows = [{row.keys[seed] for t in resolved.tables for row in t.rows} for seed in (0, 1)]
    assert [set(order[:half]), set(order[half:])] == rows
    for block in (order[:half], order[half:]):
        assert len({resolved.trials[key].dataset.name for key in block}) == 2
    for teacher in teachers:
        place = resolved.order.index(teacher)
        students = [k for k in resolved.order if resolved.trials[k].teacher == teacher]
        assert resolved.order[place + 1] == students[0]
        assert len(students) > 2


def test_a_graph_is_shared_by_those_whose_tricks_change_none(plan: Any) -> None:
    """ResNet-D is another graph; zero-γ, smoothing and mixup are none of their own."""
    stack = '["mixup", "resnet_d", "label_smoothing", "zero_gamma"]'
    text = f'[[ablation]]\nname = "b"\nkind = "one_at_a_time"\nstack = {stack}\n'
    resolved = plan(text, seeds=3)
    by_row = {row.label: row.keys for row in resolved.tables[0].rows}
    (other,) = (label for label in by_row if "resnet_d" in label)
    graphs = {label: {resolved.graphs[key] for key in keys} for label, keys in by_row.items()}
    assert all(len(numbers) == 1 for numbers in graphs.values()), "a seed changes no graph"
    plain = [label for label in by_row if label != other]
    assert len(set().union(*(graphs[label] for label in plain))) == 1
    assert graphs[other].isdisjoint(graphs[plain[0]])


def test_seeds_names_and_protocol_do_not_enter_the_key(plan: Any) -> None:
    text = '[tricks]\nother = {{ use = "mixup", alpha = 0.2 }}\n[protocol]\nmargin = {}\n'
    first = plan(text.format(0.5), study='stack = ["mixup"]', seeds=2)
    second = plan(text.format(1), study='name = "x"\nstack = ["other"]', seeds=3)
    assert set(first.trials) < set(second.trials)
    assert (first.margin, second.margin) == (0.5, 1.0)


def test_limit_numerics_and_device_enter_the_key(plan: Any) -> None:
    stack = 'stack = ["mixup"]'
    kinds = [
        plan(study=stack),
        plan(study=stack, limit=100),
        plan(study=stack, device_type="cuda"),
        plan(study=f'{stack}\nnumerics = "exact"', device_type="cuda"),
    ]
    keys = [key for kind in kinds for key in kind.trials]
    assert len(set(keys)) == len(keys)
    profiles = [next(iter(kind.trials.values())).numerics.profile for kind in kinds]
    assert profiles == ["exact", "exact", "fast", "exact"]
    assert set(plan(study=f'{stack}\nnumerics = "exact"').trials) == set(kinds[0].trials)


def test_a_teachers_name_does_not_enter_the_key_but_its_training_does(plan: Any) -> None:
    text = """\
[tricks]
distill = {{ teacher = "@{0}" }}
[trial.{0}]
tricks = ["cosine"]
seed = 4
set = {{ model = "resnet34", epochs = {1} }}
"""

    def student(name: str, epochs: int, **options: Any) -> tuple[str, Any]:
        resolved = plan(text.format(name, epochs), study='stack = ["distill"]', **options)
        key = row(resolved, "+ distill").keys[0]
        return key, resolved.trials[resolved.trials[key].teacher]

    key, teacher = student("big", 30)
    assert (teacher.seed, teacher.recipe.model, teacher.recipe.epochs) == (4, "resnet34", 30)
    assert student("large", 30)[0] == key
    assert student("big", 31)[0] != key
    # what a trial says of itself holds; the rest follows --set
    teacher = student("big", 30, overrides=["recipe.epochs=2", "recipe.lr=0.5"])[1]
    assert (teacher.recipe.epochs, teacher.recipe.lr) == (30, 0.5)
    assert student("big", 30, overrides=["trial.big.set.epochs=2"])[1].recipe.epochs == 2


def test_missing_data_is_refused_or_a_warning(plan: Any) -> None:
    with pytest.raises(DataError, match=r"imagewoof \(160 px\) is not in .*; mine needs it") as e:
        plan(study='stack = ["mixup"]', datasets=["imagewoof"])
    assert e.value.hint is not None
    assert "ablate datasets fetch imagewoof" in e.value.hint
    resolved = plan(
        study='stack = ["mixup"]', datasets=["imagewoof", "imagenette"], allow_missing_data=True
    )
    assert len(resolved.trials) == 4  # not taken for one data set
    assert [w.split(" ")[0] for w in resolved.warnings] == ["imagewoof", "imagenette"]
    assert resolved.headline == "resnet18 · 20 epochs · batch 64 · lr 0.025 · 160 px"


def test_warnings_of_tricks_and_equal_columns(plan: Any) -> None:
    text = "[tricks]\nwarmup = { epochs = 15 }\n"
    assert plan(text, study='stack = ["warmup"]').warnings == (
        "warmup of 15 epochs is cut to 10, half of the 20 trained",
        # The first milestone is at a quarter, and the rate then at half of what it rises to.
        "digits · + warmup: warmup: the learning rate never reaches the recipe's 0.025, the most "
        "in the 360 steps is 0.0125",
    )
    text = '[[ablation]]\nname = "a"\nstack = ["fp16"]\nover = { lr = [1, 2] }\n'
    (warning,) = plan(text, overrides=["recipe.lr=3"]).warnings
    assert warning == "a, digits: columns 'lr 1' and 'lr 2' are the same trainings"


def test_changes_in_words_with_and_without_counts(plan: Any) -> None:
    text = "[tricks]\nmixup = { alpha = 0.4, set.batch_size = 128 }\n"
    resolved = plan(text, study='stack = ["zero_gamma", "mixup"]')
    (table,) = resolved.tables
    zero_gamma = catalogue().load("zero_gamma").cls()
    assert table.rows[1].changes == zero_gamma.describe()
    counted = row_changes(resolved, table, table.rows[1], catalogue(), {"zero_gamma": 8})
    assert counted == zero_gamma.describe(changed=8)
    assert "8" in counted
    assert table.rows[2].label == "+ batch_size 128 alone"
    assert table.rows[2].changes == "batch size: 64 → 128"
    assert table.rows[3].changes == catalogue().load("mixup").cls(alpha=0.4).describe()
    assert row_changes(resolved, table, table.rows[0], catalogue()) == ""


def test_a_control_row_names_what_an_override_changes_with_the_trick(plan: Any) -> None:
    text = (
        "[tricks]\nwarmup = { epochs = 1 }\nmixup = { set.batch_size = 128 }\n"
        '[[override]]\nwhen = { trick = "mixup" }\nset = { lr = 0.5 }\n'
        "tricks.warmup.epochs = 2\ntricks.label_smoothing.epsilon = 0.2\n"
        '[[override]]\nwhen = { trick = "mixup", dataset = "imagewoof" }\nset.momentum = 0.8\n'
    )
    resolved = plan(text, study='stack = ["warmup", "mixup"]')
    (table,) = resolved.tables
    assert [r.label for r in table.rows] == [
        "baseline", "+ warmup", "+ batch_size 128, lr 0.5, warmup.epochs 2 alone", "+ mixup",
    ]  # fmt: skip
    control, mixup = (resolved.trials[r.keys[0]] for r in table.rows[2:])
    assert control.recipe == mixup.recipe
    assert (control.recipe.batch_size, control.recipe.lr) == (128, 0.5)
    assert [spec.params["epochs"] for spec in control.tricks] == [2]


def test_a_change_starts_from_what_the_row_above_has(plan: Any) -> None:
    """`reference/ux.md`, section 2, and what the chain's order makes of other rows."""
    text = "[tricks]\nwarmup = { epochs = 2 }\nmixup = { alpha = 0.2 }\n"
    for stack, expected in (
        (["warmup", "fp16", "mixup"], [
            "schedule: step → 2 epochs linear, then step",
            "precision: fp32 → fp16",
            "batches: plain → mixup, alpha 0.2",
        ]),
        (["cosine", "warmup"], [
            "schedule: step → cosine",
            "schedule: cosine → 2 epochs linear, then cosine",
        ]),
        (["warmup", "cosine"], [
            "schedule: step → 2 epochs linear, then step",
            "schedule: 2 epochs linear, then step → 2 epochs linear, then cosine",
        ]),
    ):  # fmt: skip
        (table,) = plan(text, study=f"stack = {stack}").tables
        assert [row.changes for row in table.rows[1:]] == expected
    bundle = text + 'both = { bundle = ["warmup", "cosine"] }\n'
    (table,) = plan(bundle, study='stack = ["both"]').tables
    assert table.rows[1].changes == "schedule: step → 2 epochs linear, then cosine"


def test_the_file_as_named_and_its_text_are_kept(plan: Any, tmp_path: Path) -> None:
    resolved = plan(study='stack = ["mixup"]', overrides=["recipe.epochs=2"])
    assert resolved.file == str(tmp_path / "mine.toml")
    assert resolved.toml == {resolved.file: (tmp_path / "mine.toml").read_text()}
    assert (resolved.overrides, resolved.command) == (("recipe.epochs=2",), "ablate run mine.toml")
    assert ResolvedStudy.model_validate_json(resolved.model_dump_json()) == resolved
