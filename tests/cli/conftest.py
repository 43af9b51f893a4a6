from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ablate.cli.main import main
from tests.helpers.cli_process import STUDY, Cli, Done, run_cli
from tests.helpers.environment import forget_ours


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """`cli("run", "study.toml")` in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    forget_ours(monkeypatch)

    def run(*arguments: str | Path) -> Done:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Done(code, *capfd.readouterr())

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
