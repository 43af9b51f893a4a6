from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_process import STUDY, run_cli

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """`cli("run", "study.toml")` in an empty folder."""

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        return run_cli(*arguments, **{"cwd": tmp_path, **options})  # type: ignore[arg-type]

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """(folder with study.toml and a store that has all of it, stdout and stderr of that run)."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "study.toml").write_text(STUDY)
    done = run_cli("run", "study.toml", "--limit", "40", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


@pytest.fixture
def store(trained: tuple[Path, str, str], tmp_path: Path) -> Path:
    """A copy of the trained folder, to work in."""
    folder = tmp_path / "work"
    shutil.copytree(trained[0], folder)
    return folder
