"""The installed package in a study, through the real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

STUDY = """\
[study]
datasets = ["digits"]
seeds    = 1
stack    = ["label_noise"]

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 16
image_size = 8

[tricks]
label_noise = { share = 0.5 }
"""


@pytest.fixture(autouse=True)
def _installed() -> None:
    try:
        version("ablate-example")
    except PackageNotFoundError:
        pytest.skip("ablate-example is not installed here; nox -s contract installs it")


def ablate(folder: Path, *arguments: str, code: int = 0) -> str:
    # Without this environment's variables: a store or data of the person who runs the tests.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ABLATE_")}
    done = subprocess.run(
        [Path(sys.executable).with_name("ablate"), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_it_is_listed_with_where_it_comes_from(tmp_path: Path) -> None:
    [line] = [row for row in ablate(tmp_path, "tricks").splitlines() if "label_noise" in row]
    assert f"ablate-example {version('ablate-example')}" in line
    assert "encode_targets" in line


def test_its_parameters_and_paper_are_shown(tmp_path: Path) -> None:
    shown = ablate(tmp_path, "tricks", "show", "label_noise")
    assert "1605.00055" in shown
    assert "default 0.1" in shown


def test_a_study_names_it_without_declaring_anything(tmp_path: Path) -> None:
    Path(tmp_path, "noise.toml").write_text(STUDY, encoding="utf-8")
    ablate(tmp_path, "check", "noise.toml")
    table = ablate(tmp_path, "run", "noise.toml", "--limit", "64")
    assert "label_noise" in table
    report: dict[str, Any] = json.loads(
        ablate(tmp_path, "report", "noise.toml", "--limit", "64", "--format", "json")
    )
    assert "label_noise" in json.dumps(report)


def test_no_plugins_leaves_it_out(tmp_path: Path) -> None:
    assert "label_noise" not in ablate(tmp_path, "tricks", "--no-plugins")
    Path(tmp_path, "noise.toml").write_text(STUDY, encoding="utf-8")
    ablate(tmp_path, "check", "noise.toml", "--no-plugins", code=2)


def test_a_wrong_parameter_is_one_line_with_its_place(tmp_path: Path) -> None:
    wrong = STUDY.replace("share = 0.5", "share = 2")
    Path(tmp_path, "noise.toml").write_text(wrong, encoding="utf-8")
    shown = ablate(tmp_path, "check", "noise.toml", code=2)
    assert shown.startswith("noise.toml:13: tricks.label_noise.share:")
