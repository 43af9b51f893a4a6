"""A trial's log file, from outside of the trial: kept small, and added to when its process cannot.

Whatever a trial's process prints goes to its log.txt directly, so that nothing of it is lost when
the process dies. That also means that nothing in between counts it: the coordinator does, now and
then, and leaves out the middle of a log that has grown too long.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from ablate.util import beneath, files

NAME: Final = "log.txt"
MOST: Final = 16 << 20  # bytes of a log
_HEAD: Final = 8 << 20  # kept of one that was longer: its beginning …
_TAIL: Final = 1 << 20  # … and its end, which has how the trial ended
_MARK: Final = b"[ablate: %d MB left out here; a log keeps %d MB]\n"


def add(attempt: Path, text: str) -> None:
    """Append a line as the trial itself would; a log that cannot be written loses it."""
    line = f"{datetime.now():%H:%M:%S} {text}\n"  # noqa: DTZ005 - as the trial's own lines
    with contextlib.suppress(OSError), opened(attempt) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(line.encode("utf-8", "backslashreplace"))


def opened(attempt: Path) -> BinaryIO:
    """A trial's log, to append to and to read. Raises OSError for what is no file of its own: a
    link, a pipe, a file that has another name too, which may be somebody's elsewhere."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
    descriptor = beneath.open_file(attempt / NAME, flags)
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
        os.close(descriptor)
        raise files.NoFile(errno.ENOENT, "no file of its own", str(attempt / NAME))
    return os.fdopen(descriptor, "r+b")


def bound(
    trial: Path, attempt: str = "", most: int = MOST, head: int = _HEAD, tail: int = _TAIL
) -> bool:
    """Leave out the middle of each of a trial's logs of more than `most` bytes; whether one was.

    attempt: whose, "" for all.

    Its process may be writing: what it adds just then may be left out, too.
    """
    found = False
    with contextlib.suppress(OSError):  # there is none, or the disk refuses: as it is, then
        names = [attempt] if attempt else [e.name for e in beneath.entries(trial)]
        for name in names:
            log = trial / name / NAME
            if beneath.kind(log) == "file" and beneath.about(log).st_size > most:
                _shorten(trial / name, most, head, tail)
                found = True
    return found


def _shorten(attempt: Path, most: int, head: int, tail: int) -> None:
    with opened(attempt) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size - tail)
        end = file.read(tail)
        file.truncate(head)
        mark = _MARK % ((size - head - tail) // 1_000_000, most // 1_000_000)
        file.write(b"\n" + mark + end)
