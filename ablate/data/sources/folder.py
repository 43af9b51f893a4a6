"""Labelled image files in a folder."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

from ablate.data.sources.base import (
    EVAL_FOLDERS,
    SAMPLE,
    Entry,
    Read,
    Source,
    in_splits,
    layout,
    read_file,
)
from ablate.data.sources.file_names import LeftOut, Sorting, is_hidden, is_image
from ablate.errors import DataError
from ablate.util.paths import shown


class FolderSource(Source):
    """Files in a folder; links to files and folders are followed, as torchvision does."""

    def __init__(self, name: str, location: Path) -> None:
        self.name = name
        self.location = location
        self._sizes: dict[str, int] = {}
        self._classes: set[str] = set()
        self._sorting = Sorting()
        digest = hashlib.sha256()
        # strings below: path objects for a million files take as long as their stat
        start = len(str(location / "train")) - len("train")
        for split in ("train", *EVAL_FOLDERS):
            folders, beside = _folders(location / split)
            self._sorting.unsorted(split, beside)
            for folder in folders:
                self._classes.add(f"{split}/{folder.name}")
                for path in _images(folder, f"{split}/{folder.name}", self._sorting):
                    relative = path[start:].replace(os.sep, "/")
                    try:
                        status = os.stat(path)
                    except OSError as error:
                        raise DataError(
                            f"{name}: {shown(Path(path))} cannot be read: {error.strerror}"
                        ) from error
                    if not stat.S_ISREG(status.st_mode):  # reading a pipe would never end
                        raise DataError(
                            f"{name}: {shown(Path(path))} cannot be read: no plain file"
                        )
                    self._sizes[relative] = status.st_size
                    times = f"\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\0"
                    digest.update(os.fsencode(relative) + times.encode())
        self.stat = digest.hexdigest()

    @cached_property
    def _layout(self) -> tuple[tuple[str, ...], tuple[Entry, ...]]:
        return layout(self.name, self.location, self._sizes, self._classes, self.left_out)

    @property
    def left_out(self) -> LeftOut:
        """Files in class folders that are not taken as images, and images in none."""
        return in_splits(self._sorting.left_out, self._classes)

    def reads(self) -> Iterator[tuple[int, Read]]:
        """Every file in order; whoever calls the function reads it."""
        for index, entry in enumerate(self.entries):
            yield index, partial(read_file, self.location / entry.path)

    def sample(self) -> Iterator[tuple[int, Read]]:
        """Files at equal distances."""
        yield from islice(self.reads(), 0, None, max(1, len(self.entries) // SAMPLE))


def _folders(folder: Path) -> tuple[list[Path], list[str]]:
    """Class folders, sorted, and names of what lies beside them."""
    if not folder.is_dir():
        return [], []
    classes, beside = [], []
    for inner in folder.iterdir():
        if not inner.is_dir():
            beside.append(inner.name)
        elif not is_hidden(inner.name):
            classes.append(inner)
    return sorted(classes), beside


def _images(folder: Path, place: str, sorting: Sorting) -> Iterator[str]:
    """Image files at any depth, each real folder once (links may form a loop).

    Others are noted in `sorting`, as of the class folder `place`.
    """
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for inner in filter(is_hidden, folders):
            for _, _, names in os.walk(os.path.join(root, inner)):
                sorting.hidden(place, names)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for file in sorted(files):
            if is_image(file):
                yield os.path.join(root, file)
            elif not is_hidden(file):
                sorting.other(place, file)
