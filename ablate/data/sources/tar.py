"""Images in archives without compression, read where they stand: nothing is unpacked."""

from __future__ import annotations

import hashlib
import os
import tarfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from ablate.data.sources import bounded_tar
from ablate.data.sources.base import (
    LARGEST,
    SAMPLE,
    Entry,
    Read,
    Source,
    archive_error,
    check_size,
    class_folders,
    in_splits,
    layout,
)
from ablate.data.sources.file_names import LeftOut, Sorting, of_macos
from ablate.errors import DataError
from ablate.util.paths import shown


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name there, and where its bytes are."""

    name: str
    archive: Path
    offset: int
    size: int

    def read(self, most: int = LARGEST) -> bytes:
        """Its bytes. Raises Unfit for more than `most`, OSError for less than it should have."""
        check_size(self.size, most)
        with self.archive.open("rb") as file:
            if self.offset + self.size > os.fstat(file.fileno()).st_size:
                raise OSError(f"{shown(self.archive)} ends before it should")
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise OSError(f"{shown(self.archive)} ends before it should")
        return data


def members(archive: Path, inside: Member | None = None) -> Iterator[Member]:
    """The files of this archive, or of the one that is `inside` it; DataError if it is none."""
    start, end = (inside.offset, inside.offset + inside.size) if inside else (0, None)
    try:
        for _, member in bounded_tar.entries(archive, start=start, end=end):
            if member.isfile():
                yield Member(member.name, archive, member.offset_data, member.size)
    except (OSError, tarfile.TarError) as error:
        raise archive_error("", archive, error) from error


class PackedSource(Source):
    """A data set in archives; `_index` says which path of the usual layout is where."""

    def __init__(self, name: str, location: Path, archives: Sequence[Path]) -> None:
        self.name = name
        self.location = location
        digest = hashlib.sha256()
        for archive in archives:
            status = archive.stat()
            times = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
            digest.update(f"{archive.name}\0{times}\0".encode())
        self.stat = digest.hexdigest()

    @abstractmethod
    def _index(self) -> Mapping[str, Member]:
        """`split/class/file` -> where it is."""

    @cached_property
    def _places(self) -> Mapping[str, Member]:
        try:
            return self._index()
        except DataError as error:
            raise DataError(f"{self.name}: {error.message}", hint=error.hint) from error

    @cached_property
    def _layout(self) -> tuple[tuple[str, ...], tuple[Entry, ...]]:
        sizes = {path: member.size for path, member in self._places.items()}
        folders = class_folders(sizes, self.left_out)
        return layout(self.name, self.location, sizes, folders, self.left_out)

    def reads(self) -> Iterator[tuple[int, Read]]:
        """Every file in the order of the archives."""
        order = sorted(
            (self._places[entry.path].archive, self._places[entry.path].offset, index)
            for index, entry in enumerate(self.entries)
        )
        for _, _, index in order:
            yield index, self._places[self.entries[index].path].read

    def sample(self) -> Iterator[tuple[int, Read]]:
        """Files at equal distances."""
        entries = self.entries
        for index in range(0, len(entries), max(1, len(entries) // SAMPLE)):
            yield index, self._places[entries[index].path].read


class TarSource(PackedSource):
    """One archive with one top folder that holds train/ and val/, as Places365's easy format."""

    def __init__(self, name: str, location: Path) -> None:
        super().__init__(name, location, [location])
        self._sorting = Sorting()

    @property
    def left_out(self) -> LeftOut:
        """Files in class folders that are not taken as images, and images in none."""
        files, noted = self._places, self._sorting.left_out
        return in_splits(noted, class_folders(files, noted))

    def _index(self) -> Mapping[str, Member]:
        found = {}
        for member in members(self.location):
            top, *parts = PurePosixPath(member.name).parts or (".",)
            below = "/".join(parts)
            plain = ".." not in (top, *parts) and not of_macos(top)
            if plain and len(parts) > 1 and self._sorting.takes(below):
                found[below] = member
        return found
