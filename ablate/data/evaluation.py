"""Evaluation images: short side to `eval_resize`, centre crop of `eval_size`, made once.

They are the same in every epoch and trial. On a CPU they are a file in the data set's cache, which
all trials map and the system keeps in memory once; on a GPU each trial makes them, in less time
than they would take to read.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ablate.data.device_copy import fits, image_store
from ablate.data.resample import centres, resample
from ablate.util import shared

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.data.dataset import CachedDataset

_PART = 256  # images resized together
_SHARE = 0.25  # of the free disk that one such file may take


class EvalImages:
    """uint8 [N, 3, size, size] of the evaluation split, kept on the device where they fit."""

    def __init__(self, cached: CachedDataset, resize: int, size: int, device: torch.device) -> None:
        self._split = cached.eval
        self._folder = cached.folder if device.type == "cpu" else None
        self._resize = resize
        self._size = size
        self._device = device
        self._images: Tensor | None = None

    def all(self) -> Tensor:
        """Every image within the split's limit, in the order of `split.ids`."""
        if self._images is None:
            self._images = self._made() if self._folder is None else self._shared(self._folder)
        return self._images

    def _shared(self, folder: Path) -> Tensor:
        """Mapped from the cache's folder, written there first; in memory where that cannot be."""
        shape = (len(self._split), 3, self._size, self._size)
        # torch's kernel may differ in a bit between its versions and the processor's instructions
        kernel = f"{torch.__version__}-{torch.backends.cpu.get_cpu_capability()}"
        part = self._split.part
        name = f"eval{part}-{self._resize}-{self._size}-{shape[0]}-{kernel}.npy"
        images = _mapped(folder / name, shape)
        if images is None:
            made = self._made()
            _save(folder / name, made.numpy())
            images = _mapped(folder / name, shape)
            if images is None:  # the folder is read-only, or the disk is full
                return made
        return torch.from_numpy(images)

    def _made(self) -> Tensor:
        split, size = self._split, self._size
        needed = len(split) * 3 * size * size
        home = self._device if fits(needed, self._device) else torch.device("cpu")
        images = torch.empty(
            (len(split), 3, size, size),
            dtype=torch.uint8,
            device=home,
            pin_memory=home != self._device,
        )
        parts = np.split(split.ids, range(_PART, len(split), _PART))
        done = 0
        store = image_store(split, self._device, stay=False)
        try:
            for ragged in store.batches(parts):
                views = centres(ragged.heights, ragged.widths, self._resize, size)
                images[done : done + len(ragged)] = resample(ragged, views, size)
                done += len(ragged)
        finally:
            store.close()
        return images

    def batches(self, count: int) -> Iterator[tuple[Tensor, int]]:
        """(uint8 [count, 3, size, size] on the device, how many of them are images)."""
        images = self.all()
        for start in range(0, len(images), count):
            part = images[start : start + count].to(self._device, non_blocking=True)
            valid = len(part)
            if valid < count:  # every batch has one shape, so that a compiled model has one graph
                part = torch.cat([part, part.new_zeros(count - valid, *part.shape[1:])])
            yield part, valid


def _mapped(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The file's images; None where it is not there, or not whole."""
    try:
        # Copy-on-write: torch needs memory that calls itself writable.
        images = np.load(path, mmap_mode="c")
    except (OSError, ValueError, EOFError):
        return None
    whole = images.shape == shape and images.dtype == np.uint8
    return np.asarray(images) if whole else None


def _save(path: Path, images: NDArray[np.uint8]) -> None:
    """Whole or not at all, and only where there is plenty of space; two trials may both."""
    try:
        if images.nbytes > shutil.disk_usage(path.parent).free * _SHARE:
            return
        shared.write_whole(path, lambda file: np.save(file, images))
    except OSError:  # training goes on without it
        return
