"""Whose a database is, found out before this process opens it; every connection's settings.

A store may come from anybody, and with it `results.duckdb`. Views, macros or defaults in it are
programs, a link or a log beside it leads elsewhere, and DuckDB itself trusts what it opens. So
what no process of the user has written is first opened by another (`ablate.index.inspector`), and
only what has our tables and nothing else is opened here, without links, without logs, and without
access to anything beside it. All else is set aside and made anew: it is an index.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ablate.index.known import Foreign, Identity, identity, is_known, remember
from ablate.index.lock import Busy, Refused
from ablate.index.rows import Stale
from ablate.index.schema import TABLES, VERSION

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FILE: Final = "results.duckdb"
LOGS: Final = (".wal", ".wal.checkpoint", ".wal.recovery")  # behind the name, DuckDB's own
MEMORY_GB: Final = 2
_THREADS: Final = 8  # more gain little, and a shared machine may have a hundred

MOST_SOURCES: Final = 1_000_000  # files of the spool that an index may know
_SOURCE: Final = "SELECT path, max(bytes), max(epoch), max(seq) FROM spool.source GROUP BY path"
SOURCES: Final = f"{_SOURCE} LIMIT {MOST_SOURCES + 1}"

Settings = dict[str, str | bool | int | float | list[str]]
SETTINGS: Final[Settings] = {
    "enable_external_access": "false",  # no file, no address, no other database
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",  # those in the user's home are not looked for
    "python_enable_replacements": "false",  # a table's name is never a variable of Python's
    "memory_limit": f"{MEMORY_GB}GB",
    "threads": min(_THREADS, os.cpu_count() or 1),
    "temp_directory": "",  # what does not fit is not written beside the store
}
_STORAGE: Final = "v1.0.0"  # DuckDB 1.5 and 2.x both open it
_PROCESSOR: Final = 5  # seconds that an inspector may compute; ours take a hundredth
_SECONDS: Final = 30  # that it may take in all: the disk may be slow
_MEMORY: Final = 2 << 30  # bytes of its address space, of which 0.7 GB are DuckDB itself


class Newer(Exception):
    """The index is a newer ablate's, which goes on using it: it is left alone."""


def in_memory(path: Path | None = None) -> DuckDBPyConnection:
    """A database in memory that reaches nothing but `path` and its logs; its settings stay."""
    import duckdb

    config = dict(SETTINGS)
    if path is not None:
        del config["enable_external_access"]
    connection = duckdb.connect(":memory:", config=config)
    if path is not None:
        allowed = ", ".join(map(_quoted, (path, *logs(path))))  # which can be said only now
        connection.execute(f"SET allowed_paths = [{allowed}]")
        connection.execute("SET enable_external_access = false")
    _lock(connection)
    return connection


def _lock(connection: DuckDBPyConnection) -> None:
    import duckdb

    # A connection of another thread may have locked it: then it is as it shall be.
    with contextlib.suppress(duckdb.InvalidInputException):
        # It would be drawn on stdout, over an answer.
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET lock_configuration = true")


def reading(path: Path) -> DuckDBPyConnection:
    """Open an index that is ours and of this version.

    Raises Busy, Foreign, Stale for an older one, Newer, Refused where it cannot be looked at, and
    duckdb.Error for what is damaged or cannot be read.
    """
    import duckdb

    before = _looked_at(path)
    with _held_is_busy():
        connection = duckdb.connect(str(path.absolute()), read_only=True, config=SETTINGS)
    _lock(connection)
    _is_still(path, before, connection)
    return connection


@contextlib.contextmanager
def writing(path: Path) -> Iterator[DuckDBPyConnection]:
    """The same, or a new one where nothing is, to write to: all of it is there at the end or none.

    Only for who holds the lock. There is no log: whoever can write to the store could have put a
    link in its place, and what a kill takes is in the spool still. What the file becomes is known.
    """
    drop_logs(path)
    before = _looked_at(path) if os.path.lexists(path) else None
    with contextlib.closing(in_memory(path)) as connection:
        options = f"RECOVERY_MODE no_wal_writes, STORAGE_VERSION '{_STORAGE}'"
        with _held_is_busy():
            connection.execute(f"ATTACH {_quoted(path)} AS results ({options})")
        if before is not None:
            _is_still(path, before, connection)
        connection.execute("USE results")
        yield connection
        connection.execute("USE memory")
        connection.execute("DETACH results")  # writes it, and says so where it cannot
    made(path)


@contextlib.contextmanager
def _held_is_busy() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if _is_held(str(error)):
            raise Busy from error
        raise


def _looked_at(path: Path) -> Identity:
    found = identity(path)
    if any(map(os.path.lexists, logs(path))):
        raise Busy  # DuckDB would carry them out; who takes in lines next removes them
    if not is_known(path, found):
        _inspect(path)
        if identity(path) != found:
            raise Busy
    remember(path, found)
    return found


def _is_still(path: Path, before: Identity, connection: DuckDBPyConnection) -> None:
    # Between looking and opening somebody might have put another one there. (Looking again leaves
    # only those who put the first one back in time.)
    if identity(path)[:2] != before[:2]:
        connection.close()
        raise Busy


def made(path: Path) -> None:
    """This process has written the file as it is now. Raises Refused where another is there now, or
    none: the store was moved while it was written."""
    try:
        remember(path, identity(path))
    except (Stale, Foreign):
        raise Refused("somebody has moved or removed it meanwhile") from None


def logs(path: Path) -> list[Path]:
    """Where DuckDB would look for what is to be done to the database when it is opened."""
    return [path.with_name(path.name + suffix) for suffix in LOGS]


def drop_logs(path: Path) -> None:
    """Remove logs: only who holds the lock. What they would add is in the spool still.

    An index is whole without its log, as of the last transaction that reached the file, and says
    how far it had read then. Raises Foreign for what is no file.
    """
    for log in logs(path):
        try:
            if stat.S_ISDIR(log.lstat().st_mode):
                raise Foreign(f"has a folder {log.name} beside it")
            log.unlink()
        except FileNotFoundError:
            continue


@contextlib.contextmanager
def at_most(connection: DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt what takes longer, which then is a duckdb.Error."""
    with if_later(seconds, connection.interrupt):
        yield


@contextlib.contextmanager
def if_later(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Call `act`, from a thread, if what is done within takes longer."""
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _is_held(text: str) -> bool:
    words = ("Could not set lock", "different configuration", "Unique file handle conflict")
    return any(word in text for word in words)


def _quoted(path: Path) -> str:
    """In SQL, and so that DuckDB sees a file in it: "md:x" and "s3:x" are services, "~x" a home."""
    return "'" + str(path.absolute()).replace("'", "''") + "'"


def _inspect(path: Path) -> None:
    """Have another process look into it."""
    import duckdb

    found = find_spec("duckdb")
    if found is None or found.origin is None:
        raise Refused("DuckDB is not where it was")
    request = {
        "path": str(path.absolute()),
        "packages": str(Path(found.origin).parent.parent),
        "settings": {**SETTINGS, "threads": 1, "lock_configuration": "true"},
        "tables": TABLES,
        "sources": SOURCES,
        "version": VERSION,
        "processor": _PROCESSOR,
        "memory": _MEMORY,
        "seconds": _SECONDS,
    }
    inspector = Path(__file__).with_name("inspector.py")
    command = [sys.executable, "-I", "-S", str(inspector), json.dumps(request)]
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(
            command,
            stdin=quiet,
            stdout=subprocess.PIPE,
            stderr=quiet,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Busy from None  # a disk that does not answer; what computes has less time
    except OSError as error:
        raise Refused(error.strerror) from error
    if -done.returncode == getattr(signal, "SIGALRM", 0):
        raise Busy
    try:
        said = [json.loads(line) for line in done.stdout.splitlines()]
    except ValueError:
        said = []
    if not said:
        raise Refused(f"{inspector.name} cannot be run by {sys.executable}")
    verdict, why = said[-1]
    if verdict == "ready":
        raise Foreign(_ended(done.returncode))
    if verdict == "error" and _is_held(why):
        raise Busy
    if verdict in _VERDICTS:
        raise _VERDICTS[verdict](why)
    if verdict == "error":
        raise duckdb.IOException(why)


_VERDICTS: Final[dict[str, type[Exception]]] = {
    "foreign": Foreign,
    "older": Stale,
    "newer": Newer,
    "unknown": Refused,
}


def _ended(status: int) -> str:
    """What an inspector's end without an answer says of the database."""
    if -status in (getattr(signal, "SIGXCPU", 0), getattr(signal, "SIGKILL", 0)):
        return f"takes more than {_PROCESSOR} s to open"
    if status > 0:  # Python had no memory left to say so
        return "takes too much memory to open"
    return "crashes DuckDB"
