"""Mixup: train on convex pairs of images and labels.

Zhang et al., 2017, https://arxiv.org/abs/1710.09412; He et al., 2019,
https://arxiv.org/abs/1812.01187, section 5.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import Mixer, NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from ablate import Draws, Trial


class Mixup(Trick):
    """x̂ = λ·x_i + (1 − λ)·x_j and the same for the targets, λ ~ Beta(α, α), one λ per batch.

    The partner j is the sample before i in the batch, as torchvision's v2.MixUp pairs them; the
    batch itself is shuffled.
    """

    version: ClassVar[int] = 1

    alpha: float = Field(0.2, gt=0, le=100, description="λ ~ Beta(alpha, alpha), drawn per batch")

    @hookimpl
    def batch_mixers(self) -> Mixer:
        def apply(images: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
            lam = draws.beta(self.alpha, self.alpha)
            return (
                images.roll(1, 0).mul_(1 - lam).add_(images, alpha=lam),
                targets.roll(1, 0).mul_(1 - lam).add_(targets, alpha=lam),
            )

        return Mixer(self.name, apply)

    def preflight(self, trial: Trial) -> None:
        """Refuse batches of one image, which has no other to be mixed with."""
        if trial.recipe.batch_size == 1:
            raise NoEffect(self.name, "at batch_size 1 an image is mixed with itself")

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return f"batches: plain → mixup, alpha {self.alpha:g}"
