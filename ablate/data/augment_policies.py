"""torchvision's operations for learned and random policies, one of its own for every image.

Names and meanings are AutoAugment's: Cubuk et al., 2018, https://arxiv.org/abs/1805.09501.
torchvision is imported inside, so that a trick may import this module when planning.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "BLENDS",
    "OPERATIONS",
    "PLAIN",
    "SHEARS",
    "SIGNED",
    "TRANSLATIONS",
    "Space",
    "Step",
    "apply_steps",
    "operate",
]

# (operation, magnitude): tangent of a shear, pixels of a translation, degrees of a rotation, what
# is added to a blend's factor of 1, bits that posterize keeps, share of the range from which
# solarize inverts; 0 for those without one.
Step = tuple[str, float]

SHEARS = ("ShearX", "ShearY")
TRANSLATIONS = ("TranslateX", "TranslateY")
BLENDS = ("Brightness", "Color", "Contrast", "Sharpness")
SIGNED = (*SHEARS, *TRANSLATIONS, "Rotate", *BLENDS)  # these go both ways
PLAIN = ("Identity", "AutoContrast", "Equalize", "Invert")  # these have no magnitude
OPERATIONS = ("Identity", *SIGNED, "Posterize", "Solarize", "AutoContrast", "Equalize")


@dataclass(frozen=True)
class Space:
    """Magnitudes in `bins` equal steps, from doing nothing to the largest, given here.

    translate: pixels, or a share of the image's side where `relative`. bits: dropped by posterize.
    """

    bins: int
    shear: float
    translate: float
    relative: bool
    rotate: float
    blend: float
    bits: int

    def step(self, operation: str, level: int, size: int, negative: bool) -> Step:
        """At `level`, 0 … bins − 1, for images of `size` pixels."""
        magnitude = _magnitude(self, operation, level, size)
        return operation, -magnitude if negative and operation in SIGNED else magnitude


@functools.cache
def _magnitude(space: Space, operation: str, level: int, size: int) -> float:
    if operation in PLAIN:
        return 0.0
    if operation == "Posterize":
        return float(8 - round(level * space.bits / (space.bins - 1)))
    # In torch's float32, as torchvision: a translation of 16 pixels may not become 15.
    import torch

    if operation == "Solarize":
        return float(torch.linspace(1.0, 0.0, space.bins)[level])
    if operation in SHEARS:
        most = space.shear
    elif operation in TRANSLATIONS:
        most = space.translate * (size if space.relative else 1)
    else:
        most = space.rotate if operation == "Rotate" else space.blend
    return float(torch.linspace(0.0, most, space.bins)[level])


def apply_steps(images: Tensor, steps: Sequence[Step]) -> Tensor:
    """uint8 [B, 3, H, W], each image after its own step; images with equal steps go together."""
    import numpy as np

    from ablate.data.upload import upload

    groups: dict[Step, list[int]] = {}
    for i, step in enumerate(steps):
        groups.setdefault(step, []).append(i)
    done = images.clone()
    for (operation, magnitude), members in groups.items():
        if operation != "Identity":
            index = upload(np.array(members), images.device)
            done[index] = operate(images[index], operation, magnitude)
    return done


def operate(images: Tensor, operation: str, magnitude: float) -> Tensor:
    """uint8 [..., 3, H, W] after one step. What comes in from outside the image is black."""
    from torchvision.transforms.v2 import functional as F

    def affine(x: int = 0, y: int = 0, shear: Sequence[float] = (0.0, 0.0), **where: Any) -> Tensor:
        moved: Tensor = F.affine(
            images, angle=0.0, translate=[x, y], scale=1.0, shear=list(shear), **where
        )
        return moved

    result: Tensor
    match operation:
        case "Identity":
            result = images
        # Shears keep the top left corner; torchvision takes their angle.
        case "ShearX":
            result = affine(shear=(math.degrees(math.atan(magnitude)), 0.0), center=[0, 0])
        case "ShearY":
            result = affine(shear=(0.0, math.degrees(math.atan(magnitude))), center=[0, 0])
        case "TranslateX":
            result = affine(x=int(magnitude))
        case "TranslateY":
            result = affine(y=int(magnitude))
        case "Posterize":
            result = F.posterize(images, int(magnitude))
        case "Solarize":
            result = F.solarize(images, 255.0 * magnitude)
        case "Rotate":
            result = F.rotate(images, magnitude)
        case "Brightness":
            result = F.adjust_brightness(images, 1.0 + magnitude)
        case "Color":
            result = F.adjust_saturation(images, 1.0 + magnitude)
        case "Contrast":
            result = F.adjust_contrast(images, 1.0 + magnitude)
        case "Sharpness":
            result = F.adjust_sharpness(images, 1.0 + magnitude)
        case "AutoContrast":
            result = F.autocontrast(images)
        case "Equalize":
            result = F.equalize(images)
        case "Invert":
            result = F.invert(images)
        case _:
            raise ValueError(f"no operation is called {operation}")
    return result
