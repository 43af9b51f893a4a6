"""Who is killed, and when: each function waits for a moment, sends signal 9, says what it hit."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

from tests.helpers.fault_runs import Cli, Process
from tests.helpers.spool_rows import Acknowledged

IN = {b"i": "in a transaction", b"r": "making the database anew"}  # by ingesting.py's flags
AIM = 5.0  # seconds that a moment is waited for


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def training(store: Path) -> dict[int, Path]:
    """Processes that train, and their attempts."""
    found = {}
    for path in (store / "trials").glob("*/2*/metrics.jsonl"):
        line, newline, _ = path.read_bytes().partition(b"\n")
        if newline and not (path.parent / "done.json").exists():
            pid = json.loads(line)["pid"]
            if alive(pid):
                found[pid] = path.parent
    return found


def being_written(attempt: Path) -> bool:
    """Whether a checkpoint is: its temporary file, or its checksum without it."""
    names = {path.name for path in attempt.iterdir()}
    sums = {n.removesuffix(".sha256") for n in names if n.endswith(".pt.sha256")}
    return any(n.startswith(".checkpoint-") for n in names) or not sums <= names


class Killer:
    """Kills what belongs to one store, at moments drawn from `chance`; `hit` counts them."""

    def __init__(self, cli: Cli, store: Path, chance: random.Random, hit: Counter[str]) -> None:
        self.cli = cli
        self.store = store
        self.chance = chance
        self.hit = hit
        self.acknowledged = Acknowledged(store)
        self.gone_after = 0.0  # s, the longest that any process outlived its coordinator

    def _stopped(self, pid: int) -> bool:
        """Stop it, so that it can be looked at as it is killed. False if it has ended."""
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            return False
        return alive(pid)

    def _end(self, pid: int, what: str) -> bool:
        self.acknowledged.look()
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it has just ended by itself: no kill to count
            return False
        self.acknowledged.look()
        self.hit[what] += 1
        return True

    def trial(self, run: Process) -> bool:
        """A process that trains, at any moment of it."""
        time.sleep(self.chance.uniform(0, 0.3))
        end = time.monotonic() + AIM
        while time.monotonic() < end and run.poll() is None:
            for pid, attempt in training(self.store).items():
                if self._stopped(pid):
                    if not (attempt / "done.json").exists():
                        return self._end(pid, "trial")
                    os.kill(pid, signal.SIGCONT)
            time.sleep(0.002)
        return False

    def checkpoint(self, run: Process) -> bool:
        """A process that trains, while it writes a checkpoint."""
        end = time.monotonic() + AIM
        while time.monotonic() < end and run.poll() is None:
            for pid, attempt in training(self.store).items():
                if not being_written(attempt):
                    continue
                time.sleep(self.chance.uniform(0, 0.01))
                if not self._stopped(pid):
                    continue
                if being_written(attempt) and not (attempt / "done.json").exists():
                    return self._end(pid, "checkpoint")
                os.kill(pid, signal.SIGCONT)
            time.sleep(0.001)
        return False

    def server(self, run: Process) -> bool:
        """The process that forks those that train."""
        time.sleep(self.chance.uniform(0, 0.3))
        end = time.monotonic() + AIM
        while time.monotonic() < end and run.poll() is None:
            for pid in training(self.store):
                if alive(pid) and (server := parent(pid)) not in (1, run.pid):
                    return self._end(server, "server")
            time.sleep(0.002)
        return False

    def coordinator(self, run: Process) -> bool:
        """The process that was started by `ablate run`, at any moment of it."""
        time.sleep(self.chance.uniform(0, 1))
        return self._coordinator(run, "coordinator")

    def beginning(self, run: Process) -> bool:
        """The same in its first moments: nothing trains, or nothing has begun to."""
        time.sleep(self.chance.uniform(0, 0.8))
        return self._coordinator(run, "beginning")

    def ingesting(self, run: Process) -> bool:
        """The same while it has the database open."""
        database = os.fsencode(self.store / "results.duckdb")
        end = time.monotonic() + AIM
        while time.monotonic() < end and run.poll() is None:
            if _has_open(run.pid, database):
                time.sleep(self.chance.uniform(0, 0.01))
                if not self._stopped(run.pid):
                    break
                if _has_open(run.pid, database):
                    return self._coordinator(run, "ingesting")
                os.kill(run.pid, signal.SIGCONT)
            time.sleep(0.001)
        return False

    def _coordinator(self, run: Process, what: str) -> bool:
        if run.poll() is not None or not self._end(run.pid, what):
            return False
        run.wait()
        self.gone_after = max(self.gone_after, self.cli.wait_until_none_is_left())
        self.acknowledged.look()
        return True

    def ingester(self, run: Process) -> bool:
        """A process that ingests beside the run: anywhere, or aimed at a transaction."""
        flag = self.cli.folder / "flag"
        flag.write_bytes(b" ")
        one = self.cli.ingest(self.store, flag)
        await_moment(flag, self.chance)
        assert self._stopped(one.pid), one.text()
        self.hit[IN.get(flag.read_bytes(), "between transactions")] += 1
        self._end(one.pid, "ingester")
        one.wait()
        return True


def await_moment(flag: Path, chance: random.Random) -> None:
    """Until an ingester that keeps this flag is to be killed: mostly while it writes."""
    end = time.monotonic() + AIM
    if chance.random() < 0.3:
        time.sleep(chance.uniform(0, 0.5))
        return
    while time.monotonic() < end and flag.read_bytes() not in IN:
        time.sleep(0.0005)
    time.sleep(chance.uniform(0, 0.01))


def _has_open(pid: int, path: bytes) -> bool:
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for number in numbers:
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/{number}".encode()).startswith(path):
                return True
    return False
