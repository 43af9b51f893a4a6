"""Labelled image files in a .tgz archive."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath

from ablate.data.sources import bounded_tar
from ablate.data.sources.base import (
    LARGEST,
    Entry,
    Read,
    Source,
    archive_error,
    class_folders,
    constant,
    in_splits,
    layout,
)
from ablate.data.sources.file_names import LeftOut, Sorting, of_macos


class ArchiveSource(Source):
    """Files in a .tgz as fast.ai publishes it: one top folder that holds train/ and val/."""

    def __init__(self, name: str, location: Path) -> None:
        self.name = name
        self.location = location
        self._sorting = Sorting()
        status = location.stat()
        self.stat = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"

    @cached_property
    def _members(self) -> dict[str, tuple[str, int]]:
        """Path below the top folder -> name in the archive and bytes."""
        members: dict[str, tuple[str, int]] = {}
        with self._explained():
            for _, member in bounded_tar.entries(self.location, packed=True):
                top, *parts = PurePosixPath(member.name).parts or (".",)
                below = "/".join(parts)
                plain = member.isfile() and ".." not in (top, *parts) and not of_macos(top)
                if plain and len(parts) > 1 and self._sorting.takes(below):
                    members[below] = (member.name, member.size)
        return members

    @property
    def left_out(self) -> LeftOut:
        """Files in class folders that are not taken as images, and images in none."""
        files, noted = self._members, self._sorting.left_out
        return in_splits(noted, class_folders(files, noted))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What is wrong with the archive, as one line."""
        try:
            yield
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise archive_error(self.name, self.location, error) from error

    @cached_property
    def _layout(self) -> tuple[tuple[str, ...], tuple[Entry, ...]]:
        sizes = {path: size for path, (_, size) in self._members.items()}
        return layout(
            self.name, self.location, sizes, class_folders(sizes, self.left_out), self.left_out
        )

    def reads(self) -> Iterator[tuple[int, Read]]:
        """Every file in the archive's order: any other reads it from the start each time."""
        wanted = {self._members[entry.path][0]: i for i, entry in enumerate(self.entries)}
        with self._explained():
            for archive, member in bounded_tar.entries(self.location, packed=True):
                index = wanted.get(member.name) if member.isfile() else None
                if index is not None:
                    yield index, constant(bounded_tar.content(archive, member, LARGEST))
