"""SIGTERM and SIGHUP end any command as Ctrl-C does: in order, in silence, with their own code."""

from __future__ import annotations

import errno
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_process import ABLATE
from tests.helpers.environment import environment
from tests.helpers.forked import Forked
from tests.helpers.job_shell import CTRL_Z, shell

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def _ended(process: Any, number: int) -> None:
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (out, err.replace("\r", "")) == ("", "")
    assert process.returncode == 128 + number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_query_that_takes_long(store: Path, number: int) -> None:
    """DuckDB is told: a handler of Python's would wait for it."""
    sql = "select count(*) from range(1000000000000)"
    with Forked(
        [*ABLATE, "query", sql, "--timeout", "600"], cwd=store, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        _until_busy(process.pid)
        _ended(process, number)


@pytest.mark.parametrize("number", ENDING)
def test_verify_leaves_no_folder_behind(store: Path, tmp_path: Path, number: int) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with Forked(
        [*ABLATE, "verify", "-q"], cwd=store, env=environment(TMPDIR=temporary),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, real_workers=True,
    ) as process:  # fmt: skip
        end = time.monotonic() + 60
        while not list(temporary.glob("ablate-verify-*")):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.01)
        _ended(process, number)
    assert not list(temporary.glob("ablate-verify-*"))


def _until_busy(pid: int) -> None:
    """Wait until a process has used two seconds of processor."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if int(fields[11]) + int(fields[12]) > 2 * os.sysconf("SC_CLK_TCK"):
            return
        time.sleep(0.05)
    raise AssertionError("it does nothing")


def test_a_table_for_a_terminal_that_is_gone(store: Path) -> None:
    """No error, and no complaint of the interpreter's: whoever hung up does not read it."""
    leader, follower = pty.openpty()
    os.close(leader)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        os.write(follower, b"x")
    for command in (["status"], ["report"], ["run", "study.toml", "--limit", "40"]):
        how = {"cwd": store, "env": environment(), "stdout": follower, "stdin": follower}
        with Forked([*ABLATE, *command], stderr=subprocess.PIPE, **how) as process:
            _, said = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGHUP
        assert b"error" not in said
        assert b"Exception" not in said
    os.close(follower)


def test_the_cursor_is_there_while_a_watch_is_stopped(store: Path) -> None:
    words = " ".join([sys.executable, "-m", "ablate", "status", "--watch", "0.2"])
    with shell(store) as on:
        # It watches until something of a study is there.
        on.type(f"{words} --store nothing-yet\n")
        on.until(lambda: not on.cursor_is_shown, "the drawing")
        on.type(CTRL_Z)
        at = on.says("Stopped")
        assert on.cursor_is_shown
        on.type("fg\n")
        on.until(lambda: not on.cursor_is_shown, "the drawing again")
        on.type("\x03")
        on.until(lambda: on.cursor_is_shown, "the end")
        on.type("echo ended with $?\n")
        on.says("ended with 0", at)
