"""A worker process spoken to by hand, forked unless it is said how to start it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ablate.core.trial import Trial
from tests.helpers.forked import Forked


def request(made: Trial, store: Path, **more: Any) -> dict[str, Any]:
    """What the runner would send to have this trial trained."""
    return {
        "op": "train",
        "id": 1,
        "trial": made.model_dump(mode="json"),
        "store": str(store),
        "data_root": None,
        "device": "cpu",
        "no_plugins": False,
        "shared_device": False,
        "keep_weights": False,
    } | more


class Worker:
    """`ablate.execution.trainer`, when it is ready.

    before: a command to start it with. fresh: whether it imports everything itself.
    """

    def __init__(self, *mode: str, before: tuple[str, ...] = (), fresh: bool = False) -> None:
        command = [*before, sys.executable, "-P", "-m", "ablate.execution.trainer", *mode]
        start = subprocess.Popen if before or fresh else Forked
        self.process = start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.event() == "ready"

    def event(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.last: dict[str, Any] = json.loads(line) if line else {"event": "gone"}
        return str(self.last["event"])

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write((json.dumps(message) + "\n").encode())
        self.process.stdin.flush()

    def train(self, made: Trial, store: Path, **more: Any) -> list[str]:
        """Train; the events until the trial's process or the worker has ended with it."""
        self.send(request(made, store, **more))
        events = [self.event()]
        while events[-1] not in ("exited", "gone"):
            events.append(self.event())
        return [e for e in events if e != "alive"]

    def close(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(timeout=30)
