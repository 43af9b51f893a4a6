"""The baseline's augmentations: random-resized crop, horizontal flip, normalisation.

Each is a picklable callable that takes its randomness as uniforms, one row per sample, so that any
number of loader workers, a GPU and a resumed run all see the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ablate.core.hook_types import Augmentation, Ragged
from ablate.core.recipe import Crop
from ablate.data.resample import crops, resample
from ablate.data.upload import upload

if TYPE_CHECKING:
    from torch import Tensor

ATTEMPTS = 10  # torchvision's number, then the central fallback
CROP_DRAWS = 2 * ATTEMPTS + 2

Boxes = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def random_resized_crop(crop: Crop) -> Augmentation:
    """A random box of the image, resized to the training size; uint8 [B, C, size, size].

    Szegedy et al., 2014, https://arxiv.org/abs/1409.4842, with the distribution of torchvision's
    `RandomResizedCrop`.
    """
    return Augmentation("geometry", "crop", CROP_DRAWS, _RandomResizedCrop(crop))


def horizontal_flip(p: float) -> Augmentation:
    """Mirror left and right with probability `p`."""
    return Augmentation("geometry", "flip", 1, _HorizontalFlip(p))


def normalise(mean: Sequence[float], std: Sequence[float]) -> Augmentation:
    """Float32 (x − mean)/std per channel, mean and std in [0, 255]."""
    return Augmentation("normalise", "normalise", 0, Normalise(tuple(mean), tuple(std)))


def crop_boxes(
    u: NDArray[np.float64], heights: NDArray[np.int64], widths: NDArray[np.int64], crop: Crop
) -> Boxes:
    """(top, left, height, width), int64 [B] each, from uniforms [B, CROP_DRAWS].

    Of ten boxes, each of an area and an aspect ratio drawn, the first that fits; else the largest
    central one whose ratio is allowed. The position is uniform among those possible.
    """
    low, high = crop.scale
    area = (heights * widths)[:, None] * (low + (high - low) * u[:, :ATTEMPTS])
    log_low, log_high = np.log(crop.ratio[0]), np.log(crop.ratio[1])
    ratio = np.exp(log_low + (log_high - log_low) * u[:, ATTEMPTS : 2 * ATTEMPTS])
    w = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    h = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (w > 0) & (w <= widths[:, None]) & (h > 0) & (h <= heights[:, None])
    rows, first = np.arange(len(u)), fits.argmax(axis=1)
    found = fits[rows, first]

    whole = widths / heights
    wide_w = np.rint(heights * crop.ratio[1]).astype(np.int64)
    tall_h = np.rint(widths / crop.ratio[0]).astype(np.int64)
    fallback_w = np.where(whole > crop.ratio[1], wide_w, widths).clip(1, widths)
    fallback_h = np.where(whole < crop.ratio[0], tall_h, heights).clip(1, heights)

    height = np.where(found, h[rows, first], fallback_h)
    width = np.where(found, w[rows, first], fallback_w)
    spare_h, spare_w = heights - height, widths - width
    top = np.where(found, np.floor(u[:, -2] * (spare_h + 1)).astype(np.int64), spare_h // 2)
    left = np.where(found, np.floor(u[:, -1] * (spare_w + 1)).astype(np.int64), spare_w // 2)
    return top, left, height, width


@dataclass(frozen=True)
class _RandomResizedCrop:
    crop: Crop

    def __call__(self, images: Ragged, u: NDArray[np.float64], size: int) -> Tensor:
        boxes = crop_boxes(u, images.heights, images.widths, self.crop)
        return resample(images, crops(*boxes, size), size)


@dataclass(frozen=True)
class _HorizontalFlip:
    p: float

    def __call__(self, images: Tensor, u: NDArray[np.float64], size: int) -> Tensor:
        chosen = u[:, 0] < self.p
        if not chosen.any():
            return images
        flipped = images.flip(-1)
        if images.device.type == "cpu":  # ten times as fast there as torch's where or index_copy
            kept = np.flatnonzero(~chosen)
            flipped.numpy()[kept] = images.numpy()[kept]
            return flipped
        return torch.where(upload(chosen, images.device)[:, None, None, None], flipped, images)


@dataclass(frozen=True)
class Normalise:
    """(x − mean)/std in float32, for training and evaluation images alike."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    _sent: dict[torch.device, tuple[Tensor, Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __call__(self, images: Tensor, u: object = None, size: int = 0) -> Tensor:
        """Float32 [B, C, H, W] of uint8 or float images; `u` and `size` are not used."""
        if images.device not in self._sent:  # once a trial and device, not in every batch
            mean, std = (
                upload(np.array(values, dtype=np.float32), images.device).view(-1, 1, 1)
                for values in (self.mean, self.std)
            )
            self._sent[images.device] = mean, std
        mean, std = self._sent[images.device]
        return images.to(torch.float32, copy=True).sub_(mean).div_(std)

    def __reduce__(self) -> tuple[type[Normalise], tuple[tuple[float, ...], tuple[float, ...]]]:
        return Normalise, (self.mean, self.std)
