"""`extends`, names and options: which file's word holds, and where its problems are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.errors import StudyError
from ablate.study import Study, find_study, load_study, shipped_studies, study_name
from tests.helpers.stand_ins import catalogue

BASE = """\
[study]
datasets = ["digits"]
seeds = 2
name = "of-the-base"
stack = ["warmup", "mixup"]
[recipe]
model = "resnet18"
schedule = { milestones = [0.5], gamma = 0.2 }
[tricks]
mixup = { alpha = 0.3 }
[[ablation]]
name = "a"
stack = ["cosine"]
over = { batch_size = [64, 128] }
[[ablation]]
name = "b"
stack = ["fp16"]
"""


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


def load(path: Path, **options: object) -> Study:
    return load_study(path, catalogue=catalogue(), **options)  # type: ignore[arg-type]


def problems(path: Path, **options: object) -> list[str]:
    with pytest.raises(StudyError) as caught:
        load(path, **options)
    return [str(problem) for problem in caught.value.problems]


def test_tables_merge_lists_replace_ablations_match_by_name(tmp_path: Path) -> None:
    child = """\
extends = "base.toml"
[study]
stack = ["label_smoothing"]
[recipe]
schedule.gamma = 0.5
[[ablation]]
name = "c"
stack = ["bf16"]
[[ablation]]
name = "a"
transpose = true
"""
    study = load(write(tmp_path, base=BASE, child=child) / "child.toml")
    assert study.name == "child"
    assert study.seeds == (0, 1)
    assert study.recipe["schedule"] == {"milestones": [0.5], "gamma": 0.5}
    assert study.tricks["mixup"].params == {"alpha": 0.3}
    main, a, b, c = study.ablations
    assert [item.labels for item in main.stack] == [("label_smoothing",)]
    assert (a.name, a.transpose, a.columns) == (
        "a",
        True,
        ({"batch_size": 64}, {"batch_size": 128}),
    )
    assert (b.name, c.name) == ("b", "c")
    assert list(study.toml) == [f"{tmp_path}/child.toml", f"{tmp_path}/base.toml"]


def test_a_problem_is_shown_in_the_file_it_stands_in(tmp_path: Path) -> None:
    bad = BASE.replace("alpha = 0.3", "alpha = 0").replace('"fp16"', '"fp61"')
    child = 'extends = "base.toml"\n[recipe]\nepochs = 0\n[[ablation]]\nname = "b"\nkind = "x"\n'
    folder = write(tmp_path, base=bad, child=child)
    assert problems(folder / "child.toml") == [
        f"{folder}/base.toml:10: tricks.mixup.alpha: 0 is out of range; must be above 0",
        f"{folder}/base.toml:17: ablation[1].stack[0]: unknown trick 'fp61'; did you mean 'fp16'?",
        f"{folder}/child.toml:3: recipe.epochs: 0 is out of range; must be at least 1",
        f'{folder}/child.toml:6: ablation[0].kind: the text "x" is no kind of ablation; known: '
        "cumulative, leave_one_out, one_at_a_time, factorial, orderings",
    ]


def test_cycles_missing_files_and_paths_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    folder = write(
        tmp_path / "there" / "studies" / "paper",
        one='extends = "two.toml"',
        two='extends = "./one.toml"',
        gone='extends = "nothing.toml"',
        number="\nextends = 3",
        up='extends = "../base.toml"',
        far='extends = "../../../base.toml"',
        etc='extends = "/etc/passwd"',
    )
    write(tmp_path, base=BASE)
    write(folder.parent, base=BASE)
    (message,) = problems(folder / "one.toml")
    assert message.startswith(f"{folder}/two.toml:1: extends: extends itself: {folder}/one.toml")
    assert problems(folder / "gone.toml") == [
        f"{folder}/gone.toml:1: extends: 'nothing.toml' is not a study file that can be read"
    ]
    (message,) = problems(folder / "number.toml")
    assert message.startswith(f"{folder}/number.toml:2: extends: expected a file name")
    assert load(folder / "up.toml").name == "paper/up"
    outside = "is outside the studies and the working directory"
    assert problems(folder / "far.toml") == [
        f"{folder}/far.toml:1: extends: '../../../base.toml' {outside}"
    ]
    (message,) = problems(folder / "etc.toml")
    assert message.endswith(outside)
    monkeypatch.chdir(tmp_path)  # the working directory is allowed
    assert load(folder / "far.toml").name == "paper/far"


def test_set_beats_the_file_and_is_checked_like_it(tmp_path: Path) -> None:
    file = write(tmp_path, base=BASE) / "base.toml"
    study = load(
        file,
        overrides=["recipe.epochs=5", "recipe.model=resnet34", "tricks.mixup.alpha = 1"],
        seeds=7,
        datasets=["imagenette"],
        limit=50,
    )
    assert (study.recipe["epochs"], study.recipe["model"]) == (5, "resnet34")
    assert study.final == {"epochs": 5, "model": "resnet34"}
    assert study.final_params == {"mixup": {"alpha": 1}}
    assert study.tricks["mixup"].params == {"alpha": 1}
    assert (study.seeds, study.datasets, study.limit) == (tuple(range(7)), ("imagenette",), 50)
    assert problems(
        file, overrides=["recipe.epochs=many", "recipe.epoch=3", "tricks.mixpu.alpha=1"], seeds=0,
        datasets=["digit"], limit=0,
    ) == [
        "--dataset digit: study.datasets[0]: unknown data set 'digit'; did you mean 'digits'?",
        "--limit 0: 0 is out of range; must be at least 1",
        "--seeds 0: study.seeds: 0 is out of range; must be at least 1",
        "--set recipe.epoch=3: recipe.epoch: unknown setting; did you mean 'epochs'?",
        '--set recipe.epochs=many: recipe.epochs: expected a whole number, found the text "many"',
        "--set tricks.mixpu.alpha=1: tricks.mixpu: unknown trick 'mixpu'; did you mean 'mixup'?",
    ]  # fmt: skip
    for wrong in ("recipe.epochs", "=3", "recipe=3", "ablation.x=3", "a = 1\nb = 2", "a..b=1"):
        (message,) = problems(file, overrides=[wrong])
        assert message.startswith("--set "), message


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert study_name(tmp_path / "x" / "studies" / "a" / "studies" / "b" / "c.toml") == "b/c"
    assert study_name(tmp_path / "plain.toml") == "plain"
    assert load(write(tmp_path, base=BASE) / "base.toml").name == "of-the-base"
    monkeypatch.chdir(tmp_path)
    assert find_study("base") == Path("base.toml")
    for name in ("group1", "studies/group1.toml", "studies/group1"):
        assert find_study(name).is_file()  # shipped, found from anywhere
    assert {"quickstart", "group1", "group2", "bag_of_tricks"} <= set(shipped_studies())
    for outside in ("../group1", "studies/../../README.md", "/group1"):
        with pytest.raises(StudyError):
            find_study(outside)


def test_an_ablation_without_name_and_stack_takes_the_studys(tmp_path: Path) -> None:
    text = BASE + '[[ablation]]\nkind = "leave_one_out"\n'
    *_, last = load(write(tmp_path, base=text) / "base.toml").ablations
    assert (last.name, [item.labels for item in last.stack]) == (
        "leave_one_out",
        [("warmup",), ("mixup",)],
    )


def test_a_byte_order_mark_and_other_line_ends_are_read(tmp_path: Path) -> None:
    file = tmp_path / "windows.toml"
    file.write_bytes(b"\xef\xbb\xbf" + BASE.replace("alpha = 0.3", "alpha = 0").replace(
        "\n", "\r\n").encode())  # fmt: skip
    (message,) = problems(file)
    assert message.startswith(f"{file}:10: tricks.mixup.alpha: 0 is out of range")
