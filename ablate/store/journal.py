"""Lines of metrics.jsonl: whole lines, epochs, and what can be told from its end alone.

A line ends with a checksum of what is before it, so that a flipped bit sets the line aside and is
never read as a number. Lines without one, as older releases wrote them, are taken as they are.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from ablate.util.files import NoFile, open_plain

# Of an epoch, beside its metrics. epoch: 1-based. seconds: wall time of its training.
# processor_seconds: of all threads of the process, meanwhile; older releases did not write it.
# images: trained on.
NO_METRICS: Final = ("epoch", "seconds", "processor_seconds", "steps", "images")
_TIMES: Final = ("seconds", "processor_seconds")
_NAN: Final = float("nan")
_TAIL: Final = 1 << 14  # bytes from the end that mostly have an epoch's line
_CHECKSUM: Final = b',"crc":"'
_LAST: Final = len(_CHECKSUM) + 8 + len(b'"}')  # bytes that a checksum takes
_WHOLE: Final = 2**62  # no number of steps or images is as large
_EPOCHS: Final = 10**6  # nor one of epochs


class Lines(NamedTuple):
    """Complete lines of a spool file.

    records: the JSON objects; offset: where to read on; invalid: (byte offset, bytes) of complete
    lines that are set aside: no JSON object, not what their checksum says, or with a sequence
    number that was there before, as a line has that is written twice. sequence: the last number.
    """

    records: list[dict[str, Any]]
    offset: int
    invalid: list[tuple[int, bytes]]
    sequence: int = -1


def _opened(path: Path) -> BinaryIO:
    """A pipe or a folder has no lines."""
    try:
        return open_plain(path)
    except NoFile:
        return BytesIO()


def read_lines(path: Path, offset: int = 0) -> Lines:
    """Complete lines from byte `offset` on. A torn last line is left for the next time."""
    with _opened(path) as file:
        file.seek(offset)
        return _parsed(file.read(), offset, -1)


def read_pieces(path: Path, offset: int, size: int, after: int = -1) -> Iterator[Lines]:
    """As `read_lines`, some `size` bytes at a time; nothing where no line is complete.

    after: the sequence number of the line before byte `offset`.
    """
    with _opened(path) as file:
        file.seek(offset)
        left = b""
        while data := file.read(size):
            left += data
            whole = left.rfind(b"\n") + 1
            if whole:
                lines = _parsed(left[:whole], offset, after)
                offset, after, left = lines.offset, lines.sequence, left[whole:]
                yield lines


def _parsed(data: bytes, offset: int, after: int) -> Lines:
    records: list[dict[str, Any]] = []
    invalid: list[tuple[int, bytes]] = []
    *lines, _torn = data.split(b"\n")
    for line in lines:
        record = _record(line)
        sequence = after + 1 if record is None else record.get("seq", after + 1)
        if record is not None and type(sequence) is int and after < sequence < 2**62:
            records.append(record)
            after = sequence
        else:
            invalid.append((offset, line))
        offset += len(line) + 1
    return Lines(records, offset, invalid, after)


def line_of(record: dict[str, Any]) -> bytes:
    """The line that stands for a record, with its checksum and its newline."""
    data = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()[:-1]
    return b'%b%b%08x"}\n' % (data, _CHECKSUM, zlib.crc32(data))


def _record(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None for what is none, is damaged, or cannot be an epoch's."""
    sealed = line[-_LAST:].startswith(_CHECKSUM)
    if sealed and b'%08x"}' % zlib.crc32(line[:-_LAST]) != line[-10:]:
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    record.pop("crc", None)
    if not sealed and record.get("kind") == "epoch" and not _is_epoch(record):
        return None
    return record


def _is_epoch(record: dict[str, Any]) -> bool:
    """Whether an epoch's line has the types that readers count on."""
    metrics = record.get("metrics", {})
    epoch, counts = record.get("epoch"), (record.get("steps"), record.get("images"))
    return (
        isinstance(metrics, dict)
        and all(value is None or is_number(value) for value in metrics.values())
        and (epoch is None or (type(epoch) is int and 0 <= epoch < _EPOCHS))
        and all(n is None or (type(n) is int and 0 <= n < _WHOLE) for n in counts)
        and all(t is None or is_number(t) for t in map(record.get, _TIMES))
    )


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a number that a float can hold."""
    return type(value) is float or (type(value) is int and abs(value) < 2**63)


def first_line(path: Path) -> dict[str, Any]:
    """What an attempt began with; empty if it is not there, torn or damaged."""
    try:
        with _opened(path) as file:
            line = file.readline(_TAIL)
    except OSError:
        return {}
    return (_record(line) or {}) if line.endswith(b"\n") else {}


def last_epoch(path: Path) -> int:
    """The epoch written last, 0 without one. Reads the end of the file, and more as it must."""
    size = _TAIL
    try:
        with _opened(path) as file:
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
    """Epochs in order: the metrics, and what else is known of them, by the names of `NO_METRICS`.

    One that was written twice is as written last; numbers that were not finite are NaN.
    """
    by_epoch: dict[int, dict[str, Any]] = {}
    try:
        records = read_lines(path).records
    except OSError:
        return []
    for record in records:
        if record.get("kind") == "epoch":
            numbers = {name: record[name] for name in NO_METRICS if name in record}
            by_epoch[_number(record)] = finite_or_nan(record.get("metrics")) | numbers
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]


def seconds_of(epoch: dict[str, Any], name: str = "seconds") -> float:
    """Wall time of an epoch that `read_epochs` gave, or "processor_seconds"; NaN where it is not
    known."""
    seconds = epoch.get(name)
    return seconds if isinstance(seconds, int | float) and 0 < seconds < math.inf else _NAN


def read_eval_seconds(path: Path) -> list[float]:
    """Wall times of the epochs' evaluations, in order of writing, those that are known."""
    try:
        records = read_lines(path).records
    except OSError:
        return []
    found = [record.get("eval_seconds") for record in records if record.get("kind") == "epoch"]
    return [each for each in found if isinstance(each, int | float) and 0 < each < math.inf]


def finite_or_nan(metrics: Any) -> dict[str, float]:
    """Metrics as written: null is a number that was not finite."""
    if not isinstance(metrics, dict):
        return {}
    return {name: _NAN if value is None else value for name, value in metrics.items()}


def _epoch(record: dict[str, Any]) -> int:
    """The number in an epoch's line; 0 for any other."""
    return _number(record) if record.get("kind") == "epoch" else 0


def _number(record: dict[str, Any]) -> int:
    return record.get("epoch") or 0
