"""`ablate gc` killed at any moment, and beside processes that save runs, train and read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.environment import ROOT, environment

if TYPE_CHECKING:
    from tests.helpers.fault_table import Proved


def program(name: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"tests.helpers.{name}", *map(str, arguments)]
    return subprocess.Popen(command, env=environment(ROOT), stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment(tmp_path: Path, proved: Proved, long: bool) -> None:
    run = program("gc_killed", tmp_path, 100 if long else 3)
    out, _ = run.communicate(timeout=280)
    assert run.returncode == 0
    counts = json.loads(out)
    assert counts["midway"] > 0, "no kill came while something was being removed"
    proved(
        "kills", "kill -9 of `ablate gc`, which is then run again",
        f"at random moments, {counts['midway']:,} of them between the first of "
        f"{counts['files']:,} files and the last",
        counts["kills"], "0 files that a study needs; nothing is left over",
    )  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")
def test_beside_runs_that_begin_and_train(tmp_path: Path, proved: Proved, long: bool) -> None:
    """Two processes save runs whose trials lie there as nobody's, or are yet to be trained."""
    rounds = 100 if long else 15
    run = program("gc_raced", tmp_path, rounds)
    out, _ = run.communicate(timeout=280)
    assert run.returncode == 0
    counts = json.loads(out)
    assert counts["removed"] > 0
    assert counts["kept"] > 0
    proved(
        "runs", "`ablate gc` in a loop beside two processes that save runs and train",
        f"{counts['collections']:,} times gc; {counts['removed']:,} trials of no study removed, "
        f"{counts['kept']:,} found again by a run that had just named them",
        counts["trials"], f"0 of {counts['trials']:,} trials, 0 definitions",
    )  # fmt: skip
