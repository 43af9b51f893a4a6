"""Files that appear whole or not at all, names that sort by time, and what a disk refuses.

JSON documents end with a checksum of what is before it, so that a flipped bit is noticed and never
read as a number. One without a checksum, as older releases wrote them, is taken as it is.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Final

from ablate.errors import AblateError, DiskFull
from ablate.util import beneath

_TIME: Final = "%Y%m%dT%H%M%S.%fZ"
_NAME: Final = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{6}")
# As `temporary_beside` names them; older releases had another name for checkpoints.
_TEMPORARY: Final = re.compile(r"\..+\.[0-9a-f]{8}\.tmp|\.checkpoint-\d{1,9}\.pt\.tmp")
_END: Final = b"\n}"  # of a JSON object as it is written here
_CHECKSUM: Final = re.compile(rb',\n "checksum": "([0-9a-f]{16})"\n}\n\Z')
_LONGEST: Final = 1 << 28  # bytes of the largest document that is read
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def utc_now() -> str:
    """Now as ISO 8601 in UTC, to the millisecond."""
    return _iso(datetime.now(UTC))


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: object) -> datetime | None:
    """The time in what `utc_now` wrote, in UTC; None for what is no time of these centuries."""
    try:
        found = datetime.fromisoformat(str(text))
        found = found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if 1970 < found.year < 9000 else None  # else other time zones cannot have it


def unique_name(after: str = "") -> str:
    """UTC time and a random suffix; sorts after the name `after` even if the clock went back."""
    now = datetime.now(UTC)
    if after:
        now = max(now, datetime.fromisoformat(after[:23]) + timedelta(microseconds=1))
    return f"{now.strftime(_TIME)}-{secrets.token_hex(3)}"


def is_unique_name(name: str) -> bool:
    """Whether `unique_name` could have made a name."""
    if not _NAME.fullmatch(name):
        return False
    try:
        datetime.fromisoformat(name[:23])
    except ValueError:  # a 31st of February
        return False
    return not name.startswith("9999")  # nothing could come after it


def is_temporary(name: str) -> bool:
    """Whether a file of this name is being written, or was when its writer died."""
    return _TEMPORARY.fullmatch(name) is not None


def time_of(name: str) -> str:
    """ISO 8601 UTC time in a name that `unique_name` made."""
    return (
        datetime.fromisoformat(name[:23]).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Explain what the operating system refuses: a full disk, a read-only store."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(
                f"no space left to write {path} (disk {_disk(path)}); what was written before is "
                "kept",
                hint="free some space and run the same command again: it continues",
            ) from error
        if isinstance(error, FileNotFoundError) and beneath.kind(path.parent) is None:
            raise AblateError(
                f"cannot write {path}: its folder is gone",
                hint="somebody has removed or moved it; run the same command again",
            ) from error
        if error.errno in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise AblateError(
                f"cannot write {path}: something else is in its place", hint="move it away"
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ELOOP):
            place = error.filename if isinstance(error, beneath.LinkFound) else path
            raise AblateError(
                f"cannot write {place}: {error.strerror or error}",
                hint="use another store: --store DIR",
            ) from error
        raise


def _disk(path: Path) -> Path:
    """Where the disk of a path is mounted."""
    place = Path(os.path.abspath(path))
    while not place.is_mount() and place != place.parent:
        place = place.parent
    return place


def check_working_folder() -> None:
    """Raises AblateError where it was removed: torch does not import there, and paths fail."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise AblateError(
            "the working folder is gone", hint="change to one that is there: cd DIR"
        ) from error


def write_result(path: Path, content: str | bytes) -> None:
    """Write what a person asked for with `-o`. Raises AblateError if the place refuses."""
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        with open(path, "wb", opener=_open_for_result) as file:
            file.write(data)
    except OSError as error:
        if error.errno == errno.ENXIO:
            reason = "it is a pipe that nobody reads"
        else:
            reason = error.strerror or str(error)
        raise AblateError(
            f"cannot write {path}: {reason}", hint="write it somewhere else"
        ) from error


def _open_for_result(path: str, flags: int) -> int:
    """As `open` does, but a pipe without a reader is an error (ENXIO) and not waited for."""
    descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    os.set_blocking(descriptor, True)
    return descriptor


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Alone among the processes that lock this file; the system frees the lock of one that dies.

    Without a lock where the file system has none. Raises OSError if the file cannot be made, and
    BlockingIOError if another process has the lock and nobody wants to wait.
    """
    descriptor = beneath.open_file(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            yield
            return
        try:
            yield
        finally:  # explicitly: closing alone would leave it to a child that was forked meanwhile
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def temporary_beside(path: Path) -> Path:
    """Where a file is written before it is renamed: nobody can have put something there."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def create(path: Path) -> BufferedRandom:
    """A new file, to write and to read again. Raises FileExistsError where something is."""
    return os.fdopen(beneath.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL), "w+b")


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that others see all of it or what was there before."""
    temporary = temporary_beside(path)
    with writing(path):
        try:
            with create(temporary) as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            beneath.rename(temporary, path)
        finally:
            _forget(temporary)
        beneath.sync(path.parent)


def _forget(temporary: Path) -> None:
    with contextlib.suppress(OSError):  # what went wrong before is told
        beneath.remove(temporary, missing_ok=True)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document whole, with its checksum."""
    text = json.dumps(document, indent=1, ensure_ascii=False, default=str)
    write_sealed(path, text)


def write_sealed(path: Path, text: str) -> None:
    """Write the text of a JSON object whole, with its checksum as the last member."""
    data = text.encode("utf-8", "backslashreplace")
    write_whole(path, lambda file: file.write(_sealed(data)))


def _sealed(data: bytes) -> bytes:
    if not data.endswith(_END):  # an empty one
        return data + b"\n"
    body = data.removesuffix(_END)
    return b'%b,\n "checksum": "%b"\n}\n' % (body, _checksum(body))


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=8).hexdigest().encode()


def unsealed(data: bytes) -> bytes | None:
    """A document without its checksum; None if it is not what the checksum says."""
    found = _CHECKSUM.search(data, max(0, len(data) - 64))
    if found is None:
        return data
    body = data[: found.start()]
    return body + _END if found[1] == _checksum(body) else None


def write_text(file: BinaryIO, text: str) -> None:
    """Write text as UTF-8; what UTF-8 cannot hold (file names can) is escaped."""
    file.write(text.encode("utf-8", "backslashreplace"))


class NoFile(FileNotFoundError):
    """There is something, and it is no plain file."""


def open_plain(path: Path) -> BufferedReader:
    """Open a file to read. A folder, a device, or a pipe, which would be waited for, is none.

    Raises NoFile for what is no plain file, OSError for what cannot be read.
    """
    descriptor = beneath.open_file(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoFile(errno.ENOENT, "no plain file", str(path))
    return os.fdopen(descriptor, "rb")


def read_at_most(file: BinaryIO, limit: int) -> bytes:
    """The file's first bytes, at most so many; room is taken for those that there are alone."""
    return file.read(min(limit, os.fstat(file.fileno()).st_size + 1))


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None if the file is missing, damaged or not what its checksum says."""
    try:
        with open_plain(path) as file:
            data = read_at_most(file, _LONGEST + 1)
    except OSError:
        return None
    return None if len(data) > _LONGEST else parse_json(data)


def parse_json(data: bytes) -> dict[str, Any] | None:
    """A JSON object from a file's bytes, or None as `read_json`."""
    text = unsealed(data)
    try:
        document = None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    document.pop("checksum", None)  # of a file that was edited, as a person or a test may
    return document
