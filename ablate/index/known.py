"""Which databases this user's processes have written, or looked at: those need no inspector again.

Kept in the user's own cache, for another process of theirs: one small file for each place, with
which file was there, in which state, to the nanosecond of its last change. Nobody else can write
there, and who changes the database changes that; a store that comes from elsewhere is unknown.
Where nothing can be kept, an inspector looks each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final, NamedTuple

from ablate.index.lock import Refused
from ablate.index.rows import Stale
from ablate.index.schema import VERSION
from ablate.util.paths import user_cache


class Foreign(Exception):
    """What is there was not made by ablate: the text says why. To be set aside."""


class Identity(NamedTuple):
    """Which file it is, in which state."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


_MOST: Final = 1000  # places that are remembered
_known: dict[Path, Identity] = {}


def identity(path: Path) -> Identity:
    """Which file is there.

    Raises Foreign for what is no file of its own: a link, a folder, a pipe; Stale where none is.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise Stale("is not there") from None
    except OSError as error:
        raise Refused(error.strerror) from error
    if stat.S_ISLNK(found.st_mode):
        raise Foreign("is a link")
    if not stat.S_ISREG(found.st_mode):
        raise Foreign("is no file")
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def is_known(path: Path, found: Identity) -> bool:
    """Whether this very file, in this state, was written or looked at by the user's processes."""
    if _known.get(path) == found:
        return True
    with contextlib.suppress(OSError, RuntimeError):  # the latter: nobody's home
        return _place(path).read_text("ascii", "replace") == _line(found)
    return False


def remember(path: Path, found: Identity) -> None:
    """It was written by this process, or looked at."""
    if _known.get(path) == found:
        return
    _known[path] = found
    with contextlib.suppress(OSError, RuntimeError):
        place = _place(path)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not place.exists():
            _make_room(place.parent)
        fresh = place.with_name(f"{place.name}.{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            with os.fdopen(os.open(fresh, flags, 0o600), "w", encoding="ascii") as file:
                file.write(_line(found))
            fresh.replace(place)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise


def _make_room(folder: Path) -> None:
    kept = list(folder.iterdir())
    if len(kept) >= _MOST:  # of stores that are gone, mostly; an inspector looks at the others
        for one in kept:
            one.unlink(missing_ok=True)


def _place(path: Path) -> Path:
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]
    folder = user_cache() / "indexes"
    mine = getattr(os, "getuid", lambda: None)()
    if mine is not None and folder.exists():
        held = folder.lstat()
        if not stat.S_ISDIR(held.st_mode) or held.st_uid != mine or held.st_mode & 0o022:
            raise OSError("somebody else could write there")
    return folder / name


def _line(found: Identity) -> str:
    return " ".join(map(str, (VERSION, *found)))
