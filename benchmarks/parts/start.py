"""How long `ablate --help` takes, beside an interpreter that does nothing, in turn."""

from __future__ import annotations

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


def seconds(command: Sequence[str]) -> float:
    """Of a process of its own."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure(place: Place) -> Result:
    """Each command in turn; the first round fills the page cache."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(2 if place.tiny else max(place.repeats, 15) + 1):
        for name, command in COMMANDS.items():
            took = seconds(command)
            if number:
                taken[name].append(took)
    bars = {"ablate --help": Bar("≤", 0.25)}
    return Result([Row(name, values, "s", bars.get(name)) for name, values in taken.items()])
