"""The decoded cache: every image is decoded once, and kept as it came out, at its native size.

A cache is a folder named after its contents: `pixels.npy` (flat uint8, the images' [h, w, 3] bytes
one after the other), `table.npy` and `meta.json`. It is built beside its final place, under a lock,
and renamed: what is there is whole. Its name holds the decoder's version, so a changed decoder
builds another.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ablate.data import catalogue
from ablate.data.cached import META, PIXELS, TABLE, CachedDataset, Table, open_folder
from ablate.data.decode import DECODER
from ablate.data.identity import Identity, cache_folder, identify
from ablate.data.lock import locked
from ablate.data.roots import decoded_root, shown
from ablate.data.source import Read, Source, in_threads, manifest_digest
from ablate.errors import DataError
from ablate.trial import DatasetRef

# (images done, images in all, images per second)
Progress = Callable[[int, int, float], None]


def ensure_cache(
    name: str, data_root: Path | None, image_size: int, progress: Progress | None = None
) -> CachedDataset:
    """The decoded data set, decoding it first where that has not been done.

    Raises DataError for missing files, images that cannot be decoded, and a full disk.
    """
    identity = identify(name, image_size=image_size, root=data_root)
    if identity.source is None:
        return _from_arrays(identity)
    return _opened(identity) or _build(identity, progress)


def open_cache(ref: DatasetRef, data_root: Path | None) -> CachedDataset:
    """The data set that a trial names, with its limit; decoded again if its cache is gone.

    Raises DataError where the files now have other contents than the trial's.
    """
    if not catalogue.in_memory(ref.name):
        folder = cache_folder(ref.name, ref.variant, ref.fingerprint)
        try:
            return open_folder(folder, ref.name).limited(ref.limit)
        except (OSError, ValueError, KeyError):  # not there, or not whole: decoded again
            pass
    pixels = catalogue.dataset_info(ref.name).editions.get(ref.variant)
    size_wanted = (pixels.pixels if pixels else None) or 4096
    cached = ensure_cache(ref.name, data_root, size_wanted)
    if cached.identity.fingerprint != ref.fingerprint or ref.decoder != DECODER:
        raise DataError(
            f"{ref.name} is not what it was when this trial was planned",
            hint="plan again: the same command trains on what is there now",
        )
    return cached.limited(ref.limit)


def _from_arrays(identity: Identity) -> CachedDataset:
    arrays = catalogue.load_arrays(identity.name)
    images = arrays.all_images()
    heights = np.array([image.shape[0] for image in images], dtype=np.int64)
    widths = np.array([image.shape[1] for image in images], dtype=np.int64)
    lengths = heights * widths * 3
    table = Table(
        offsets=np.cumsum(lengths) - lengths,
        heights=heights,
        widths=widths,
        labels=arrays.all_labels(),
        paths=tuple(
            f"{split}/{i}"
            for split, count in zip(("train", "eval"), identity.counts, strict=True)
            for i in range(count)
        ),
        train=identity.counts[0],
    )
    return CachedDataset(identity, table, np.concatenate([image.ravel() for image in images]))


def _opened(identity: Identity) -> CachedDataset | None:
    try:
        return open_folder(identity.folder, identity.name)
    except (OSError, ValueError, KeyError):  # not there, or not whole
        return None


def _build(identity: Identity, progress: Progress | None) -> CachedDataset:
    folder = identity.folder
    with _writable(folder.parent), locked(folder.with_name(folder.name + ".lock")):
        built = _opened(identity)  # by whoever held the lock before us
        if built is not None:
            return built
        for stale in folder.parent.glob(f"{folder.name}.*.tmp"):  # of a builder that was killed
            shutil.rmtree(stale, ignore_errors=True)
        if folder.exists():  # not whole, as a full disk or a crash leaves it
            shutil.rmtree(folder)
        making = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.", suffix=".tmp"))
        try:
            _decode_all(identity, making, progress)
            making.chmod(0o755)
            making.rename(folder)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
    return open_folder(folder, identity.name)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """What can go wrong with writing there, as one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            message = f"no space left for decoded images in {shown(folder)}"
        else:
            message = f"cannot write decoded images to {shown(folder)}: {error.strerror or error}"
        raise DataError(message, hint="set ABLATE_CACHE to a folder with space") from error


def _decode_all(identity: Identity, folder: Path, progress: Progress | None) -> None:
    source = identity.source
    assert source is not None
    entries, total = source.entries, len(source.entries)
    _check_space(source, folder)
    offsets, heights, widths = (np.zeros(total, dtype=np.int64) for _ in range(3))
    digests: dict[int, bytes] = {}
    position, started = 0, time.monotonic()

    def decode_one(index: int, read: Read) -> tuple[int, bytes, NDArray[np.uint8]]:
        try:
            data = read()
            return index, hashlib.sha256(data).digest(), source.decode(data)
        except Exception as error:  # decoders raise anything for damaged files
            raise source.damaged(index, error) from error

    with (folder / PIXELS).open("wb") as file:
        _write_header(file, 0)
        begin = file.tell()
        for done, (index, digest, image) in enumerate(in_threads(decode_one, source.reads()), 1):
            digests[index] = digest
            offsets[index], heights[index], widths[index] = position, *image.shape[:2]
            file.write(np.ascontiguousarray(image).data)
            position += image.size
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
    np.save(folder / TABLE, np.stack([offsets, heights, widths, labels]))
    meta = {
        "name": identity.name,
        "variant": identity.variant,
        "fingerprint": identity.fingerprint,
        "decoder": DECODER,
        "pillow": _pillow_version(),
        "classes": list(identity.classes),
        "counts": list(identity.counts),
        "bytes": position,
        "paths": [entry.path for entry in entries],
    }
    (folder / META).write_text(json.dumps(meta), encoding="utf-8")
    for name in (TABLE, META):
        with (folder / name).open("rb+") as written:
            os.fsync(written.fileno())


def _write_header(file: BinaryIO, length: int) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (length,)}
    )


def _pillow_version() -> str:
    from PIL import __version__

    return __version__


def _check_space(source: Source, folder: Path) -> None:
    """Refuse before hours of work what cannot fit."""
    need, free = source.decoded_bytes(), shutil.disk_usage(folder).free
    if need > free:
        raise DataError(
            f"decoding {source.name} takes about {need / 2**30:,.0f} GiB; "
            f"{shown(decoded_root())} has {free / 2**30:,.0f} GiB left",
            hint="set ABLATE_CACHE to a folder with space",
        )
