"""Packages beside ablate: names that two of them offer, and one that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.helpers.cli_process import run_cli
from tests.helpers.packages import break_bytes, break_line, offering

STUDY = """\
[study]
datasets = ["digits"]
seeds = 1
stack = ["{trick}"]
plugins = {plugins}

[recipe]
model = "resnet8"
epochs = 1
batch_size = 8
image_size = 8
"""


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of two distributions that offer one name."""
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        name = f"ablate-{folder.name}"
        module = name.replace("-", "_")
        entries = [f"shared_trick = {module}:MyTrick", f"mixup = {module}:MyTrick"]
        offering(folder, name, *entries[: 1 if folder.name == "one" else 2])
    return folders


def ablate(*arguments: str, folder: Path, beside: tuple[Path, ...]) -> CompletedProcess[str]:
    path = ":".join(map(str, beside))
    return run_cli(*arguments, cwd=folder, env={"PYTHONPATH": path}, fresh=True)


def test_the_study_says_which_of_two_is_meant(tmp_path: Path, two: tuple[Path, Path]) -> None:
    (tmp_path / "s.toml").write_text(STUDY.format(trick="shared_trick", plugins="[]"))
    for beside in (two, two[::-1]):
        done = ablate("check", "s.toml", folder=tmp_path, beside=beside)
        assert done.returncode == 2
        said = done.stdout.splitlines()[0]
        assert said.startswith("s.toml:4: study.stack[0]: trick 'shared_trick' is offered by ")
        assert "ablate-one 1.0" in said
        assert "ablate-two 1.0" in said
    keys = set()
    for name in ("ablate-one", "ablate-two"):
        (tmp_path / "s.toml").write_text(STUDY.format(trick="shared_trick", plugins=f"['{name}']"))
        done = ablate("run", "s.toml", "--limit", "20", folder=tmp_path, beside=two)
        assert done.returncode == 0, done.stderr
        for file in (tmp_path / "ablate-results" / "trials").glob("*/trial.json"):
            trial = json.loads(file.read_text())
            keys |= {(spec["source"], trial["key"]) for spec in trial["trial"]["tricks"]}
    assert sorted(source for source, _ in keys) == ["ablate-one 1.0"]  # the same source: one trial
    done = ablate("plan", "s.toml", "--limit", "20", "--json", folder=tmp_path, beside=two)
    assert done.returncode == 0, done.stderr


def test_tricks_and_doctor_list_what_is_offered_twice(
    tmp_path: Path, two: tuple[Path, Path]
) -> None:
    done = ablate("tricks", folder=tmp_path, beside=two)
    assert "✗ shared_trick" in done.stdout
    assert "! 'mixup' of ablate-two 1.0 is never used: ablate-study " in done.stdout
    document = json.loads(ablate("tricks", "--json", folder=tmp_path, beside=two).stdout)
    clashes = {clash["name"]: clash for clash in document["clashes"]}
    assert clashes["shared_trick"]["used"] is None
    assert clashes["shared_trick"]["others"] == ["ablate-one 1.0", "ablate-two 1.0"]
    assert clashes["mixup"]["others"] == ["ablate-two 1.0"]
    assert [broken["name"] for broken in document["broken"]] == ["shared_trick"]
    done = ablate("doctor", "--json", folder=tmp_path, beside=two)
    found = [f for f in json.loads(done.stdout)["findings"] if f["subject"] == "tricks"]
    assert [(f["kind"], f["message"].partition(" (")[0]) for f in found[:2]] == [
        ("attention", clashes_said(document, "mixup")),
        ("wrong", "trick 'shared_trick' is offered by ablate-one 1.0 and ablate-two 1.0"),
    ]
    assert found[1]["todo"].startswith('plugins = ["ablate-one"] in [study], or pip uninstall ')


def clashes_said(document: dict[str, list[dict[str, str]]], name: str) -> str:
    [clash] = [clash for clash in document["clashes"] if clash["name"] == name]
    return f"'{name}' of {clash['others'][0]} is never used: {clash['used']} has it"


@pytest.mark.parametrize("broken", [break_bytes, break_line])
def test_one_that_cannot_be_read_is_named_and_all_else_works(
    tmp_path: Path, broken: Callable[[Path], None]
) -> None:
    """Python's own reader, which pydantic, torch and triton call when imported, raises for it."""
    offering(tmp_path / "bad", "ablate-bad")
    broken(tmp_path / "bad" / "ablate_bad-1.0.dist-info")
    beside = (tmp_path / "bad",)
    (tmp_path / "s.toml").write_text(STUDY.format(trick="cosine", plugins="[]"))
    named = "the installed package ablate_bad cannot be read"
    for command in (["check", "s.toml"], ["run", "s.toml", "--limit", "20"], ["tricks"]):
        done = ablate(*command, folder=tmp_path, beside=beside)
        assert done.returncode == 0, done.stderr
        assert [line for line in done.stderr.splitlines() if named in line] == [
            f"warning: {named}: "
            + ("its metadata is not UTF-8" if broken is break_bytes else
               "entry_points.txt: 'no entry' is no entry")
            + f" ({tmp_path}/bad/ablate_bad-1.0.dist-info); its tricks, if it has any, are left out"
        ]  # fmt: skip
    for command in (["report", "s"], ["query", "from trials"], ["models"], ["--help"]):
        assert ablate(*command, folder=tmp_path, beside=beside).returncode == 0
    done = ablate("doctor", "--json", folder=tmp_path, beside=beside)
    [found] = [f for f in json.loads(done.stdout)["findings"] if f["subject"] == "packages"]
    assert found["message"].startswith(named)
    assert found["todo"] == "pip install --force-reinstall ablate_bad"
