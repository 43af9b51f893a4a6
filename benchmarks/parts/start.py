"""How long `ablate --help` takes, beside an interpreter that does nothing, in turn."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from measure import Bar, Result, Row
from place import Place

COMMANDS = {
    "ablate --help": [sys.executable, "-m", "ablate", "--help"],
    "python -c pass": [sys.executable, "-c", "pass"],
}


def seconds(command: Sequence[str]) -> tuple[float, float]:
    """(wall, CPU) of a process of its own."""
    began, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    spent = after.children_user + after.children_system
    return time.perf_counter() - began, spent - before.children_user - before.children_system


def measure(place: Place) -> Result:
    """Each command in turn; the first round fills the page cache."""
    wall: dict[str, list[float]] = {name: [] for name in COMMANDS}
    cpu: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(2 if place.tiny else max(place.repeats, 25) + 1):
        for name, command in COMMANDS.items():
            took = seconds(command)
            if number:
                wall[name].append(took[0])
                cpu[name].append(took[1])
    bars = {"ablate --help": Bar("≤", 0.25)}
    rows = [Row(name, values, "s", bars.get(name)) for name, values in wall.items()]
    rows += [Row(f"{name}, CPU time", values, "s") for name, values in cpu.items()]
    return Result(rows, ["a shared machine: where wall is far above CPU time, it waited"])
