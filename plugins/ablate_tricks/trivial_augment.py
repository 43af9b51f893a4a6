"""TrivialAugment: one random operation of a random magnitude per image.

Müller and Hutter, 2021, https://arxiv.org/abs/2103.10158.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ablate import Augmentation, Trick, hookimpl
from ablate.data.augment_policies import OPERATIONS, Space, apply_steps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

WIDE = Space(bins=31, shear=0.99, translate=32.0, relative=False, rotate=135.0, blend=0.99, bits=6)


class TrivialAugment(Trick):
    """No parameters: of 14 operations one, at one of 31 magnitudes of the "wide" space.

    Operation, magnitude and sign are uniform and each image's own; doing nothing is one of the 14.
    """

    version: ClassVar[int] = 1

    @hookimpl
    def augmentations(self) -> list[Augmentation]:
        return [Augmentation("policy", self.name, 3, Trivial())]

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return "images: TrivialAugment, wide"


@dataclass(frozen=True)
class Trivial:
    """uint8 [B, 3, size, size]; of `u`, operation, magnitude and sign."""

    def __call__(self, images: Tensor, u: NDArray[np.float64], size: int) -> Tensor:
        return apply_steps(
            images,
            [
                WIDE.step(OPERATIONS[int(a * len(OPERATIONS))], int(b * WIDE.bins), size, c < 0.5)
                for a, b, c in u.tolist()
            ],
        )
