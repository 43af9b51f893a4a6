"""Evaluation images: short side to `eval_resize`, centre crop of `eval_size`, made once a trial."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from ablate.data.resample import centres, resample
from ablate.data.store import fits, image_store

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.data.cached import Split

_PART = 256  # images resized together


class EvalImages:
    """uint8 [N, 3, size, size] of a split, kept on the device where they fit."""

    def __init__(self, split: Split, resize: int, size: int, device: torch.device) -> None:
        self._split = split
        self._resize = resize
        self._size = size
        self._device = device
        self._images: Tensor | None = None

    def all(self) -> Tensor:
        """Every image within the split's limit, in the order of `split.ids`."""
        if self._images is None:
            self._images = self._made()
        return self._images

    def _made(self) -> Tensor:
        split, size = self._split, self._size
        needed = len(split) * 3 * size * size
        home = self._device if fits(needed, self._device) else torch.device("cpu")
        images = torch.empty(len(split), 3, size, size, dtype=torch.uint8, device=home)
        parts = np.split(split.ids, range(_PART, len(split), _PART))
        done = 0
        for ragged in image_store(split, self._device, stay=False).batches(parts):
            views = centres(ragged.heights, ragged.widths, self._resize, size)
            images[done : done + len(ragged)] = resample(ragged, views, size)
            done += len(ragged)
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
