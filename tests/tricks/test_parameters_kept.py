"""Parameters that a result cannot keep are refused where a study is planned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.cli.main import main
from tests.helpers.cli_process import run_cli, run_here
from tests.helpers.environment import environment

TRICK = """\
# -*- coding: latin-1 -*-
import random
from collections.abc import Callable
from typing import Any
from pydantic import Field, field_validator
from ablate import Trick, hookimpl

class Mine(Trick):
    "D\xe9licat."
    {parameter}

    @hookimpl(wrapper=True)
    def encode_targets(self) -> Any:
        return (yield)
"""
STUDY = """\
[study]
datasets = ["digits"]
seeds    = 1
stack    = ["mine"]
plugins  = ["./mine.py"]

[recipe]
model  = "resnet8"
epochs = 1
"""
KEYS = """\
from ablate.design import resolve
from ablate.study import load_study
print(*resolve(load_study("study.toml"), data_root=None, command="").order)
"""
VALIDATOR = """a: int = 1
    @field_validator('a')
    @classmethod
    def check(cls, value): raise {error}"""
REFUSED = {
    r"a: bytes = b'\xff'": "cannot be written as JSON: UnicodeDecodeError",
    "a: Callable = print": "cannot be written as JSON: PydanticSerializationError",
    "a: int = 10**5000": "cannot be written as JSON: ValueError",
    "a: float = float('nan')": "cannot be read back from JSON: Input should be a finite number",
    r"a: str = '\udcff'": "cannot be read back from JSON",
    "a: float = Field(1.0, alias='b')": "cannot be read back from JSON: Extra inputs",
    "a: float = Field(default_factory=random.random)": "are others when they are read back",
    "a: float = Field(default_factory=lambda: 1 / 0)": "cannot be made: ZeroDivisionError",
    "def __init__(self, **given): raise KeyError('q')": "cannot be made: KeyError: 'q'",
}


def write(folder: Path, parameter: str) -> None:
    text = TRICK.format(parameter=parameter)
    (folder / "mine.py").write_bytes(text.encode("latin-1", "backslashreplace"))
    (folder / "study.toml").write_text(STUDY)


@pytest.mark.parametrize("parameter", REFUSED)
def test_it_is_said_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    parameter: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, parameter)
    assert main(["check", "study.toml"]) == 2
    told = "".join(capsys.readouterr())
    first = told.splitlines()[0]
    assert first.startswith("study.toml:4: study.stack[0]: trick 'mine'"), told
    assert REFUSED[parameter] in first


def test_a_set_has_the_same_key_in_every_process(tmp_path: Path) -> None:
    """Python hashes text with another seed in each, and writes a set in that order."""
    write(tmp_path, "a: set[str] = {'a', 'b', 'c', 'd'}; b: dict[str, frozenset[int]] = {}")
    found = set()
    for seed in range(4):
        done = subprocess.run(
            [sys.executable, "-c", KEYS], cwd=tmp_path, env=environment(PYTHONHASHSEED=str(seed)),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.add(tuple(done.stdout.split()))
    assert len(found) == 1
    assert len(found.pop()) == 2


SEEN = """\
from typing import Any
from pydantic import Field
from ablate import Trick, hookimpl

class Mine(Trick):
    keep: int | float = Field(0.5, description="so many, or that share")
    rules: dict[str, float] = Field(default={}, description="the first that matches counts")
    names: frozenset[str] = Field(default=frozenset("abcdefgh"), description="in no order")

    @hookimpl(wrapper=True)
    def encode_targets(self) -> Any:
        return (yield)

    @hookimpl
    def extra_metrics(self, run) -> Any:
        lr, order = run.recipe.lr, "".join(self.names)
        return {
            "counts": float(isinstance(self.keep, int)),
            "first": next(iter(self.rules.values()), -1.0),
            "lr_is_int": float(isinstance(lr, int)),
            "order": float(int.from_bytes(order.encode(), "big")),
        }
"""
APART = """\
[study]
datasets = ["digits"]
seeds    = 1
plugins  = ["./mine.py"]

[recipe]
model = "resnet8"
epochs = 1
image_size = 8
batch_size = 8
lr = 1

[tricks]
count = { use = "mine", keep = 1 }
share = { use = "mine", keep = 1.0 }
ab = { use = "mine", rules = { a = 0.25, b = 0.75 } }
ba = { use = "mine", rules = { b = 0.75, a = 0.25 } }

[[ablation]]
kind = "one_at_a_time"
stack = ["count", "share", "ab", "ba"]
"""


@pytest.fixture
def apart(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(SEEN)
    (tmp_path / "study.toml").write_text(APART)
    return tmp_path


def measured(folder: Path) -> dict[str, dict[str, float]]:
    """The last epoch's metrics by the trial's label."""
    found = {}
    for trial in (folder / "ablate-results" / "trials").iterdir():
        label = json.loads((trial / "trial.json").read_text())["label"]
        [ended] = trial.rglob("done.json")
        found[label] = json.loads(ended.read_text())["final"]
    return found


def test_what_a_trick_sees_apart_is_trained_apart(apart: Path) -> None:
    done = run_here("run", "study.toml", "--limit", "20", "--device", "cpu", cwd=apart)
    assert done.returncode == 0, done.stderr
    found = {
        label.split(" · ")[1]: metrics
        for label, metrics in measured(apart).items()
        if "counts" in metrics
    }
    seen = {label: (metrics["counts"], metrics["first"]) for label, metrics in found.items()}
    assert seen == {"count": (1, -1), "share": (0, -1), "ab": (0, 0.25), "ba": (0, 0.75)}
    assert {metrics["lr_is_int"] for metrics in found.values()} == {0}
    told = run_here("diff", "study:count", "study:share", cwd=apart)
    assert "mine keep" in told.stdout
    assert "1 → 1.0" in told.stdout
    told = run_here("diff", "study:ab", "study:ba", cwd=apart)
    assert '{"a": 0.25, "b": 0.75} → {"b": 0.75, "a": 0.25}' in told.stdout


def test_a_set_is_in_one_order_in_every_training(apart: Path) -> None:
    """Each run has trainers of its own."""
    orders = set()
    for seed in ("1", "2"):
        run_cli(
            "run", "study.toml", "--limit", "20", "--device", "cpu", "--store", seed,
            cwd=apart, env={"PYTHONHASHSEED": seed},
        )  # fmt: skip
        (apart / "ablate-results").symlink_to(apart / seed)
        orders |= {m["order"] for m in measured(apart).values() if "order" in m}
        (apart / "ablate-results").unlink()
    assert len(orders) == 1


@pytest.mark.parametrize(
    ("setting", "one", "other", "same"),
    [
        ("tricks.count.keep", "1", "1.0", False),
        ("tricks.count.keep", "0.5", "5e-1", True),
        ("tricks.count.rules", "{a=1,b=2}", "{b=2,a=1}", False),
        ("tricks.count.rules", "{a=1}", "{a=1.0}", True),
        ("tricks.count.names", "['a','b']", "['b','a']", True),
        ("recipe.lr", "1", "1e0", True),
        ("recipe.momentum", "-0.0", "0", True),
        ("recipe.schedule", "{gamma=1,milestones=[0.5]}", "{milestones=[0.5],gamma=1.0}", True),
    ],
)
@pytest.mark.parametrize("by", ["--set", "override"])
def test_two_ways_to_write_a_value(
    apart: Path, setting: str, one: str, other: str, same: bool, by: str
) -> None:
    keys = []
    for value in (one, other):
        options = ["--set", f"{setting}={value}"]
        if by == "override":
            name = setting.replace("recipe.", "set.")
            text = f"\n[[override]]\nwhen = {{ model = 'resnet8' }}\n{name} = {value}\n"
            (apart / "study.toml").write_text(APART + text)
            options = []
        done = run_here("plan", "study.toml", "--json", *options, cwd=apart)
        assert done.returncode == 0, done.stderr
        keys.append(sorted(json.loads(done.stdout)["new"]))
    assert (keys[0] == keys[1]) == same
