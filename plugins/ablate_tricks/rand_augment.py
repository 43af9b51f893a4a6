"""RandAugment: random operations of one magnitude, after another.

Cubuk et al., 2019, https://arxiv.org/abs/1909.13719.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import Augmentation, Trick, hookimpl
from ablate.data.augment_policies import OPERATIONS, Space, apply_steps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

SPACE = Space(
    bins=31, shear=0.3, translate=150 / 331, relative=True, rotate=30.0, blend=0.9, bits=4
)


class RandAugment(Trick):
    """`ops` operations one after the other, drawn with replacement from 14, each at `magnitude`.

    Operations and signs are uniform and each image's own; doing nothing is one of the 14.
    """

    version: ClassVar[int] = 1

    ops: int = Field(2, ge=1, le=14, description="N: operations per image")
    magnitude: int = Field(9, ge=0, le=30, description="M: their strength, of 30")

    @hookimpl
    def augmentations(self) -> list[Augmentation]:
        return [Augmentation("policy", self.name, 2 * self.ops, Rand(self.ops, self.magnitude))]

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return f"images: RandAugment, N {self.ops}, M {self.magnitude} of 30"


@dataclass(frozen=True)
class Rand:
    """uint8 [B, 3, size, size]; of `u`, an operation and a sign for each of the `ops`."""

    ops: int
    magnitude: int

    def __call__(self, images: Tensor, u: NDArray[np.float64], size: int) -> Tensor:
        for i in range(self.ops):
            drawn = u[:, 2 * i : 2 * i + 2].tolist()
            steps = [
                SPACE.step(OPERATIONS[int(a * len(OPERATIONS))], self.magnitude, size, b < 0.5)
                for a, b in drawn
            ]
            images = apply_steps(images, steps)
        return images
