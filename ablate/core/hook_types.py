"""The values that hooks take and return. Small, frozen where they can be; no torch at import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ablate.core.rng import Draws

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ablate.core.recipe import Recipe
    from ablate.core.trial import Trial

# Order in which augmentations apply; within a slot, the tricks' canonical order.
SLOTS = ("geometry", "colour", "policy", "normalise", "erase")


@dataclass(frozen=True)
class Factors:
    """What a schedule multiplies the recipe's values by at one step."""

    lr: float
    momentum: float = 1.0


# f(step, start, total): `step` counts optimizer steps from 0 over the whole training of `total`
# steps; the shape may begin at `start` (after a warmup). Both are steps, never epochs.
Schedule = Callable[[int, int, int], Factors]


@dataclass(frozen=True)
class Precision:
    """Number format of forward and backward; weights stay FP32.

    `dtype`: "float32", "float16" or "bfloat16". `scale`: multiply the loss by a dynamic power of
    two so that small FP16 gradients do not vanish.
    """

    dtype: str = "float32"
    scale: bool = False


class Ragged:
    """Native-size images of one batch: views into one flat uint8 buffer, [C, h, w] each.

    `buffer` is flat uint8 (height, width, channel order inside an image) on any device, `offsets`,
    `heights` and `widths` int64 arrays of length B.
    """

    def __init__(
        self,
        buffer: Tensor,
        offsets: np.ndarray[Any, Any],
        heights: np.ndarray[Any, Any],
        widths: np.ndarray[Any, Any],
        channels: int = 3,
    ) -> None:
        self.buffer = buffer
        self.offsets = offsets
        self.heights = heights
        self.widths = widths
        self.channels = channels

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> Tensor:
        """Image `index` as a [C, h, w] view; its memory is channels-last."""
        start, h, w = (int(a[index]) for a in (self.offsets, self.heights, self.widths))
        flat = self.buffer[start : start + h * w * self.channels]
        return flat.view(h, w, self.channels).permute(2, 0, 1)


@dataclass(frozen=True)
class Augmentation:
    """One step of the training images' way to the model.

    slot: one of `SLOTS`. name: of its random stream. draws: uniforms per sample. apply(images, u,
    size): a pure, picklable callable. `u` is float64 [B, draws] on the CPU, the sample's own draws.
    The first geometry augmentation gets a `Ragged` of native uint8 images and returns uint8
    [B, C, size, size]; all later ones get and return a [B, C, H, W] tensor: uint8 before
    "normalise", float32 from there on. It runs on the device that the images are on.
    """

    slot: str
    name: str
    draws: int
    apply: Callable[[Any, np.ndarray[Any, Any], int], Any]


@dataclass(frozen=True)
class Mixer:
    """Mixes a batch with itself: apply(images [B,C,H,W], targets [B,K], draws) -> the same two."""

    name: str
    apply: Callable[[Tensor, Tensor, Draws], tuple[Tensor, Tensor]]


@dataclass
class Batch:
    """One training batch.

    ids: int64 [B], the images' numbers in the data set (NumPy). images: float32 [B, C, S, S],
    normalised. labels: int64 [B]. targets: float32 [B, K], dense, from `encode_targets` and mixing.
    """

    ids: np.ndarray[Any, Any]
    images: Tensor
    labels: Tensor
    targets: Tensor
    seed: int
    epoch: int
    step: int
    mixed_by: str | None = None  # the Mixer that acted on this batch

    def draws(self, trick: Any, purpose: str = "") -> Draws:
        """`trick`'s own stream for this batch; the same numbers every time it is asked for."""
        return Draws(self.seed, "trick", trick.name, purpose, self.epoch, self.step)


@dataclass(frozen=True)
class Outputs:
    """logits [B, K], and the weighted logits of auxiliary heads."""

    logits: Tensor
    aux: tuple[tuple[float, Tensor], ...] = ()


@dataclass
class Run:
    """A trial in progress, as hooks see it. Read it; what changes is returned, not stored here."""

    trial: Trial
    recipe: Recipe
    seed: int
    num_classes: int
    device: torch.device
    model: nn.Module
    optimizer: torch.optim.Optimizer
    steps_per_epoch: int
    total_steps: int
    step: int = 0  # optimizer steps taken
    epoch: int = 0
    precision: Precision = Precision()
    teacher: nn.Module | None = None  # the trained model of `trial.teacher`, in evaluation mode


class TrainBatches(Protocol):
    """A few training batches without mixing, for recalibrating batch norm."""

    def __call__(self, count: int) -> Sequence[Tensor]:
        """Images of `count` batches, each [B, C, S, S]."""
        ...
