"""Labelled image files in the usual layout, `train/CLASS/…` and `val/CLASS/…`: folder or archive.

Nothing is decoded here: a source lists its files, reads their bytes and fingerprints them.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ablate.data.roots import shown
from ablate.errors import DataError

# torchvision's ImageFolder takes the same files as images and leaves out all others.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
EVAL_FOLDERS = ("val", "test")  # the first that exists is the evaluation split
SAMPLE = 64  # images whose headers tell how large the cache will be
UNDER_WAY = 256  # files read ahead of their use: an archive's bytes wait in memory

SplitName = Literal["train", "eval"]
Read = Callable[[], bytes]
T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One image file: its split, class number, path below the data set's folder and bytes."""

    split: SplitName
    label: int
    path: str
    size: int


class Source:
    """The files of one data set.

    name: as the user wrote it. location: the folder or archive. stat: a digest of sizes and times;
    while it stays the same, the contents are taken to be the same.
    """

    name: str
    location: Path
    stat: str

    def _files(self) -> dict[str, int]:
        """Path below the data set's folder -> bytes, images only."""
        raise NotImplementedError

    def _folders(self) -> set[str]:
        """`split/class` of every class folder, with or without images."""
        raise NotImplementedError

    def reads(self) -> Iterator[tuple[int, Read]]:
        """(index into `entries`, a function that reads its bytes): each once, in any order."""
        raise NotImplementedError

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """[h, w, 3] uint8 of one entry's bytes; raises anything for a damaged one."""
        from ablate.data.decode import decode

        return decode(data)

    @cached_property
    def _layout(self) -> tuple[tuple[str, ...], tuple[Entry, ...]]:
        return _layout(self.name, self.location, self._files(), self._folders())

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted names of the class folders; a label is a position in it."""
        return self._layout[0]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every image: train, then eval, sorted by class and path."""
        return self._layout[1]

    def count(self, split: SplitName) -> int:
        """Images of this split."""
        return sum(entry.split == split for entry in self.entries)

    def fingerprint(self) -> str:
        """SHA-256 of the manifest (path, size and SHA-256 of every file), in hex."""
        digests: dict[int, bytes] = {}

        def digest(index: int, read: Read) -> None:
            digests[index] = hashlib.sha256(self._guarded(index, read)).digest()

        for _ in in_threads(digest, self.reads()):
            pass
        return manifest_digest(self.entries, digests)

    def damaged(self, index: int, error: Exception) -> DataError:
        """What to say of an entry that does not decode."""
        entry = self.entries[index]
        number = index if entry.split == "train" else index - self.count("train")
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "cannot identify image file" in reason:  # Pillow names its own buffer there
            reason = "not an image"
        place = shown(self.location / entry.path)
        return DataError(
            f"{self.name}: {entry.split} image {number}, {place}, cannot be decoded: {reason}",
            hint="replace it with a whole copy",
        )

    def decoded_bytes(self) -> int:
        """About what all images take when decoded, judged by the headers of some."""
        from ablate.data.decode import size

        found: list[int] = []
        for index, read in islice(self.sample(), SAMPLE):
            try:
                height, width = size(read())
            except Exception as error:  # decoders raise anything for damaged files
                raise self.damaged(index, error) from error
            found.append(height * width * 3)
        return sum(found) * len(self.entries) // len(found)

    def sample(self) -> Iterator[tuple[int, Read]]:
        """`reads`, in an order that begins with some of all kinds where that costs nothing."""
        return self.reads()

    def _guarded(self, index: int, read: Read) -> bytes:
        try:
            return read()
        except OSError as error:
            path = self.location / self.entries[index].path
            raise DataError(
                f"{self.name}: {shown(path)} cannot be read: {error.strerror}"
            ) from error


def manifest_digest(entries: Sequence[Entry], digests: Mapping[int, bytes]) -> str:
    """SHA-256 over path, size and content hash of every entry, in hex."""
    manifest = hashlib.sha256()
    for index, entry in enumerate(entries):
        manifest.update(b"%s\0%d\0" % (os.fsencode(entry.path), entry.size) + digests[index])
    return manifest.hexdigest()


def in_threads(
    function: Callable[[int, Read], T], reads: Iterator[tuple[int, Read]]
) -> Iterator[T]:
    """`function` of each of `reads`, on as many threads as cores; results in order."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for index, read in reads:
                waiting.append(pool.submit(function, index, read))
                if len(waiting) >= UNDER_WAY:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class FolderSource(Source):
    """Files in a folder; links to files and folders are followed, as torchvision does."""

    def __init__(self, name: str, location: Path) -> None:
        self.name = name
        self.location = location
        self._sizes: dict[str, int] = {}
        self._classes: set[str] = set()
        digest = hashlib.sha256()
        # strings below: path objects for a million files take as long as their stat
        start = len(str(location / "train")) - len("train")
        for split in ("train", *EVAL_FOLDERS):
            for folder in _folders(location / split):
                self._classes.add(f"{split}/{folder.name}")
                for path in _images(folder):
                    relative = path[start:].replace(os.sep, "/")
                    try:
                        status = os.stat(path)
                    except OSError as error:
                        raise DataError(
                            f"{name}: {shown(Path(path))} cannot be read: {error.strerror}"
                        ) from error
                    self._sizes[relative] = status.st_size
                    times = f"\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\0"
                    digest.update(os.fsencode(relative) + times.encode())
        self.stat = digest.hexdigest()

    def _files(self) -> dict[str, int]:
        return self._sizes

    def _folders(self) -> set[str]:
        return self._classes

    def reads(self) -> Iterator[tuple[int, Read]]:
        """Every file in order; whoever calls the function reads it."""
        for index, entry in enumerate(self.entries):
            yield index, (self.location / entry.path).read_bytes

    def sample(self) -> Iterator[tuple[int, Read]]:
        """Files at equal distances."""
        yield from islice(self.reads(), 0, None, max(1, len(self.entries) // SAMPLE))


class ArchiveSource(Source):
    """Files in a .tgz as fast.ai publishes it: one top folder that holds train/ and val/."""

    def __init__(self, name: str, location: Path) -> None:
        self.name = name
        self.location = location
        status = location.stat()
        self.stat = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"

    @cached_property
    def _members(self) -> dict[str, tuple[str, int]]:
        """Path below the top folder -> name in the archive and bytes."""
        members: dict[str, tuple[str, int]] = {}
        with self._opened() as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if member.isfile() and ".." not in path.parts and is_image(path.name):
                    below = PurePosixPath(*path.parts[1:]).as_posix()
                    members[below] = (member.name, member.size)
        return members

    @contextmanager
    def _opened(self) -> Iterator[tarfile.TarFile]:
        """The archive; what is wrong with it as one line."""
        try:
            with tarfile.open(self.location, "r:gz") as archive:
                yield archive
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise DataError(
                f"{self.name}: the archive {shown(self.location)} is damaged: {error}",
                hint="remove it and fetch it again",
            ) from error

    def _files(self) -> dict[str, int]:
        return {path: size for path, (_, size) in self._members.items()}

    def _folders(self) -> set[str]:
        paths = (PurePosixPath(path).parts for path in self._members)
        return {"/".join(parts[:2]) for parts in paths if len(parts) > 2}

    def reads(self) -> Iterator[tuple[int, Read]]:
        """Every file in the archive's order: any other reads it from the start each time."""
        wanted = {self._members[entry.path][0]: i for i, entry in enumerate(self.entries)}
        with self._opened() as archive:
            for member in archive:
                index = wanted.get(member.name)
                stream = archive.extractfile(member) if index is not None else None
                if index is not None and stream is not None:
                    yield index, constant(stream.read())


def constant(data: bytes) -> Read:
    """A `Read` of bytes that are there already."""
    return lambda: data


def is_image(name: str) -> bool:
    """Whether a file of this name is taken as an image; hidden files never are."""
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def _folders(folder: Path) -> list[Path]:
    """Class folders, sorted."""
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))


def _images(folder: Path) -> Iterator[str]:
    """Image files at any depth, each real folder once (links may form a loop)."""
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for file in sorted(files):
            if is_image(file):
                yield os.path.join(root, file)


def _layout(
    name: str, location: Path, files: Mapping[str, int], folders: set[str]
) -> tuple[tuple[str, ...], tuple[Entry, ...]]:
    """Classes and entries of `split/class/…` paths; DataError where a split or class is empty."""
    place = shown(location)
    found = {folder.split("/")[0] for folder in folders}
    eval_folder = next((f for f in EVAL_FOLDERS if f in found), None)
    if "train" not in found:
        raise DataError(
            f"{name}: {place} has no class folders in train/", hint="expected train/CLASS/IMAGE"
        )
    if eval_folder is None:
        raise DataError(
            f"{name}: {place} has no class folders in val/ or test/",
            hint="expected val/CLASS/IMAGE, the images to evaluate on",
        )
    classes = tuple(sorted(f.split("/")[1] for f in folders if f.startswith("train/")))
    numbers = {folder: label for label, folder in enumerate(classes)}
    splits: tuple[tuple[SplitName, str], ...] = (("train", "train"), ("eval", eval_folder))
    entries: list[Entry] = []
    for split, top in splits:
        here = sorted(f.split("/")[1] for f in folders if f.startswith(f"{top}/"))
        for odd in sorted(set(here) ^ set(classes)):
            where, other = (top, "train") if odd in here else ("train", top)
            raise DataError(f"{name}: {place} has the class {where}/{odd}, but no {other}/{odd}")
        found_files = sorted(
            (path.split("/", 2)[1], path, size)
            for path, size in files.items()
            if path.startswith(f"{top}/") and path.count("/") > 1
        )
        entries += [Entry(split, numbers[c], path, size) for c, path, size in found_files]
        empty = set(here) - {c for c, _, _ in found_files}
        if empty:
            raise DataError(f"{name}: {place}/{top}/{min(empty)} has no images")
    if len(classes) == 1:
        raise DataError(f"{name}: {place} has one class, {classes[0]}: nothing to tell apart")
    return classes, tuple(entries)
