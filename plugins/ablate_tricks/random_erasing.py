"""Random erasing: blank a random rectangle of an image.

Zhong et al., 2017, https://arxiv.org/abs/1708.04896.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ablate import Augmentation, Draws, NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ablate import Recipe, Trial

ATTEMPTS = 10  # torchvision's number; an image with no box that fits is left as it is
DRAWS = 2 * ATTEMPTS + 4

Share = Annotated[float, Field(gt=0, lt=1)]
Ratio = Annotated[float, Field(gt=0, le=100)]


class RandomErasing(Trick):
    """With probability p, a box of `scale` of the area and an aspect ratio in `ratio` is erased.

    Area uniform, height/width log-uniform, position uniform; drawn again where the box does not
    fit, ten times. It acts on normalised images, where 0 is the data set's mean.
    """

    version: ClassVar[int] = 1

    p: float = Field(0.5, gt=0, le=1, description="probability that an image is erased")
    scale: tuple[Share, Share] = Field((0.02, 0.4), description="least and largest share of area")
    ratio: tuple[Ratio, Ratio] = Field(
        (0.3, 1 / 0.3), description="least and largest height/width of the box"
    )
    fill: Literal["mean", "noise"] = Field(
        "mean", description="mean: the data set's; noise: N(0, 1) per pixel and channel"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: {low:g} is more than {high:g}")
        return self

    @hookimpl
    def augmentations(self) -> list[Augmentation]:
        erase = Erase(self.p, self.scale, self.ratio, self.fill == "noise")
        return [Augmentation("erase", self.name, DRAWS, erase)]

    def preflight(self, trial: Trial) -> None:
        """Refuse boxes of less than half a pixel, and those that never fit."""
        side = trial.recipe.image_size or 224
        if not self._share(side):
            raise NoEffect(self.name, f"no box of this scale and ratio fits into {side} pixels")

    def warnings(self, recipe: Recipe) -> list[str]:
        """Boxes that hardly ever fit, so that far fewer images are erased than `p` says."""
        if recipe.image_size is None:
            return []
        share = self._share(recipe.image_size)
        if share > 0.9 or not share:
            return []
        return [
            f"random_erasing: boxes of this scale and ratio fit into {recipe.image_size} pixels "
            f"{share:.0%} of the time, so that {share * self.p:.0%} of the images are erased"
        ]

    def _share(self, side: int) -> float:
        """Of 1,000 images that are to be erased, how many are, at this size."""
        u = Draws("random_erasing", "before training").uniform(1000, DRAWS)
        erase = Erase(1.0, self.scale, self.ratio, noise=False)
        _, _, height, width = erase.boxes(u, side, side)
        return float((height * width > 0).mean())

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        low, high = (100 * share for share in self.scale)
        return f"images: a box of {low:g}–{high:g}% erased, p {self.p:g}"


@dataclass(frozen=True)
class Erase:
    """Float32 [B, C, size, size] with boxes set to 0, or to noise of the image's own stream."""

    p: float
    scale: tuple[float, float]
    ratio: tuple[float, float]
    noise: bool

    def __call__(self, images: Tensor, u: NDArray[np.float64], size: int) -> Tensor:
        import torch

        from ablate import upload

        top, left, height, width = self.boxes(u, *images.shape[-2:])
        if not self.noise:
            place = np.stack([top, left, top + height, left + width])
            top_, left_, bottom, right = upload(place, images.device)[:, :, None]
            y, x = (torch.arange(side, device=images.device) for side in images.shape[-2:])
            inside = ((y >= top_) & (y < bottom))[:, :, None] & ((x >= left_) & (x < right))[
                :, None
            ]
            return images.masked_fill(inside[:, None], 0)
        erased = images.clone()
        for i in np.flatnonzero(height * width).tolist():
            h, w = int(height[i]), int(width[i])
            # one uniform of 53 bits starts a stream of the image's own
            noise = Draws("random_erasing", int(u[i, -1] * 2**53)).normal(images.shape[1], h, w)
            erased[i, :, top[i] : top[i] + h, left[i] : left[i] + w] = torch.from_numpy(noise)
        return erased

    def boxes(
        self, u: NDArray[np.float64], rows: int, columns: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(top, left, height, width), int64 [B] each, all 0 where nothing is erased."""
        low, high = self.scale
        area = rows * columns * (low + (high - low) * u[:, 1 : ATTEMPTS + 1])
        log_low, log_high = np.log(self.ratio)
        ratio = np.exp(log_low + (log_high - log_low) * u[:, ATTEMPTS + 1 : 2 * ATTEMPTS + 1])
        heights = np.rint(np.sqrt(area * ratio)).astype(np.int64)
        widths = np.rint(np.sqrt(area / ratio)).astype(np.int64)
        fits = (heights < rows) & (widths < columns)
        image, first = np.arange(len(u)), fits.argmax(axis=1)
        erased = fits[image, first] & (u[:, 0] < self.p)
        height = np.where(erased, heights[image, first], 0)
        width = np.where(erased, widths[image, first], 0)
        top = np.floor(u[:, -3] * (rows - height + 1)).astype(np.int64)
        left = np.floor(u[:, -2] * (columns - width + 1)).astype(np.int64)
        return np.where(erased, top, 0), np.where(erased, left, 0), height, width
