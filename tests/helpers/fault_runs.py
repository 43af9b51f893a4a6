"""`ablate` in processes of its own, and who of them is left when they should be gone."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.helpers.cli_process import Done
from tests.helpers.environment import ROOT, environment

Run = Callable[..., Done]  # the fixture `run`
HERE = Path(__file__).parent
_MARK = "FAULT_RUN"  # in the environment of whatever is started here, and of what that starts

STUDY = """\
[study]
datasets = ["digits"]
seeds    = {seeds}
stack    = [["mixup", "heavy"]]
plugins  = ["./heavy_trick.py"]

[recipe]
model      = "resnet8"
epochs     = 3
batch_size = 16
image_size = 8
"""


class Undisturbed(NamedTuple):
    """A study, and the store of a run of it that nothing happened to."""

    study: Path
    store: Path


def write_study(folder: Path, seeds: int) -> Path:
    """A study of two rows on 32 digits: a trial takes a third of a second of processor."""
    (folder / "heavy_trick.py").write_bytes((HERE / "heavy_trick.py").read_bytes())
    study = folder / f"faults-{seeds}.toml"
    study.write_text(STUDY.format(seeds=seeds))
    return study


class Process:
    """A command that was started, in a session of its own."""

    def __init__(
        self, pid: int, poll: Callable[[], int | None], output: Path, fresh: bool = False
    ) -> None:
        self.pid = pid
        self.fresh = fresh
        self.poll = poll
        self.output = output

    def wait(self, timeout: float = 600) -> int:
        until(lambda: self.poll() is not None, f"the end of {self.pid}", timeout)
        code = self.poll()
        assert code is not None
        return code

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def text(self) -> str:
        return self.output.read_text("utf-8", "replace") if self.output.exists() else ""


class Cli:
    """Starts commands in a folder: each a `python -m ablate`, or a fork of forked_cli.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started = 0
        self.cpu = 0.0  # seconds, of forked commands that have ended
        self._mark = secrets.token_hex(8)
        self._parent: subprocess.Popen[bytes] | None = None
        self._answers: list[int] = []
        self._codes: dict[int, int] = {}
        self._fresh: list[subprocess.Popen[bytes]] = []
        self._changed = threading.Condition()
        self._asking = threading.Lock()

    def run(self, study: Path, store: Path, *more: str, fresh: bool = False) -> Process:
        """`ablate run`."""
        given = ("run", str(study), "--limit", "32", "--device", "cpu", "--store", str(store))
        return self.start(*given, *more, fresh=fresh)

    def ingest(self, store: Path, flag: Path) -> Process:
        """One that does nothing but ingest: see forked_cli.py."""
        output = self._output()
        return self._forked({"ingest": str(store), "flag": str(flag)}, output)

    def start(self, *arguments: str, fresh: bool = False) -> Process:
        """fresh: a process that imports everything anew, which takes ten seconds of processor."""
        output = self._output()
        if not fresh:
            return self._forked({"arguments": arguments}, output)
        with output.open("wb") as file, _two_cores():
            process = subprocess.Popen(
                [sys.executable, "-m", "ablate", *arguments],
                cwd=self.folder, env=self._environment(), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip
        self._fresh.append(process)
        return Process(process.pid, process.poll, output, fresh=True)

    def _output(self) -> Path:
        with self._asking:
            self.started += 1
            return self.folder / f"output-{self.started}.txt"

    def _environment(self) -> dict[str, str]:
        return environment(ROOT, **{_MARK: self._mark}, OMP_NUM_THREADS="1")

    def _forked(self, request: dict[str, Any], output: Path) -> Process:
        with self._asking:
            return self._asked(request, output)

    def _asked(self, request: dict[str, Any], output: Path) -> Process:
        if self._parent is None:
            with _two_cores():
                self._parent = subprocess.Popen(
                    [sys.executable, "-m", "tests.helpers.forked_cli"],
                    env=self._environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                )  # fmt: skip
            threading.Thread(target=self._read, args=(self._parent,), daemon=True).start()
            self._answer()
        assert self._parent.stdin is not None
        request |= {"folder": str(self.folder), "output": str(output)}
        line = json.dumps(request) + "\n"
        self._parent.stdin.write(line.encode())
        self._parent.stdin.flush()
        pid = self._answer()
        return Process(pid, lambda: self._codes.get(pid), output)

    def _answer(self) -> int:
        with self._changed:
            assert self._changed.wait_for(lambda: self._answers, 900), "no process was forked"
            return self._answers.pop(0)

    def _read(self, parent: subprocess.Popen[bytes]) -> None:
        assert parent.stdout is not None
        with parent.stdout as lines:
            for line in lines:
                said = json.loads(line)
                with self._changed:
                    if "code" in said:
                        self._codes[said["pid"]] = said["code"]
                        self.cpu += said["cpu"]
                    else:
                        self._codes.pop(said["pid"], None)  # the number is used again
                        self._answers.append(said["pid"])
                    self._changed.notify_all()

    def left(self) -> list[int]:
        """Processes that were started here, or by those, and live; and any with the folder in its
        command line."""
        known = {self._parent.pid if self._parent else 0, os.getpid()}
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            if int(place.name) in known:
                continue
            with contextlib.suppress(OSError):  # ended meanwhile
                mine = f"{_MARK}={self._mark}".encode() in (place / "environ").read_bytes()
                named = os.fsencode(self.folder) in (place / "cmdline").read_bytes()
                if mine or named:
                    found.append(int(place.name))
        return found

    def wait_until_none_is_left(self) -> float:
        """How long that took in s: one that is importing sees only afterwards that nobody wants
        it any more."""
        began = time.monotonic()
        until(lambda: not self.left(), "the end of all processes: orphans", 120)
        return time.monotonic() - began

    def close(self) -> None:
        for pid in self.left():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for process in self._fresh:
            process.wait(30)
        if self._parent is not None:
            assert self._parent.stdin is not None
            self._parent.stdin.close()
            self._parent.wait(30)


@contextlib.contextmanager
def _two_cores() -> Iterator[None]:
    """What is started inside trains two trials at once, however many cores there are."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def until(holds: Callable[[], object], what: str, seconds: float = 600) -> None:
    """Wait, looking every few milliseconds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.01)
