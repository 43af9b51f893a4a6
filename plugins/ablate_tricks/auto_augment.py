"""AutoAugment: one of 25 learned pairs of operations per image.

Cubuk et al., 2018, https://arxiv.org/abs/1805.09501.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ablate import Augmentation, Trick, hookimpl
from ablate.data.augment_policies import Space, Step, apply_steps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Policy = Literal["imagenet", "cifar10", "svhn"]
# An operation, its probability, and its magnitude of 10.
Part = tuple[str, float, int | None]

SPACE = Space(
    bins=10, shear=0.3, translate=150 / 331, relative=True, rotate=30.0, blend=0.9, bits=4
)


class AutoAugment(Trick):
    """A pair of operations, each with its own learned probability and magnitude, of a policy's 25.

    The pair, whether each of the two acts, and the signs are each image's own.
    """

    version: ClassVar[int] = 1

    policy: Policy = Field("imagenet", description="the data set that the policy was learned on")

    @hookimpl
    def augmentations(self) -> list[Augmentation]:
        return [Augmentation("policy", self.name, 5, Learned(self.policy))]

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return f"images: AutoAugment, policy of {self.policy}"


@dataclass(frozen=True)
class Learned:
    """uint8 [B, 3, size, size]; of `u`, the pair, and whether and with which sign each acts."""

    policy: str

    def __call__(self, images: Tensor, u: NDArray[np.float64], size: int) -> Tensor:
        pairs = learned(self.policy)
        drawn = u.tolist()
        for i in (0, 1):
            steps = []
            for row in drawn:
                part = pairs[int(row[0] * len(pairs))][i]
                steps.append(_step(part, row[1 + 2 * i], row[2 + 2 * i], size))
            images = apply_steps(images, steps)
        return images


def _step(part: Part, acts: float, sign: float, size: int) -> Step:
    operation, probability, level = part
    if acts >= probability:
        return "Identity", 0.0
    return SPACE.step(operation, level or 0, size, sign < 0.5)


@functools.cache
def learned(policy: str) -> tuple[tuple[Part, Part], ...]:
    """The paper's 25 pairs, as torchvision has them."""
    from torchvision.transforms import AutoAugment as Published
    from torchvision.transforms import AutoAugmentPolicy

    return tuple(Published(AutoAugmentPolicy(policy)).policies)
