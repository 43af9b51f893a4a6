"""Archives of somebody else, read with bounds: what a header declares is looked at beforehand.

`tarfile` reads what an extended header declares into memory, follows sizes below zero backwards,
keeps every member, and unpacks a thousandfold whatever a compressed archive makes of itself.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

HEADER: Final = 1 << 20  # bytes of an extended header: a name, times, attributes
RATIO: Final = 10  # images hardly compress: what unpacks to more is no archive of images
SPARE: Final = 64 << 20  # bytes that an archive may unpack to, however small it is
_PIECE: Final = 1 << 20
_EXTENDED: Final = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


def entries(
    archive: Path, *, packed: bool = False, start: int = 0, end: int | None = None
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """(the archive, a member) for every member, in order; none of them is kept.

    packed: it is compressed by gzip. start, end: the bytes of the file in which it lies. Raises
    OSError, EOFError, zlib.error and tarfile.TarError, the last for what is out of bounds too.
    """
    with archive.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        most = RATIO * size + SPARE if packed else min(size, end or size)
        file.seek(start)
        how: Any = {"fileobj": file, "mode": "r:gz" if packed else "r:", "tarinfo": _bounded()}
        try:
            with tarfile.open(**how) as tar:
                before = -1
                while (member := tar.next()) is not None:
                    if member.offset >= most and not packed:  # of what comes after this archive
                        return
                    tar.members.clear()  # type: ignore[attr-defined] # or a million would stay
                    if tar.offset <= before:
                        raise tarfile.ReadError("its headers lead back")
                    before = tar.offset
                    if packed and before > most:
                        raise tarfile.ReadError(f"it unpacks to more than {RATIO} times its size")
                    if not packed and member.isreg() and member.offset_data + member.size > most:
                        raise tarfile.ReadError("unexpected end of data")
                    yield tar, member
        except RecursionError:
            raise tarfile.ReadError("headers of headers") from None


def content(tar: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    """The bytes of a plain file. Raises tarfile.ReadError for more than `most`, or less than it
    says."""
    if member.size > most:
        raise tarfile.ReadError(f"a file in it has {member.size:,} bytes, more than {most:,}")
    stream = tar.extractfile(member)
    if stream is None:
        raise tarfile.ReadError("a member that is no file")
    data = stream.read() if member.size <= _PIECE else _in_pieces(stream)
    if len(data) != member.size:
        raise tarfile.ReadError("unexpected end of data")
    return data


def _in_pieces(stream: Any) -> bytes:
    """Without the copies that `read` makes of a large one."""
    data = bytearray()
    while piece := stream.read(_PIECE):
        data += piece
    return bytes(data)


def _bounded() -> type[tarfile.TarInfo]:
    """The class of one archive's members: headers for all of its members are counted."""

    class Bounded(_Bounded):
        shared: ClassVar[int] = 0

    return Bounded


class _Bounded(tarfile.TarInfo):
    """Raises tarfile.ReadError, which no part of `tarfile` takes for the archive's end."""

    shared: ClassVar[int]

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: str) -> Any:
        made = super().frombuf(buf, encoding, errors)
        if made.size < 0:
            raise tarfile.ReadError("a size below zero")
        if made.type in _EXTENDED and made.size > HEADER:
            raise tarfile.ReadError(f"a header of {made.size:,} bytes")
        if made.type == tarfile.XGLTYPE:
            cls.shared += made.size
            if cls.shared > HEADER:
                raise tarfile.ReadError(f"headers of {cls.shared:,} bytes for all of its members")
        if made.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a file with holes")
        return made

    def _proc_gnusparse_10(self, *_: Any) -> None:
        """Its map would be read to its end, however long it says it is."""
        raise tarfile.ReadError("a file with holes")
