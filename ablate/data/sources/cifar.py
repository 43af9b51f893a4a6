"""CIFAR-10 and CIFAR-100 in their publisher's Python or binary version: folder or archive.

A binary file is a row of records: the label's byte (CIFAR-100: the coarse label's, then the fine
one's) and 3,072 bytes of pixels, one 32 × 32 plane each of red, green and blue. The Python version
is pickles with the same numbers, read without letting them call anything; they are made into such
records, so that both versions are the same data set. https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.data.sources import bounded_tar, plain_pickle
from ablate.data.sources.base import (
    Entry,
    Read,
    Source,
    SplitName,
    archive_error,
    constant,
    read_file,
    read_remedy,
)
from ablate.errors import DataError
from ablate.util.paths import shown

_PIXELS = 3 * 32 * 32
_CLASSES = 1000  # names that a file of names may hold
_LARGEST = 256 << 20  # bytes of a file; the largest of the publisher's has 155 million
_NAMES = 1 << 16  # bytes of the names of the classes
# What stands for the binary version's files; the others lose their ".bin".
_META = {"batches.meta.txt": "batches.meta", "fine_label_names.txt": "meta"}


def pickled_name(binary: str) -> str:
    """ "data_batch_1.bin" → "data_batch_1"."""
    return _META.get(binary) or binary.removesuffix(".bin")


def as_binary(data: bytes, labels: int) -> bytes:
    """The same file of the binary version: class names by line, or records with `labels` bytes.

    Raises ValueError for anything that is not such a file.
    """
    document = plain_pickle.loads(data)
    if not isinstance(document, dict):
        raise ValueError(f"a {type(document).__name__}")  # noqa: TRY004 - of the bytes, not of us
    fields = {_text(key): value for key, value in document.items()}
    for key in ("fine_label_names", "label_names"):
        if key in fields:
            return "\n".join(_text(name) for name in _items(fields[key], _CLASSES)).encode()
    names = ("labels",) if labels == 1 else ("coarse_labels", "fine_labels")
    missing = [key for key in ("data", *names) if key not in fields]
    if missing:
        raise ValueError(f"no '{missing[0]}'")
    pixels = _bytes(fields["data"])
    if pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise ValueError(f"pixels of shape {list(pixels.shape)}")
    columns = [_bytes(fields[name], len(pixels)) for name in names]
    if any(column.shape != (len(pixels),) for column in columns):
        raise ValueError(f"{len(pixels)} images, but labels of {[len(c) for c in columns]}")
    return np.concatenate([*(column[:, None] for column in columns), pixels], axis=1).tobytes()


def _bytes(values: Any, count: int = 0) -> NDArray[np.uint8]:
    """An array's numbers, or those of a list of `count`; a list in a list may be without end."""
    if not isinstance(values, np.ndarray):
        values = _items(values, count)
        if not all(type(value) is int and 0 <= value <= 255 for value in values):
            raise ValueError("labels that are no bytes")
        values = np.array(values, dtype=np.uint8)
    small = not values.size or 0 <= values.min() <= values.max() <= 255
    if values.dtype.kind not in "iu" or not small:
        raise ValueError(f"numbers of type {values.dtype} that are no bytes")
    made: NDArray[np.uint8] = values.astype(np.uint8)
    return made


def _items(values: Any, most: int) -> list[Any]:
    if not isinstance(values, list) or len(values) > most:
        raise ValueError(f"a {type(values).__name__} in place of at most {most:,} values")
    return values


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise ValueError(f"a {type(value).__name__} in place of a text")  # noqa: TRY004 - as above
    return value


_BINARY_NAMES = ("batches-bin", "binary")
_BATCHES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
# name: files of train, file of test, file of class names, label bytes
_LAYOUTS = {
    "cifar10": (_BATCHES, "test_batch.bin", "batches.meta.txt", 1),
    "cifar100": (("train.bin",), "test.bin", "fine_label_names.txt", 2),
}


class RecordSource(Source):
    """The records of one of the two data sets."""

    compressed = False

    def __init__(self, name: str, location: Path) -> None:
        self.name = name
        self.location = location
        self._train, self._test, self._names, self._labels = _LAYOUTS[name]
        binary = any(word in location.name for word in _BINARY_NAMES)
        names = (*self._train, self._test, self._names)
        self._wanted = {file if binary else pickled_name(file): file for file in names}
        self._pickled = not binary
        files = [location / file for file in self._wanted] if location.is_dir() else [location]
        digest = hashlib.sha256()
        for file in files:
            try:
                status = file.stat()
            except OSError as error:
                raise DataError(f"{name}: {shown(file)}: {error.strerror}") from error
            times = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\0"
            digest.update(times.encode())
        self.stat = digest.hexdigest()

    @cached_property
    def _contents(self) -> dict[str, bytes]:
        """The files of the binary version."""
        read = self._read_folder() if self.location.is_dir() else self._read_archive()
        missing = [file for file in self._wanted if file not in read]
        if missing:
            raise DataError(f"{self.name}: {shown(self.location)} has no {missing[0]}")
        if not self._pickled:
            return read
        contents = {}
        for file, binary in self._wanted.items():
            try:
                contents[binary] = as_binary(read[file], self._labels)
            except ValueError as error:
                raise DataError(
                    f"{self.name}: {file} in {shown(self.location)} is not the publisher's: {error}"
                ) from error
        return contents

    def _read_folder(self) -> dict[str, bytes]:
        read = {}
        for file in self._wanted:
            try:
                read[file] = read_file(self.location / file, _LARGEST)
            except OSError as error:
                raise DataError(
                    f"{self.name}: {shown(self.location / file)} cannot be read: "
                    f"{error.strerror or error}",
                    hint=read_remedy(error) or "replace it with a whole copy",
                ) from error
        return read

    def _read_archive(self) -> dict[str, bytes]:
        read: dict[str, bytes] = {}
        try:
            for archive, member in bounded_tar.entries(self.location, packed=True):
                file = PurePosixPath(member.name).name
                if file in self._wanted and member.isfile():
                    read[file] = bounded_tar.content(archive, member, _LARGEST)
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise archive_error(self.name, self.location, error) from error
        return read

    def _records(self, file: str) -> NDArray[np.uint8]:
        """[records, label bytes + 3,072]."""
        data = np.frombuffer(self._contents[file], dtype=np.uint8)
        length = self._labels + _PIXELS
        if len(data) == 0 or len(data) % length:
            raise DataError(
                f"{self.name}: {file} in {shown(self.location)} is not whole records of "
                f"{length:,} bytes"
            )
        return data.reshape(-1, length)

    @cached_property
    def _layout(self) -> tuple[tuple[str, ...], tuple[Entry, ...]]:
        listed = self._contents[self._names]
        names = listed.decode("utf-8", "replace").split() if len(listed) <= _NAMES else []
        if not 0 < len(names) <= _CLASSES:
            raise DataError(
                f"{self.name}: {self._names} in {shown(self.location)} names no classes"
            )
        entries: list[Entry] = []
        files: list[tuple[SplitName, str]] = [("train", file) for file in self._train]
        for split, file in [*files, ("eval", self._test)]:
            for number, label in enumerate(self._records(file)[:, self._labels - 1].tolist()):
                if label >= len(names):
                    raise DataError(
                        f"{self.name}: record {number} of {file} has the label {label}, "
                        f"but there are {len(names)} classes"
                    )
                entries.append(Entry(split, label, f"{file}/{number:05}", _PIXELS))
        return tuple(names), tuple(entries)

    def reads(self) -> Iterator[tuple[int, Read]]:
        """Label bytes and pixels of every record, in order."""
        index = 0
        for file in (*self._train, self._test):
            for record in self._records(file):
                yield index, constant(record.tobytes())
                index += 1

    def decoded_bytes(self) -> int:
        """What all images take when decoded."""
        return len(self.entries) * _PIXELS

    def decode(self, data: bytes, before: Callable[[int], None] | None = None) -> NDArray[np.uint8]:
        """[32, 32, 3] of one record."""
        pixels = np.frombuffer(data, dtype=np.uint8)[self._labels :]
        return pixels.reshape(3, 32, 32).transpose(1, 2, 0)
