"""One archive, the same bytes for the same contents: sorted, without times, owners or modes."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import secrets
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from ablate.errors import AblateError
from ablate.util.files import open_plain

ENDINGS: Final = (".zip", ".tar.gz", ".tgz")
SUMS: Final = "SHA256SUMS"
_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the first that a ZIP file can hold
_PIECE: Final = 1 << 20

Content = bytes | Path  # a file of its own is copied as it is


def check_ending(path: Path) -> None:
    """Raises AblateError for a name that says no kind of archive."""
    if not path.name.lower().endswith(ENDINGS):
        raise AblateError(
            f"{path}: the name decides the kind of archive", hint=f"-o {path.stem}.zip or .tar.gz"
        )


def write_archive(path: Path, folder: str, contents: Mapping[str, Content]) -> int:
    """Write the files below `folder` into an archive, whole or not at all; its bytes.

    SHA256SUMS, in the form that `sha256sum -c` reads, is added. Raises AblateError.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                if path.name.lower().endswith(".zip"):
                    _zip(file, folder, contents)
                else:
                    _tar(file, folder, contents)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return path.stat().st_size
    except OSError as error:
        raise AblateError(f"cannot write {path}: {error.strerror or error}") from error


def _zip(file: BinaryIO, folder: str, contents: Mapping[str, Content]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, source, size in _members(contents):
            member = zipfile.ZipInfo(f"{folder}/{name}", _TIME)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3  # Unix, whatever this is
            member.external_attr = 0o100644 << 16
            member.file_size = size
            with source, archive.open(member, "w", force_zip64=size >= 1 << 31) as written:
                while piece := source.read(_PIECE):
                    written.write(piece)


def _tar(file: BinaryIO, folder: str, contents: Mapping[str, Content]) -> None:
    with (
        gzip.GzipFile("", "wb", 6, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, source, size in _members(contents):
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode = size, 0o644
            with source:
                archive.addfile(member, source)


def _members(contents: Mapping[str, Content]) -> Iterator[tuple[str, BinaryIO, int]]:
    """(name, content, bytes) by name, and the checksums of all of them last."""
    sums = []
    for name in sorted(contents):
        digest, size = _digest(contents[name])
        sums.append(f"{digest}  {name}\n")
        yield name, _opened(contents[name]), size
    text = "".join(sums).encode()
    yield SUMS, io.BytesIO(text), len(text)


def _digest(content: Content) -> tuple[str, int]:
    with _opened(content) as file:
        digest = hashlib.sha256()
        while piece := file.read(_PIECE):
            digest.update(piece)
        return digest.hexdigest(), file.tell()


def _opened(content: Content) -> BinaryIO:
    return open_plain(content) if isinstance(content, Path) else io.BytesIO(content)
