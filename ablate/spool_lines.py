"""Reading metrics.jsonl: whole lines, epochs, and what can be told from its end alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

_NAN: Final = float("nan")
_TAIL: Final = 1 << 14  # bytes from the end that mostly have an epoch's line


class Lines(NamedTuple):
    """Complete lines of a spool file.

    records: the JSON objects; offset: where to read on; invalid: (byte offset, bytes) of complete
    lines that are no JSON object, set aside.
    """

    records: list[dict[str, Any]]
    offset: int
    invalid: list[tuple[int, bytes]]


def read_lines(path: Path, offset: int = 0) -> Lines:
    """Complete lines from byte `offset` on. A torn last line is left for the next time."""
    with path.open("rb") as file:
        file.seek(offset)
        return _parsed(file.read(), offset)


def read_pieces(path: Path, offset: int, size: int) -> Iterator[Lines]:
    """As `read_lines`, some `size` bytes at a time; nothing where no line is complete."""
    with path.open("rb") as file:
        file.seek(offset)
        left = b""
        while data := file.read(size):
            left += data
            whole = left.rfind(b"\n") + 1
            if whole:
                lines = _parsed(left[:whole], offset)
                offset, left = lines.offset, left[whole:]
                yield lines


def _parsed(data: bytes, offset: int) -> Lines:
    records: list[dict[str, Any]] = []
    invalid: list[tuple[int, bytes]] = []
    *lines, _torn = data.split(b"\n")
    for line in lines:
        record = _record(line)
        if record is not None:
            records.append(record)
        else:
            invalid.append((offset, line))
        offset += len(line) + 1
    return Lines(records, offset, invalid)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def first_line(path: Path) -> dict[str, Any]:
    """What an attempt began with; empty if it is not there, torn or damaged."""
    try:
        with path.open("rb") as file:
            line = file.readline(_TAIL)
    except OSError:
        return {}
    return (_record(line) or {}) if line.endswith(b"\n") else {}


def last_epoch(path: Path) -> int:
    """The epoch written last, 0 without one. Reads the end of the file, and more as it must."""
    size = _TAIL
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            while True:
                start = max(0, end - size)
                file.seek(start)
                # The first piece has no beginning, and what follows the last newline is torn.
                for line in reversed(file.read(end - start).split(b"\n")[start > 0 : -1]):
                    record = _record(line)
                    if record is not None and (epoch := _epoch(record)):
                        return epoch
                if start == 0:
                    return 0
                size *= 8
    except OSError:
        return 0


def read_epochs(path: Path) -> list[dict[str, Any]]:
    """Epochs in order: the metrics, and "epoch" (1-based), "seconds", "steps" and "images".

    One that was written twice is as written last; numbers that were not finite are NaN.
    """
    by_epoch: dict[int, dict[str, Any]] = {}
    try:
        records = read_lines(path).records
    except OSError:
        return []
    for record in records:
        if record.get("kind") == "epoch":
            numbers = {k: record[k] for k in ("epoch", "seconds", "steps", "images") if k in record}
            by_epoch[_number(record)] = finite_or_nan(record.get("metrics")) | numbers
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]


def seconds_of(epoch: dict[str, Any]) -> float:
    """Wall time of an epoch that `read_epochs` gave; NaN where it is not known."""
    seconds = epoch.get("seconds")
    return seconds if isinstance(seconds, int | float) else _NAN


def finite_or_nan(metrics: Any) -> dict[str, float]:
    """Metrics as written: null is a number that was not finite."""
    if not isinstance(metrics, dict):
        return {}
    return {name: _NAN if value is None else value for name, value in metrics.items()}


def _epoch(record: dict[str, Any]) -> int:
    """The number in an epoch's line; 0 for any other."""
    return _number(record) if record.get("kind") == "epoch" else 0


def _number(record: dict[str, Any]) -> int:
    number = record.get("epoch")
    return number if isinstance(number, int) else 0
