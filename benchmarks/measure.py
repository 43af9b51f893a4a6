"""What all parts share: rows of results, pairs, waiting for a device, where a result comes from."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ablate.util.devices import cpu_name


@dataclass(frozen=True)
class Bar:
    """What must be reached: at most, or at least, this."""

    sign: str  # "≤" or "≥"
    value: float

    def met(self, value: float) -> bool:
        """Whether a median does."""
        return value <= self.value if self.sign == "≤" else value >= self.value

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g}"


@dataclass(frozen=True)
class Row:
    """One line of the table: values of repeats, and the bar where the issue sets one."""

    what: str
    values: Sequence[float]
    unit: str = "×"
    bar: Bar | None = None

    @property
    def median(self) -> float:
        """Of the repeats."""
        return statistics.median(self.values)

    def quartiles(self) -> tuple[float, float]:
        """The first and the third; least and largest of three values or fewer."""
        if len(self.values) < 4:
            return min(self.values), max(self.values)
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return first, third

    def interval(self) -> tuple[float, float] | None:
        """The shortest pair of ranks that has the median between it in 95% of samples or more.

        The number of values below the median is binomial. None for fewer than six values.
        """
        ordered, n = sorted(self.values), len(self.values)
        outside, rank = 0.0, -1  # the chance that the median lies below the value of this rank
        while 2 * (outside := outside + math.comb(n, rank + 1) / 2**n) <= 0.05:
            rank += 1
        return None if rank < 0 else (ordered[rank], ordered[n - 1 - rank])

    def document(self) -> dict[str, Any]:
        """As JSON."""
        first, third = self.quartiles()
        return {
            "what": self.what,
            "unit": self.unit,
            "n": len(self.values),
            "median": self.median,
            "quartiles": [first, third],
            "median_95": self.interval(),
            "range": [min(self.values), max(self.values)],
            "bar": None if self.bar is None else str(self.bar),
            "met": None if self.bar is None else self.bar.met(self.median),
            "values": list(self.values),
        }


@dataclass
class Result:
    """What a part found: rows for the table, remarks, and anything else worth keeping."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        rows = [row.document() for row in self.rows]
        return {"rows": rows, "notes": self.notes, "details": self.details}


class LeftOutError(Exception):
    """The part cannot be measured here; the message says why."""


class UnfinishedError(Exception):
    """The minutes are over; the same call continues."""


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Pair by pair."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def provenance(device: torch.device) -> dict[str, Any]:
    """Hardware, versions, command, date."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in ("ablate-study", "torch", "torchvision", "timm", "numpy", "pillow"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    cuda = device.type == "cuda"
    memory = (
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    )
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.argv]),
        "device": torch.cuda.get_device_name(device) if cuda else cpu_name(),
        "cuda": torch.version.cuda if cuda else None,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        **versions,
    }


def number(value: float) -> str:
    """Three significant digits or the whole number."""
    return (
        f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if value < 1 else f"{value:.4g}"
    )


def table(documents: Sequence[dict[str, Any]]) -> str:
    """The parts' results as markdown."""
    lines = [
        "| part | what | median | its 95% | quartiles | n | bar | met |",
        "| :-- | :-- | --: | :-: | :-: | --: | --: | :-: |",
    ]
    notes = []
    for document in documents:
        if "left_out" in document:
            notes.append(f"- {document['part']}: left out: {document['left_out']}")
            continue
        for row in document["rows"]:
            low, high = (number(value) for value in row["quartiles"])
            sure = row["median_95"]
            between = "" if sure is None else " – ".join(number(value) for value in sure)
            met = {None: "", True: "yes", False: "**no**"}[row["met"]]
            unit = "" if row["unit"] == "×" else f" {row['unit']}"
            lines.append(
                f"| {document['part']} | {row['what']} | {number(row['median'])}{unit} "
                f"| {between} | {low} – {high} | {row['n']} | {row['bar'] or ''} | {met} |"
            )
        notes += [f"- {document['part']}: {note}" for note in document["notes"]]
    where = [
        f"- {d['part']}: {d['date']}, {d['device']}, {d['cores']} cores, Python {d['python']}, "
        f"torch {d['torch']}, torchvision {d['torchvision']}, timm {d['timm']}, ablate "
        f"{d['ablate-study']}, {d['seconds']:.0f} s, load before {d['load'][0]:.1f}. "
        f"`{d['command']}`"
        for d in documents
        if d.get("load")
    ]
    return "\n".join([*lines, "", *notes, "", *where, ""])


def write(path: Path, document: Any) -> None:
    """JSON, whole or not at all."""
    made = path.with_suffix(".new")
    made.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    made.replace(path)
