"""The installed wheel, away from the checkout: commands, shipped studies, entry points."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ablate
from tests.helpers.environment import environment

IN_CHECKOUT = (Path(ablate.__file__).parents[1] / "pyproject.toml").is_file()

pytestmark = pytest.mark.skipif(
    IN_CHECKOUT, reason="ablate is not installed from a wheel here; nox -s contract does"
)


def command(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("ablate"), *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_shipped_studies_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    in_folders = ("paper/table4", "studies/imagenette/table6.toml", "followup/vgg")
    for name in ("quickstart", "group1", "studies/group2.toml", "bag_of_tricks", *in_folders):
        assert "ok" in command(tmp_path, "check", name)


def test_quickstart_trains_and_the_second_time_has_nothing_to_do(tmp_path: Path) -> None:
    options = ("--limit", "64", "--seeds", "1", "--set", "recipe.epochs=1")
    first = command(tmp_path, "run", "quickstart", *options)
    assert "label_smoothing" in first
    folders = sorted((tmp_path / "ablate-results" / "trials").iterdir())
    assert command(tmp_path, "run", "quickstart", *options) == first
    assert sorted((tmp_path / "ablate-results" / "trials").iterdir()) == folders


def test_every_bundled_trick_is_listed(tmp_path: Path) -> None:
    listed = command(tmp_path, "tricks", "--no-plugins")
    for name in ("mixup", "resnet_d", "warmup", "zero_gamma"):
        assert f"\n{name} " in listed
    assert "✗" not in listed


def test_it_is_typed() -> None:
    assert Path(ablate.__file__).with_name("py.typed").is_file()
