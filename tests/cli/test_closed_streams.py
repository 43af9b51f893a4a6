"""A reader that leaves, and streams that were never open: training goes on, nothing is dumped."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import forked
from tests.helpers.cli_process import ABLATE, run_cli
from tests.helpers.environment import environment

# One trial of each row is missing in `store`, which has seeds 0 and 1.
MORE = ("run", "study.toml", "--limit", "40", "--seeds", "3")


def _done(store: Path) -> int:
    (study,) = json.loads(run_cli("status", "--json", cwd=store).stdout)["studies"]
    return list(study["statuses"].values()).count("done")


def _with_reader_of_one_line(
    store: Path, *arguments: str, stdout: bool, stderr: bool
) -> tuple[int, bytes, bytes, bytes]:
    """(exit code, the line, the rest of stdout and of stderr where it is not in the pipe)."""
    reading, writing = os.pipe()
    process = forked.Forked(
        [*ABLATE, *arguments], cwd=store, env=environment(),
        stdout=writing if stdout else subprocess.PIPE,
        stderr=writing if stderr else subprocess.PIPE,
    )  # fmt: skip
    os.close(writing)
    with open(reading, "rb", buffering=0) as pipe:
        line = pipe.readline()
    out, err = process.communicate(timeout=120)
    return process.returncode, line, out or b"", err or b""


@pytest.mark.long
def test_progress_that_nobody_reads_does_not_stop_a_run(store: Path) -> None:
    code, line, out, _ = _with_reader_of_one_line(store, *MORE, stdout=False, stderr=True)
    assert b"study: 9 trials, " in line
    assert code == 0
    assert _done(store) == 9
    assert out == run_cli("report", "study.toml", "--limit", "40", "--seeds", "3", cwd=store
                          ).stdout.encode()  # fmt: skip


def test_a_run_whose_both_streams_close_trains_all_and_ends_quietly(store: Path) -> None:
    """`ablate run … 2>&1 | head -1`."""
    code, line, *_ = _with_reader_of_one_line(store, *MORE, stdout=True, stderr=True)
    assert b"study: 9 trials, " in line
    assert code == 141  # of the table, which is what the pipe was closed on: as SIGPIPE
    assert _done(store) == 9


def test_events_that_nobody_reads_do_not_stop_a_run(store: Path) -> None:
    code, line, _, err = _with_reader_of_one_line(store, *MORE, "--json", stdout=True, stderr=False)
    assert json.loads(line)["event"] == "study_start"
    assert (code, err) == (0, b"")
    assert _done(store) == 9


@pytest.mark.parametrize("command", ["tricks", "models", "report", "status"])
def test_results_that_nobody_reads_end_as_the_signal_does(store: Path, command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = forked.run(
        [*ABLATE, command], cwd=store, env=environment(), stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&- <&-"])
def test_streams_that_were_never_open_are_no_error(store: Path, closed: str) -> None:
    """Its trials train: their processes are started with what there is instead."""
    how: dict[str, Any] = {"cwd": store, "env": environment(), "capture_output": True, "text": True}
    if len(closed.split()) > 1:  # an interpreter that starts so; the others are forked
        done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *ABLATE, *MORE], **how)
    else:
        number = {"<&-": 0, ">&-": 1, "2>&-": 2}[closed]
        done = forked.run([*ABLATE, *MORE], closed=[number], real_workers=True, **how)
    assert done.returncode == 0, done.stderr
    assert _done(store) == 9
    assert "Error" not in done.stderr
    assert ("baseline" in done.stdout) == (">&-" not in closed.split())
