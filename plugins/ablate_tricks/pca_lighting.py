"""PCA lighting: noise along the principal components of natural images' colours.

Krizhevsky et al., 2012, https://doi.org/10.1145/3065386; He et al., 2019,
https://arxiv.org/abs/1812.01187, section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from ablate import Augmentation, Trick, hookimpl

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ablate import Recipe

# Of ImageNet's RGB values in [0, 255]; an eigenvector is a column, rows are R, G and B.
EIGENVALUES = np.array([55.46, 4.794, 1.148])
EIGENVECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
)


class PcaLighting(Trick):
    """Σ_k c_k·λ_k·v_k is added to every pixel of an image, c_k ~ N(0, std), three per image.

    It acts after the normalisation, divided by the recipe's `std` as the pixels are, so that
    nothing is rounded or clipped.
    """

    version: ClassVar[int] = 1

    std: float = Field(0.1, gt=0, le=10, description="standard deviation of the coefficients")

    @hookimpl
    def augmentations(self, recipe: Recipe) -> list[Augmentation]:
        assert recipe.std is not None
        r, g, b = recipe.std
        return [Augmentation("normalise", self.name, 6, Lighting(self.std, (r, g, b)))]

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return f"images: + PCA noise, N(0, {self.std:g})"


@dataclass(frozen=True)
class Lighting:
    """Float32 [B, 3, H, W] in units of `pixel_std`, with each image's own colour added."""

    std: float
    pixel_std: tuple[float, float, float]

    def __call__(self, images: Tensor, u: NDArray[np.float64], size: int) -> Tensor:
        from ablate import upload

        colours = (self.colours(u) / self.pixel_std).astype(np.float32)
        return images + upload(colours, images.device)[:, :, None, None]

    def colours(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """[B, 3], in [0, 255] pixels; the normals by Box and Muller."""
        normals = np.sqrt(-2 * np.log1p(-u[:, :3])) * np.cos(2 * np.pi * u[:, 3:])
        shifts: NDArray[np.float64] = (self.std * normals * EIGENVALUES) @ EIGENVECTORS.T
        return shifts
