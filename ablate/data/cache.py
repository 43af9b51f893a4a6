"""The cache of a data set's images, shared by all trials: every image decoded once, or its file.

A cache is a folder named after its contents: one flat `.npy` of bytes (`pixels.npy`, the images'
[h, w, 3] one after the other at their native size, or `files.npy`, the image files as they are),
`table.npy` and `meta.json`. `cache_builder` makes it, and what is there is whole. Its name
holds the decoder's version, so a changed decoder builds another.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ablate.core.trial import DatasetRef
from ablate.data import catalogue
from ablate.data.cache_builder import Progress, build, opened
from ablate.data.dataset import CachedDataset, Table
from ablate.data.decode import DECODER
from ablate.data.fingerprint import Identity, cache_folder, identify
from ablate.errors import DataError


def ensure_cache(
    name: str, data_root: Path | None, image_size: int, progress: Progress | None = None
) -> CachedDataset:
    """The data set's cache, built first where that has not been done.

    Raises DataError for missing files, images that cannot be decoded, and a full disk.
    """
    identity = identify(name, image_size=image_size, root=data_root)
    if identity.source is None:
        return _from_arrays(identity)
    return opened(identity.folder, name) or build(identity, progress)


def open_cache(ref: DatasetRef, data_root: Path | None) -> CachedDataset:
    """The data set that a trial names, with its limit and what it holds out; built again if its
    cache is gone.

    Raises DataError where the files now have other contents than the trial's.
    """
    if not catalogue.in_memory(ref.name):
        there = opened(cache_folder(ref.name, ref.variant, ref.fingerprint), ref.name)
        if there is not None:
            return there.limited(ref.limit).holding_out(ref.held_out, ref.fold)
    pixels = catalogue.dataset_info(ref.name).editions.get(ref.variant)
    size_wanted = (pixels.pixels if pixels else None) or 4096
    cached = ensure_cache(ref.name, data_root, size_wanted)
    if cached.identity.fingerprint != ref.fingerprint or ref.decoder != DECODER:
        raise DataError(
            f"{ref.name} is not what it was when this trial was planned",
            hint="plan again: the same command trains on what is there now",
        )
    return cached.limited(ref.limit).holding_out(ref.held_out, ref.fold)


def _from_arrays(identity: Identity) -> CachedDataset:
    arrays = catalogue.load_arrays(identity.name)
    images = arrays.all_images()
    heights = np.array([image.shape[0] for image in images], dtype=np.int64)
    widths = np.array([image.shape[1] for image in images], dtype=np.int64)
    lengths = heights * widths * 3
    table = Table(
        offsets=np.cumsum(lengths) - lengths,
        lengths=lengths,
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
