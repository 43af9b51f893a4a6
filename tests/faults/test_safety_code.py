"""Whose code runs: what a study names, and nothing that lies about. And what a run leaves behind:
files as the umask wants them, and nothing of the environment."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ablate.cli import errors
from tests.helpers.environment import ROOT, environment

if TYPE_CHECKING:
    from tests.helpers.fault_table import Proved

TOKEN = "tok-5f3a-kept-from-everybody"
STUDY = """\
[study]
datasets = ["digits"]
seeds    = 1
stack    = ["fp16"]

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 16
image_size = 8
"""
# As names in a working directory: of the standard library, of packages, of ours.
SHADOWS = (
    *("torch", "numpy", "json", "random", "typing", "sitecustomize", "usercustomize", "ablate"),
    *("ablate_tricks", "duckdb", "pydantic", "rich", "pickle", "site", "my_trick", "tokenize"),
)
# What `ablate` is when it is installed: a script whose own folder Python looks into first.
SCRIPT = """\
import os, sys
from ablate.cli.main import main
os.umask(0o027)
words = " ".join(sys.argv[1:]).split(" then ")
for command in words:
    code = main(command.split())
    if code:
        sys.exit(code)
"""


def marking(name: str, markers: Path) -> str:
    return f"open({str(markers / name)!r}, 'w').close()\nraise ImportError('not this one')\n"


@pytest.fixture
def lying_about(tmp_path: Path) -> tuple[Path, Path, dict[str, str]]:
    """(working directory, folder of markers, environment): modules that shadow others, a plugin
    that is installed and not named, a loose trick that no study names."""
    work, markers, installed = tmp_path / "work", tmp_path / "markers", tmp_path / "installed"
    for folder in (work, markers, installed, tmp_path / "bin", tmp_path / "temporary"):
        folder.mkdir()
    for name in SHADOWS:
        (work / f"{name}.py").write_text(marking(name, markers))
    (work / "study.toml").write_text(STUDY)
    (installed / "unasked.py").write_text(marking("plugin", markers))
    info = installed / "ablate_unasked-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ablate-unasked\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ablate.tricks]\nunasked = unasked:Unasked\n")
    (tmp_path / "bin" / "ablate-script").write_text(SCRIPT)
    given = environment(
        *(installed, ROOT),
        TMPDIR=str(tmp_path / "temporary"),
        HF_TOKEN=TOKEN,
        AWS_SECRET_ACCESS_KEY=TOKEN,
        ABLATE_NOTE=TOKEN,
    )
    return work, markers, given


def ablate(
    lying: tuple[Path, Path, dict[str, str]], *arguments: str
) -> subprocess.CompletedProcess[str]:
    work, _, given = lying
    script = work.parent / "bin" / "ablate-script"
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=work, env=given, capture_output=True, text=True, timeout=250,
    )  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
def test_a_run_imports_what_its_study_names(
    lying_about: tuple[Path, Path, dict[str, str]], proved: Proved, long: bool
) -> None:
    work, markers, _ = lying_about
    if not long:  # a real run takes two processes that import torch
        checked = ablate(lying_about, "check study.toml then status --store nowhere")
        assert checked.returncode == 2, checked.stderr
        assert "study.toml: ok" in checked.stdout
        assert not list(markers.iterdir())
        proved(
            "safety", "modules in the working directory, plugins that no study names",
            f"{len(SHADOWS)} files named like others, an installed package, `check`",
            len(SHADOWS) + 1, "none is imported",
        )  # fmt: skip
        return
    commands = (
        "run study.toml --limit 40", "report study -o report.html", "report study -o report.md",
        "report study --methods", "export study -o out.zip", "status",
    )  # fmt: skip
    ran = ablate(lying_about, " then ".join(commands))
    assert ran.returncode == 0, ran.stderr
    assert "fp16" in ran.stdout
    assert sorted(p.name for p in markers.iterdir()) == []
    proved(
        "safety", "modules in the working directory, plugins that no study names",
        f"{len(SHADOWS)} files named like others, an installed package, in a run with its workers",
        len(SHADOWS) + 1, "none is imported",
    )  # fmt: skip
    # What was written: as the umask has it, and nothing of the environment.
    written = [p for p in work.rglob("*") if p.suffix != ".py" and p.name != "study.toml"]
    plain = [p for p in written if p.is_file()]
    wrong = {
        str(p.relative_to(work)): oct(stat.S_IMODE(p.stat().st_mode))
        for p in written
        if stat.S_IMODE(p.stat().st_mode) != (0o750 if p.is_dir() else 0o640)
    }
    assert not wrong
    for path in plain:
        assert TOKEN.encode() not in path.read_bytes(), path
    with zipfile.ZipFile(work / "out.zip") as archive:
        for name in archive.namelist():
            assert TOKEN.encode() not in archive.read(name), name
            assert str(work).encode() not in archive.read(name), name
    assert TOKEN not in ran.stdout + ran.stderr
    proved(
        "safety", "secrets in the environment", "three variables; every file of the store, the "
        "reports and the export read", len(plain), "none of them is written anywhere",
    )  # fmt: skip


def test_no_plugins_refuses_what_is_not_bundled(
    lying_about: tuple[Path, Path, dict[str, str]], proved: Proved
) -> None:
    """In one process: what is refused is not imported, and what is named by its place neither."""
    work, markers, given = lying_about
    (work / "installed.toml").write_text(STUDY.replace('"fp16"', '"unasked"'))
    loose = STUDY.replace('["fp16"]', '["my_trick"]\nplugins = ["./my_trick.py"]')
    (work / "loose.toml").write_text(loose)
    program = """
        import sys
        sys.path[:] = [p for p in sys.path if p]
        from ablate.cli.main import main
        for command in ("check", "plan", "run"):
            for study in ("installed.toml", "loose.toml"):
                assert main([command, study, "--no-plugins"]) == 2, (command, study)
        assert main(["tricks", "--no-plugins"]) == 0
        assert "unasked" not in sys.modules
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(program)],
        cwd=work, env=given, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "unknown trick 'unasked'" in done.stderr + done.stdout
    assert "my_trick" in done.stderr + done.stdout
    assert not list(markers.iterdir())
    proved(
        "safety", "`--no-plugins` with a study that names a plugin or a loose file",
        "check, plan, run, tricks", 7, "none is imported",
    )  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_a_link_in_a_crash_report_s_place_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proved: Proved
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    shared, store = tmp_path / "shared", tmp_path / "store"
    shared.mkdir()
    store.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(shared))
    times = 0
    for folder in (shared, store):
        for hour in range(24):
            for minute in range(60):
                (folder / f"crash-{hour:02}{minute:02}.txt").symlink_to(victim)
    for place in (tmp_path / "no store", store):
        saved = errors._save("a traceback", place)
        assert saved is not None
        assert not saved.is_symlink()
        assert "a traceback" in saved.read_text()
        times += 1
    assert stat.S_IMODE(errors._save("x", tmp_path / "no store").stat().st_mode) == 0o600  # type: ignore[union-attr]
    assert victim.read_text() == "precious"
    proved(
        "safety", "links in the places of crash reports", "one for every minute of the day, in the "
        "folder for temporary files and in the store", times, "none is followed",
    )  # fmt: skip
