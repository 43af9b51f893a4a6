"""A trial's log file, from outside of the trial: kept small, and added to when its process cannot.

Whatever a trial's process prints goes to its log.txt directly, so that nothing of it is lost when
the process dies. That also means that nothing in between counts it: the coordinator does, now and
then, and leaves out the middle of a log that has grown too long.
"""

from __future__ import annotations

import contextlib
import os
from datetime import datetime
from pathlib import Path
from typing import Final

NAME: Final = "log.txt"
MOST: Final = 16 << 20  # bytes of a log
_HEAD: Final = 8 << 20  # kept of one that was longer: its beginning …
_TAIL: Final = 1 << 20  # … and its end, which has how the trial ended
_MARK: Final = b"[ablate: %d MB left out here; a log keeps %d MB]\n"


def add(attempt: Path, text: str) -> None:
    """Append a line as the trial itself would; a log that cannot be written loses it."""
    line = f"{datetime.now():%H:%M:%S} {text}\n"  # noqa: DTZ005 - as the trial's own lines
    with contextlib.suppress(OSError), (attempt / NAME).open("ab") as file:
        if file.tell() and not _ends_line(attempt / NAME):
            file.write(b"\n")
        file.write(line.encode("utf-8", "backslashreplace"))


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def bound(trial: Path, most: int = MOST, head: int = _HEAD, tail: int = _TAIL) -> bool:
    """Leave out the middle of each of a trial's logs of more than `most` bytes; whether one was.

    Its process may be writing: what it adds just then may be left out, too.
    """
    found = False
    with contextlib.suppress(OSError):  # there is none, or the disk refuses: as it is, then
        for path in trial.glob(f"*/{NAME}"):
            if path.stat().st_size > most:
                _shorten(path, most, head, tail)
                found = True
    return found


def _shorten(path: Path, most: int, head: int, tail: int) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size - tail)
        end = file.read(tail)
        file.truncate(head)
    with path.open("ab") as file:
        mark = _MARK % ((size - head - tail) // 1_000_000, most // 1_000_000)
        file.write(b"\n" + mark + end)
