"""CIFAR-10 and CIFAR-100 in their publisher's Python or binary version: folder or archive.

A binary file is a row of records: the label's byte (CIFAR-100: the coarse label's, then the fine
one's) and 3,072 bytes of pixels, one 32 × 32 plane each of red, green and blue. The Python version
is pickles with the same numbers; they are made into such records, so that both versions are the
same data set. https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ablate.data.pickled import as_binary, pickled_name
from ablate.data.roots import shown
from ablate.data.source import Entry, Read, Source, SplitName, constant
from ablate.errors import DataError

_PIXELS = 3 * 32 * 32
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
        return {file: (self.location / file).read_bytes() for file in self._wanted}

    def _read_archive(self) -> dict[str, bytes]:
        read: dict[str, bytes] = {}
        try:
            with tarfile.open(self.location, "r:gz") as archive:
                for member in archive:
                    file = PurePosixPath(member.name).name
                    stream = archive.extractfile(member) if file in self._wanted else None
                    if stream is not None:
                        read[file] = stream.read()
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise DataError(
                f"{self.name}: the archive {shown(self.location)} is damaged: {error}",
                hint="remove it and fetch it again",
            ) from error
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
        names = self._contents[self._names].decode("utf-8").split()
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

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """[32, 32, 3] of one record."""
        pixels = np.frombuffer(data, dtype=np.uint8)[self._labels :]
        return pixels.reshape(3, 32, 32).transpose(1, 2, 0)
