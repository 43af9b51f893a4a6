"""Parameters that a result cannot keep are refused where a study is planned."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ablate.cli.main import main
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
