"""Images in archives without compression, read where they stand: nothing is unpacked."""

from __future__ import annotations

import hashlib
import tarfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from ablate.data.sources.base import (
    SAMPLE,
    Entry,
    Read,
    Source,
    archive_error,
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

    def read(self) -> bytes:
        """Its bytes."""
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise OSError(f"{shown(self.archive)} ends before it should")
        return data


def members(archive: Path, start: int = 0) -> Iterator[Member]:
    """The files of the archive that begins at byte `start` of this one; DataError if it is none."""
    try:
        with archive.open("rb") as file:
            file.seek(start)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    if member.isfile():
                        yield Member(member.name, archive, member.offset_data, member.size)
                    tar.members.clear()  # type: ignore[attr-defined] # or a million would stay
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
