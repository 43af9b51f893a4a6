"""`ablate gc` killed at any moment, and beside processes that save runs, train and read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fault_table import Proved


HERE = Path(__file__).parent
PATHS = [str(HERE), str(HERE.parent / "cli"), str(HERE.parents[1])]


def program(*arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment(tmp_path: Path, proved: Proved, long: bool) -> None:
    run = program(HERE / "gc_killed.py", tmp_path, 100 if long else 3)
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
    run = program(HERE / "gc_raced.py", tmp_path, rounds)
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
