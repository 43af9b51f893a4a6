"""Folders that several people write to: caches and data sets of a group.

What is made in a folder that its group may write to is the group's too, whatever the umask of who
made it; elsewhere umask and default ACL say. Names are random or opened exclusively, and no link is
followed, since whoever may write to the folder may have put one there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from ablate.errors import AblateError
from ablate.util.beneath import sync

_NOFOLLOW: Final = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)
_GROUP: Final = 0o070


def share(path: Path) -> None:
    """Give what was just made at `path` the group's rights on the folder that it is in."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):  # somebody else's by now, or a file system without rights
        folder, made = path.parent.stat(), path.lstat()
        if not folder.st_mode & stat.S_IWGRP or made.st_gid != folder.st_gid:
            return
        group = folder.st_mode & _GROUP
        if stat.S_ISREG(made.st_mode):
            group &= ~stat.S_IXGRP
        elif not stat.S_ISDIR(made.st_mode):
            return
        if made.st_mode & group != group:
            path.chmod(stat.S_IMODE(made.st_mode) | group)


def make_folder(path: Path) -> None:
    """A folder and those above it, where they are not there yet."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    share(path)


def new_folder(beside: Path) -> Path:
    """An empty folder of a random name `NAME.….tmp` beside the place where it will be."""
    made = beside.with_name(f"{beside.name}.{secrets.token_hex(4)}.tmp")
    made.mkdir()
    share(made)
    return made


def create(path: Path) -> BinaryIO:
    """Open a new file to write. Raises FileExistsError where there is one, or a link."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o666)
    share(path)
    return os.fdopen(descriptor, "wb")


def append(path: Path) -> BinaryIO:
    """Open a file to write on from its end. Raises OSError for a link and what is no plain file,
    and for a file that is known by another name too, elsewhere."""
    wait = getattr(os, "O_NONBLOCK", 0)  # for nobody who reads a pipe
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | _NOFOLLOW | wait)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise FileExistsError(f"{path} is no plain file")
    return os.fdopen(descriptor, "ab")


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that others see all of it, or what was there before. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with create(temporary) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def sync_file(path: Path) -> None:
    """What was written to a file is on the disk, before it gets its final name."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def private_folder(path: Path, otherwise: Path) -> Path:
    """A folder that nobody but us can write to or look into: this one, one beside it with our
    number where this is another user's, or `otherwise`."""
    if os.name == "nt":
        return path
    for place in (path, path.with_name(f"{path.name}-{os.geteuid()}"), otherwise):
        with contextlib.suppress(OSError):  # not writable: the next one
            make_folder(place.parent)
            with contextlib.suppress(FileExistsError):
                place.mkdir(0o700)
            status = place.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                if stat.S_IMODE(status.st_mode) & 0o077:
                    place.chmod(0o700)
                return place
    return otherwise


def check_code(folder: Path) -> None:
    """Raise AblateError where a stranger could exchange the folders in a folder from which code is
    loaded: where everybody can write to it or to the one that it is in, or it is a stranger's.

    No stranger is root, nor whose folder belongs to a group of ours. A folder is fine that is
    sticky, where others can only add to what there is.
    """
    if os.name == "nt":
        return
    groups = {os.getegid(), *os.getgroups()}
    for place in (folder.parent, folder):
        try:
            status = place.stat()
        except OSError:  # not there yet
            continue
        owned = status.st_uid in (os.geteuid(), 0) or status.st_gid in groups
        if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            reason, mend = "everybody can write to it", f"chmod o-w {place}      or "
        elif place == folder and not owned:
            reason, mend = f"user {status.st_uid} made it, who is in no group of yours", ""
        else:
            continue
        raise AblateError(
            f"{place} is no place for compiled code, which is run as it is: {reason}",
            hint=f"{mend}ABLATE_CACHE=DIR, a folder of yours or your group's",
        )
