"""Building a cache: all images decoded in parallel, in one file, beside its final place.

It is built under a lock and renamed, so that what is there is whole. Where the pixels would take
too much, the image files are kept instead, one after the other in one file: every one of them is
decoded now all the same, so that a damaged one is found before hours of training.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ablate.data.dataset import FILES, META, PIXELS, TABLE, CachedDataset, open_folder
from ablate.data.decode import DECODER, REFUSAL
from ablate.data.fingerprint import Identity
from ablate.data.sources.base import Read, Room, Source, in_threads, manifest_digest
from ablate.errors import DataError
from ablate.util import shared
from ablate.util.beneath import sync
from ablate.util.locks import locked
from ablate.util.paths import decoded_limit, decoded_root, shown

# (images done, images in all, images per second)
Progress = Callable[[int, int, float], None]

_SHARE = 0.5  # of the free disk that pixels may take unless told otherwise


def opened(folder: Path, name: str) -> CachedDataset | None:
    """The cache in this folder; None where it is not there, or not whole."""
    try:
        return open_folder(folder, name)
    except (OSError, ValueError, KeyError):
        return None


def build(identity: Identity, progress: Progress | None) -> CachedDataset:
    """The cache of `identity`, by this process or another; DataError as `ensure_cache`."""
    folder = identity.folder
    with _writable(folder.parent), locked(folder.with_name(folder.name + ".lock")):
        built = opened(folder, identity.name)  # by whoever held the lock before us
        if built is not None:
            return built
        for stale in folder.parent.glob(f"{folder.name}.*.tmp"):  # of a builder that was killed
            shutil.rmtree(stale, ignore_errors=True)
        if folder.exists():  # not whole, as a full disk or a crash leaves it
            shutil.rmtree(folder)
        making = shared.new_folder(folder)
        try:
            _write(identity, making, progress)
            sync(making)
            making.rename(folder)
            sync(folder.parent)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
    return open_folder(folder, identity.name)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """What can go wrong with writing there, as one line."""
    try:
        shared.make_folder(folder)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            message, which = f"no space left for decoded images in {shown(folder)}", "with space"
        else:
            message = f"cannot write decoded images to {shown(folder)}: {error.strerror or error}"
            which = "that you can write to"
        raise DataError(message, hint=f"set ABLATE_CACHE to a folder {which}") from error


def _write(identity: Identity, folder: Path, progress: Progress | None) -> None:
    source = identity.source
    assert source is not None
    entries, total = source.entries, len(source.entries)
    keep_files = _too_large(source, folder)
    offsets, lengths, heights, widths = (np.zeros(total, dtype=np.int64) for _ in range(4))
    digests: dict[int, bytes] = {}
    sizes, room = [entry.size for entry in entries], Room()
    position, started = 0, time.monotonic()

    def decode_one(index: int, read: Read) -> tuple[int, bytes, tuple[int, ...], NDArray[np.uint8]]:
        try:
            data = read()
            image = source.decode(data, lambda need: room.hold(index, len(data) + need))
        except Exception as error:  # decoders raise anything for damaged files
            raise source.damaged(index, error) from error
        kept = np.frombuffer(data, dtype=np.uint8) if keep_files else np.ascontiguousarray(image)
        room.hold(index, kept.nbytes)
        return index, hashlib.sha256(data).digest(), image.shape, kept

    with shared.create(folder / (FILES if keep_files else PIXELS)) as file:
        _write_header(file, 0)
        begin = file.tell()
        for done, made in enumerate(in_threads(decode_one, source.reads(), sizes, room), 1):
            index, digests[index], shape, kept = made
            offsets[index], lengths[index] = position, kept.size
            heights[index], widths[index] = shape[:2]
            file.write(kept.data)
            position += kept.size
            if progress is not None and (done % 32 == 0 or done == total):
                progress(done, total, done / max(time.monotonic() - started, 1e-9))
        file.seek(0)
        _write_header(file, position)
        assert file.tell() == begin  # NumPy leaves room for any length
        file.flush()
        os.fsync(file.fileno())
    if manifest_digest(entries, digests) != identity.fingerprint:
        raise DataError(f"{identity.name} changed while it was decoded", hint="run it again")
    labels = np.array([entry.label for entry in entries], dtype=np.int64)
    rows = [offsets, heights, widths, labels, *([lengths] if keep_files else [])]
    table = np.stack(rows)
    shared.write_whole(folder / TABLE, lambda file: np.save(file, table))
    meta = {
        "name": identity.name,
        "variant": identity.variant,
        "fingerprint": identity.fingerprint,
        "decoder": DECODER,
        "refusal": REFUSAL,
        "pillow": _pillow_version(),
        "classes": list(identity.classes),
        "counts": list(identity.counts),
        "bytes": position,
        "paths": [entry.path for entry in entries],
    }
    said = json.dumps(meta).encode()
    shared.write_whole(folder / META, lambda file: file.write(said))


def _write_header(file: BinaryIO, length: int) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (length,)}
    )


def _pillow_version() -> str:
    from PIL import __version__

    return __version__


def _too_large(source: Source, folder: Path) -> bool:
    """Whether to keep the files and not the pixels. Refuses before hours of work what cannot fit.

    Pixels take five to ten times as much: they are not worth half of what is free on the disk,
    nor more than a machine's memory keeps of them between two epochs.
    """
    pixels, free = source.decoded_bytes(), shutil.disk_usage(folder).free
    limit, chosen = decoded_limit()
    if not chosen:
        limit = min(limit, int(free * _SHARE))
    files = sum(entry.size for entry in source.entries)
    keep_files = source.compressed and pixels > limit and files < pixels
    need = files if keep_files else pixels
    if need > free:
        what = "keeping the files of" if keep_files else "decoding"
        raise DataError(
            f"{what} {source.name} takes about {need / 2**30:,.0f} GiB; "
            f"{shown(decoded_root())} has {free / 2**30:,.0f} GiB left",
            hint="set ABLATE_CACHE to a folder with space",
        )
    return keep_files
