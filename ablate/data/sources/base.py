"""What a data set's images come from: `Source`, and the layout `train/CLASS/…`, `val/CLASS/…`.

Nothing is decoded here: a source lists its images, reads their bytes and fingerprints them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Condition
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ablate.data.sources.file_names import LeftOut, no_images
from ablate.errors import DataError
from ablate.util.files import open_plain
from ablate.util.paths import shown

LARGEST = 512 << 20  # bytes of an image file: of one that is not packed, a pixel has three
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


class Source(ABC):
    """The files of one data set.

    name: as the user wrote it. location: the folder or archive. stat: a digest of sizes and times;
    while it stays the same, the contents are taken to be the same.
    """

    name: str
    location: Path
    stat: str
    compressed: bool = True  # a file is smaller than its pixels, and `decode` is the one below

    @property
    @abstractmethod
    def _layout(self) -> tuple[tuple[str, ...], tuple[Entry, ...]]:
        """`classes` and `entries`."""

    @abstractmethod
    def reads(self) -> Iterator[tuple[int, Read]]:
        """(index into `entries`, a function that reads its bytes): each once, in any order."""

    def decode(self, data: bytes, before: Callable[[int], None] | None = None) -> NDArray[np.uint8]:
        """[h, w, 3] uint8 of one entry's bytes; raises anything for a damaged one.

        before: told how many bytes decoding takes, once the header has said it.
        """
        from ablate.data.decode import decode

        return decode(data, before)

    @property
    def left_out(self) -> LeftOut:
        """Files in class folders that are not taken as images; nothing of published archives."""
        return ()

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

        sizes = [entry.size for entry in self.entries]
        for _ in in_threads(digest, self.reads(), sizes, Room()):
            pass
        return manifest_digest(self.entries, digests)

    def damaged(self, index: int, error: Exception) -> DataError:
        """What to say of an entry that does not decode."""
        entry = self.entries[index]
        number = index if entry.split == "train" else index - self.count("train")
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        place = shown(self.location / entry.path)
        if isinstance(error, OSError) and error.errno is not None:  # Pillow's own has no number
            verb, reason = "read", error.strerror or reason
        else:
            verb = "decoded"
        return DataError(
            f"{self.name}: {entry.split} image {number}, {place}, cannot be {verb}: {reason}",
            hint=_remedy(error),
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
        from ablate.data.decode import Unfit

        try:
            return read()
        except (OSError, Unfit, MemoryError) as error:
            path = self.location / self.entries[index].path
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DataError(
                f"{self.name}: {shown(path)} cannot be read: {reason}", hint=_remedy(error)
            ) from error


# What Pillow and its libraries raise where bytes are missing or wrong.
_BROKEN = (OSError, SyntaxError, EOFError, struct.error, zlib.error)
_WHOLE = "replace it with a whole copy"


def _remedy(error: Exception) -> str:
    """What to do about a file, by what is wrong with it: most that cannot be used are whole."""
    from ablate.data.decode import Unfit

    if isinstance(error, Unfit):
        return error.hint
    if isinstance(error, MemoryError):
        return "it takes more memory than is free: save a smaller copy, or end other programs"
    if isinstance(error, OSError) and error.errno is not None:
        return read_remedy(error) or _WHOLE
    if isinstance(error, _BROKEN):
        return _WHOLE
    return f"if other programs open it, save it again as RGB in PNG or JPEG; else {_WHOLE}"


def read_remedy(error: OSError) -> str | None:
    """What to do about a file that cannot be read; None if its bytes may be at fault."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return "make it readable for you: chmod u+r, or ask its owner"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "put it back, or run the same command again without it"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many files are open: ulimit -n allows more"
    return None


def archive_error(name: str, archive: Path, error: Exception) -> DataError:
    """What to say of an archive that cannot be read, or not to its end. name: "" for none."""
    place = f"{name}: the archive {shown(archive)}" if name else f"the archive {shown(archive)}"
    if isinstance(error, OSError) and (remedy := read_remedy(error)) is not None:
        return DataError(f"{place} cannot be read: {error.strerror}", hint=remedy)
    return DataError(f"{place} is damaged: {error}", hint="remove it and fetch it again")


def check_size(size: int, most: int) -> None:
    """Raises Unfit for a file of more bytes than that."""
    from ablate.data.decode import Unfit

    if size > most:
        raise Unfit(
            f"it has {size:,} bytes, more than {most:,}", "save a smaller copy, or remove it"
        )


def read_file(path: Path, most: int = LARGEST) -> bytes:
    """The bytes of a plain file. Raises Unfit for more than `most` of them, before it is read."""
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        check_size(size, most)
        return file.read(size)


class Room:
    """Memory that files and pixels under way take together, which threads wait for.

    What is waited for itself, the oldest, gets what it needs: so it goes on, and what is taken is
    at most `limit` and one image.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit or max(1 << 30, (os.cpu_count() or 1) << 28)
        self._held: dict[int, int] = {}
        self._sum = 0
        self._oldest: int | None = None
        self._closed = False
        self._changed = Condition()

    def has(self, size: int) -> bool:
        """Whether there is room for so many bytes more."""
        return self._sum + size <= self._limit

    def hold(self, index: int, size: int, wait: bool = True) -> None:
        """From now on entry `index` takes `size` bytes; waits where that is more than there is."""
        with self._changed:
            more = size - self._held.get(index, 0)
            if wait and more > 0:
                self._changed.wait_for(
                    lambda: self.has(more) or self._oldest == index or self._closed
                )
            self._held[index] = size
            self._sum += more
            if not size:
                del self._held[index]
            if more < 0:
                self._changed.notify_all()

    def serve(self, index: int) -> None:
        """This entry is waited for."""
        with self._changed:
            self._oldest = index
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def manifest_digest(entries: Sequence[Entry], digests: Mapping[int, bytes]) -> str:
    """SHA-256 over path, size and content hash of every entry, in hex."""
    manifest = hashlib.sha256()
    for index, entry in enumerate(entries):
        manifest.update(b"%s\0%d\0" % (os.fsencode(entry.path), entry.size) + digests[index])
    return manifest.hexdigest()


def in_threads(
    function: Callable[[int, Read], T],
    reads: Iterator[tuple[int, Read]],
    sizes: Sequence[int],
    room: Room,
) -> Iterator[T]:
    """`function` of each of `reads`, on as many threads as cores; results in order.

    sizes: bytes of each file, which wait in memory. room: what they and their pixels may take.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        waiting: deque[tuple[int, Future[T]]] = deque()

        def oldest() -> Iterator[T]:
            index, future = waiting.popleft()
            room.serve(index)
            yield future.result()
            room.hold(index, 0)

        try:
            for index, read in reads:
                while waiting and not room.has(sizes[index]):
                    yield from oldest()
                room.hold(index, sizes[index], wait=False)
                waiting.append((index, pool.submit(function, index, read)))
                if len(waiting) >= UNDER_WAY:
                    yield from oldest()
            while waiting:
                yield from oldest()
        finally:
            room.close()
            for _, future in waiting:
                future.cancel()


def constant(data: bytes) -> Read:
    """A `Read` of bytes that are there already."""
    return lambda: data


EVAL_FOLDERS = ("val", "test")  # the first that exists is the evaluation split


def eval_folder(folders: Iterable[str]) -> str | None:
    """ "val" or "test", of class folders like "train/ant"."""
    found = {folder.split("/")[0] for folder in folders}
    return next((f for f in EVAL_FOLDERS if f in found), None)


def in_splits(left_out: LeftOut, folders: Iterable[str]) -> LeftOut:
    """What lies in train and in the folder that is evaluated on."""
    splits = {"train", eval_folder(folders)}
    return tuple(one for one in left_out if one[0].split("/")[0] in splits)


def class_folders(files: Iterable[str], left_out: LeftOut) -> set[str]:
    """ "train/ant" of every file in an archive, which need not name its folders."""
    places = ("/".join(path.split("/")[:2]) for path in files if path.count("/") > 1)
    return {*places, *(place for place, _, _ in left_out if "/" in place)}


def layout(
    name: str, location: Path, files: Mapping[str, int], folders: set[str], left_out: LeftOut = ()
) -> tuple[tuple[str, ...], tuple[Entry, ...]]:
    """Classes and entries of `split/class/…` paths; DataError where a split or class is empty.

    left_out: files that are no images, and where.
    """
    place = shown(location)
    evaluated = eval_folder(folders)
    if not any(folder.startswith("train/") for folder in folders):
        raise DataError(
            f"{name}: {place} has no class folders in train/", hint="expected train/CLASS/IMAGE"
        )
    if evaluated is None:
        raise DataError(
            f"{name}: {place} has no class folders in val/ or test/",
            hint="expected val/CLASS/IMAGE, the images to evaluate on",
        )
    classes = tuple(sorted(f.split("/")[1] for f in folders if f.startswith("train/")))
    numbers = {folder: label for label, folder in enumerate(classes)}
    splits: tuple[tuple[SplitName, str], ...] = (("train", "train"), ("eval", evaluated))
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
            what, hint = no_images(f"{top}/{min(empty)}", left_out)
            raise DataError(f"{name}: {place}/{top}/{min(empty)} {what}", hint=hint)
    if len(classes) == 1:
        raise DataError(f"{name}: {place} has one class, {classes[0]}: nothing to tell apart")
    return classes, tuple(entries)
