"""CutMix: paste a box of another image, and mix the labels by its area.

Yun et al., 2019, https://arxiv.org/abs/1905.04899.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import Mixer, NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from ablate import Draws, Trial


class Cutmix(Trick):
    """Image j's pixels in a box of image i; targets λ·y_i + (1 − λ)·y_j, 1 − λ the box's share.

    λ ~ Beta(α, α), one per batch; the box has the image's aspect ratio and 1 − λ of its area, a
    centre uniform in the image, and is cut at the border. Then λ is set to what is left of image i.
    The partner j is the sample before i in the batch, as for mixup.
    """

    version: ClassVar[int] = 1

    alpha: float = Field(1.0, gt=0, le=100, description="λ ~ Beta(alpha, alpha), drawn per batch")
    p: float = Field(1.0, gt=0, le=1, description="probability that a batch is mixed")

    @hookimpl
    def batch_mixers(self) -> Mixer:
        def apply(images: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
            if draws.uniform() >= self.p:
                return images, targets
            height, width = images.shape[-2:]
            left, top, right, bottom = box(draws, self.alpha, height, width)
            lam = 1 - (right - left) * (bottom - top) / (height * width)
            mixed = images.clone()
            mixed[..., top:bottom, left:right] = images.roll(1, 0)[..., top:bottom, left:right]
            return mixed, targets.roll(1, 0).mul_(1 - lam).add_(targets, alpha=lam)

        return Mixer(self.name, apply)

    def preflight(self, trial: Trial) -> None:
        """Refuse batches of one image, which has no other to be mixed with."""
        if trial.recipe.batch_size == 1:
            raise NoEffect(self.name, "at batch_size 1 an image is mixed with itself")

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        share = "" if self.p == 1 else f", p {self.p:g}"
        return f"batches: plain → CutMix, alpha {self.alpha:g}{share}"


def box(draws: Draws, alpha: float, height: int, width: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the pasted pixels, right and bottom not included."""
    half = 0.5 * math.sqrt(1 - draws.beta(alpha, alpha))
    x, y = draws.integer(width), draws.integer(height)
    half_width, half_height = int(half * width), int(half * height)
    return (
        max(x - half_width, 0),
        max(y - half_height, 0),
        min(x + half_width, width),
        min(y + half_height, height),
    )
