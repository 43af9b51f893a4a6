"""Who may touch the index's file now: one ingester at a time, among threads and processes."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

_LOCK: Final = ".index.lock"
PATIENCE: Final = 5.0  # seconds a reader waits for those who write


class Busy(Exception):
    """Another process writes or reads the index: it will be done in milliseconds."""


class Refused(Exception):
    """The operating system lets nobody write: a read-only store, a full disk."""


def exclusively(store_path: Path, act: Callable[[Path], T]) -> T:
    """Run `act` as the only ingester, among threads and processes. Raises Busy or Refused."""
    import duckdb

    try:
        descriptor = _opened(store_path / _LOCK)
        try:
            with _locked(descriptor):
                return act(store_path)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Refused(error.strerror) from error
    except duckdb.Error as error:
        if is_refused(error):
            raise Refused(str(error)) from error
        raise


def _opened(path: Path) -> int:
    """The lock's file. A link in its place, which ablate never makes, is removed."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    if path.is_symlink():
        path.unlink()
    return os.open(path, flags, 0o666)


@contextlib.contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    # Unlocked explicitly: closing alone would leave it locked if a child was forked meanwhile.
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise Busy from None
        try:
            yield
        finally:
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def is_refused(error: Exception) -> bool:
    """Whether the operating system does not let anybody write, which says nothing of the file."""
    words = (
        *("No space left", "Read-only file system", "Permission denied", "quota"),
        "File too large",  # for a limit on the size of files
    )
    return any(word in str(error) for word in words)


def patiently(attempt: Callable[[], T]) -> T:
    """Try at random moments for a few seconds. Raises Busy if it stays so."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return attempt()
        except Busy:
            if time.monotonic() > deadline:
                raise
        time.sleep((5 + secrets.randbelow(45)) / 1000)
