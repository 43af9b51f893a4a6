"""`ablate` in processes of its own, and who of them is left when they should be gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.helpers.cli_process import Done
from tests.helpers.environment import ROOT, environment
from tests.helpers.forked import MARK, Forked, server

Run = Callable[..., Done]  # the fixture `run`
HERE = Path(__file__).parent

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

    def __init__(self, started: subprocess.Popen[Any], output: Path, fresh: bool) -> None:
        self.pid = started.pid
        self.fresh = fresh
        self.poll = started.poll
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
    """Starts commands in a folder, each a `python -m ablate`, forked or not, on two cores."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[Any]] = []
        self._starting = threading.Lock()

    def run(self, study: Path, store: Path, *more: str, fresh: bool = False) -> Process:
        """`ablate run`."""
        given = ("run", str(study), "--limit", "32", "--device", "cpu", "--store", str(store))
        return self.start(*given, *more, fresh=fresh)

    def ingest(self, store: Path, flag: Path) -> Process:
        """One that does nothing but ingest: see ingesting.py."""
        return self._start("tests.helpers.ingesting", str(store), str(flag))

    def start(self, *arguments: str, fresh: bool = False) -> Process:
        """fresh: a process that imports everything anew, which takes ten seconds of processor."""
        return self._start("ablate", *arguments, fresh=fresh)

    def _start(self, module: str, *arguments: str, fresh: bool = False) -> Process:
        with self._starting:
            output = self.folder / f"output-{len(self.started) + 1}.txt"
            how: dict[str, Any] = {"cwd": self.folder, "start_new_session": True}
            how["env"] = environment(ROOT, OMP_NUM_THREADS="1", **{MARK: server().mark})
            command = [sys.executable, "-m", module, *arguments]
            with output.open("wb") as file, _two_cores():
                how |= {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
                start = subprocess.Popen if fresh else partial(Forked, cores=2)
                process = start(command, **how)
            self.started.append(process)
        return Process(process, output, fresh)

    def left(self) -> list[int]:
        """Processes that were started here, or by those, and live; and any with the folder in its
        command line."""
        known = {server().pid, os.getpid()}
        mark = f"{MARK}={server().mark}".encode()
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            if int(place.name) in known:
                continue
            with contextlib.suppress(OSError):  # ended meanwhile
                mine = mark in (place / "environ").read_bytes()
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
        for process in self.started:
            process.wait(30)


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
