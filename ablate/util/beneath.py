"""Files beneath a folder that is held open: through no link, and in no other folder in its place.

A store is used for hours by paths, and a path leads wherever it leads at that moment: through links
that a colleague has laid, and, once the store was moved or unmounted, into a folder made anew. So a
folder is held by a descriptor, which stays with it wherever it goes, and what is below its path is
reached from there, one folder after the other, none of them a link (`openat` with `O_NOFOLLOW`).

What is beneath no held folder is reached as the system does it, links and all: a person's own path.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import shutil
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

Kind = Literal["file", "folder", "link", "other"]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Opening a folder to pass through it needs no right to list it, where the system knows of that.
_PASSING: Final = _FOLDER | os.O_NOFOLLOW | getattr(os, "O_PATH", 0)
_LINK: Final = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK})  # what opening one ends with


_HIGH: Final = 100  # descriptors from here on are ours: those below, tricks have been seen to close


def above(descriptor: int) -> int:
    """The same file under a high number, which what a process starts does not get."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # `ulimit -n 64`: as high as it goes, with room for those of ours.
    lowest = _HIGH if limit == resource.RLIM_INFINITY else max(3, min(_HIGH, limit - 16))
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(descriptor)
    return high


class Root:
    """A folder that is held open for as long as this object lives. Make one with `hold`."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))
        self.descriptor = above(os.open(path, _FOLDER))
        self._close = weakref.finalize(self, os.close, self.descriptor)
        about = os.fstat(self.descriptor)
        self.identity = about.st_dev, about.st_ino

    @property
    def is_held(self) -> bool:
        """Whether it is still open: whoever forks a process closes what is none of its business."""
        try:
            about = os.fstat(self.descriptor)
        except OSError:
            return False
        return (about.st_dev, about.st_ino) == self.identity

    @property
    def is_there(self) -> bool:
        """Whether its path still leads to it. One that cannot be asked (a server that does not
        answer) may be there."""
        try:
            about = os.stat(self.path)
        except OSError as error:
            return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        return (about.st_dev, about.st_ino) == self.identity

    @property
    def is_removed(self) -> bool:
        """Whether it is nowhere any more."""
        return os.fstat(self.descriptor).st_nlink == 0 or self._told().endswith(" (deleted)")

    @property
    def moved_to(self) -> Path | None:
        """Where it is now; None if it was removed, unmounted, or the system does not tell."""
        found = self._told()
        try:
            about = os.stat(found)
        except OSError:
            return None
        return Path(found) if (about.st_dev, about.st_ino) == self.identity else None

    def _told(self) -> str:
        """Its path as Linux has it; "" where there is no such file system."""
        try:
            return os.readlink(f"/proc/self/fd/{self.descriptor}")
        except OSError:
            return ""


_roots: weakref.WeakValueDictionary[str, Root] = weakref.WeakValueDictionary()


def hold(path: Path) -> Root:
    """Hold a folder open: everything below its path is reached through it as long as it is held.

    Links in the path itself are followed. Raises OSError where there is no such folder.
    """
    root = Root(path)
    known = _roots.get(str(root.path))
    if known is not None and known.identity == root.identity and known.is_held:
        return known
    _roots[str(root.path)] = root
    return root


class LinkFound(OSError):
    """What was to be opened is a link, or is behind one."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(errno.ELOOP, "it is a link, and none is followed in a store", str(path))


@contextlib.contextmanager
def _place(path: Path) -> Iterator[tuple[int | None, str]]:
    """(descriptor of the folder that a path is in, its name there); (None, path) elsewhere."""
    root, parts = _beneath(path)
    if root is None:
        yield None, str(path)
        return
    descriptor = root.descriptor
    try:
        for part in parts[:-1]:
            inner = _passed(part, descriptor, path)
            if descriptor != root.descriptor:
                os.close(descriptor)
            descriptor = inner
        yield descriptor, parts[-1] if parts else "."
    finally:
        if descriptor != root.descriptor:
            os.close(descriptor)


def _beneath(path: Path) -> tuple[Root | None, list[str]]:
    """The innermost held folder that a path is in, and what leads on from there."""
    if not _roots:
        return None, []
    text = os.fspath(path)
    if not text.startswith("/") or "/." in text or "//" in text:  # mostly it is as it shall be
        try:
            text = os.path.abspath(text)
        except FileNotFoundError:  # the working folder is gone
            return None, []
    end = len(text)
    while end > 0:
        if (root := _roots.get(text[:end])) is not None:
            return root, [part for part in text[end:].split("/") if part]
        end = text.rfind("/", 0, end)
    return None, []


def _passed(name: str, folder: int, path: Path) -> int:
    try:
        return os.open(name, _PASSING, dir_fd=folder)
    except OSError as error:
        if error.errno in _LINK and _is_link(name, folder):
            raise LinkFound(path) from error
        raise type(error)(error.errno, error.strerror, str(path)) from error


def _is_link(name: str, folder: int | None) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return False


def open_file(path: Path, flags: int, mode: int = 0o666) -> int:
    """A descriptor of a file, which a child does not get. Raises LinkFound, OSError."""
    with _place(path) as (folder, name):
        nofollow = 0 if folder is None else os.O_NOFOLLOW
        try:
            return os.open(name, flags | os.O_CLOEXEC | nofollow, mode, dir_fd=folder)
        except OSError as error:
            if nofollow and error.errno in _LINK and _is_link(name, folder):
                raise LinkFound(path) from error
            raise type(error)(error.errno, error.strerror, str(path)) from error


def about(path: Path) -> os.stat_result:
    """What there is at a path: of a link itself beneath a held folder, else of what it leads to."""
    with _place(path) as (folder, name):
        return os.stat(name, dir_fd=folder, follow_symlinks=folder is None)


def kind(path: Path) -> Kind | None:
    """What there is at a path; None for nothing, or what cannot be looked at."""
    try:
        return _kind(about(path).st_mode)
    except OSError:
        return None


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


class Entry(NamedTuple):
    """What a folder has under a name."""

    name: str
    kind: Kind


def entries(path: Path) -> list[Entry]:
    """What is in a folder, sorted by name; links as themselves. Raises LinkFound, OSError."""
    descriptor = open_file(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as found:
            return sorted(Entry(each.name, _kind_of(each)) for each in found)
    finally:
        os.close(descriptor)


def _kind_of(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def walk(path: Path) -> Iterator[tuple[Path, list[Entry]]]:
    """(folder, what is in it) of a folder and all below it; what cannot be read has nothing."""
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        try:
            found = entries(folder)
        except OSError:
            continue
        yield folder, found
        waiting += [folder / each.name for each in reversed(found) if each.kind == "folder"]


def sizes(path: Path) -> Iterator[tuple[str, int]]:
    """(name, bytes) of every file in a folder and below, links as themselves."""
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        with contextlib.suppress(OSError):  # gone meanwhile, or not to be read
            descriptor = open_file(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                with os.scandir(descriptor) as found:
                    for each in found:
                        if _kind_of(each) == "folder":
                            waiting.append(folder / each.name)
                            continue
                        with contextlib.suppress(OSError):
                            yield each.name, each.stat(follow_symlinks=False).st_size
            finally:
                os.close(descriptor)


def make_folder(path: Path, *, exist_ok: bool = False) -> None:
    """Make one folder; those above it have to be there. Raises LinkFound, OSError."""
    with _place(path) as (folder, name):
        try:
            os.mkdir(name, dir_fd=folder)
        except FileExistsError:
            if folder is not None and _is_link(name, folder):
                raise LinkFound(path) from None
            if not exist_ok or kind(path) != "folder":
                raise FileExistsError(errno.EEXIST, "something is there", str(path)) from None


def rename(source: Path, target: Path) -> None:
    """Rename within a store, or outside of one: what is at the target is replaced, not followed."""
    with _place(source) as (from_, name), _place(target) as (to, new):
        os.rename(name, new, src_dir_fd=from_, dst_dir_fd=to)


def remove(path: Path, *, missing_ok: bool = False) -> None:
    """Remove a file, or a link itself."""
    with _place(path) as (folder, name):
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            if not missing_ok:
                raise


def remove_folder(path: Path) -> None:
    """Remove an empty folder."""
    with _place(path) as (folder, name):
        os.rmdir(name, dir_fd=folder)


def remove_tree(path: Path, *, ignore_errors: bool = False) -> None:
    """Remove a folder and all in it; links in it go themselves, what they lead to stays."""
    try:
        with _place(path) as (folder, name):
            shutil.rmtree(name, ignore_errors, dir_fd=folder)
    except OSError:
        if not ignore_errors:
            raise


def touch(path: Path) -> None:
    """Set a file's times to now. Raises OSError."""
    with _place(path) as (folder, name):
        os.utime(name, dir_fd=folder, follow_symlinks=folder is None)


def sync(path: Path) -> None:
    """Make renames in a folder survive the loss of power."""
    descriptor = open_file(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
