"""Colour jitter: hue, saturation and brightness, each scaled by a random coefficient.

He et al., 2019, https://arxiv.org/abs/1812.01187, section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ablate import Augmentation, Trick, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class ColorJitter(Trick):
    """Three coefficients per image, U[1 − s, 1 + s]; in the order hue, saturation, brightness.

    Hue: the angle of HSV, from red, is multiplied and taken modulo a turn. Saturation: the
    difference of a pixel to its grey is multiplied. Brightness: the pixel is multiplied.
    """

    version: ClassVar[int] = 1

    strength: float = Field(
        0.4, gt=0, le=1, description="s: the coefficients are drawn from [1 − s, 1 + s]"
    )
    hue: Literal["scale", "shift"] = Field(
        "scale", description="scale: angle × coefficient; shift: angle + (coefficient − 1) turns"
    )

    @hookimpl
    def augmentations(self) -> list[Augmentation]:
        return [Augmentation("colour", self.name, 3, Jitter(self.strength, self.hue == "shift"))]

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        low, high = 1 - self.strength, 1 + self.strength
        shifted = ", hue shifted" if self.hue == "shift" else ""
        return f"images: hue, saturation, brightness × U[{low:g}, {high:g}]{shifted}"


@dataclass(frozen=True)
class Jitter:
    """uint8 [B, 3, H, W] with each image's own coefficients, rounded once, at the end."""

    strength: float
    shift: bool

    def __call__(self, images: Tensor, u: NDArray[np.float64], size: int) -> Tensor:
        import numpy as np
        import torch

        from ablate import upload

        drawn = 1 - self.strength + 2 * self.strength * u
        coefficients = upload(drawn.astype(np.float32), images.device)
        shares = upload(np.array([0.2989, 0.587, 0.114], dtype=np.float32), images.device)
        # A few images fit into a processor's cache: 2.5 times as fast as the whole batch.
        some = 8 if images.device.type == "cpu" else len(images)
        parts = zip(torch.split(images, some), torch.split(coefficients, some), strict=True)
        return torch.cat([self._jittered(*part, shares[:, None, None]) for part in parts])

    def _jittered(self, images: Tensor, coefficients: Tensor, shares: Tensor) -> Tensor:
        import torch

        hue, saturation, brightness = coefficients[:, :, None, None, None].unbind(1)
        x = turned(images.float(), hue[:, 0], shift=self.shift)
        grey = (x * shares).sum(1, keepdim=True)
        x = torch.lerp(grey, x, saturation).clamp_(0, 255)
        return x.mul_(brightness).clamp_(0, 255).round_().to(torch.uint8)


def turned(x: Tensor, by: Tensor, *, shift: bool) -> Tensor:
    """[B, 3, H, W] of any range with its hue times `by` or plus `by` − 1 turns, [B, 1, 1]."""
    import torch

    r, g, b = x.unbind(1)
    value, low = x.amax(1), x.amin(1)
    chroma = value - low
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    sixths = torch.where(
        value == r,
        (g - b) / safe,
        torch.where(value == g, 2 + (b - r) / safe, 4 + (r - g) / safe),
    ).remainder(6)
    sixths = sixths + 6 * (by - 1) if shift else sixths * by
    # Each channel is `value` less the chroma by which its own sixths are away from its colour.
    channels = [(sixths + offset).remainder(6) for offset in (5, 3, 1)]
    away = torch.stack([torch.minimum(k, 4 - k).clamp(0, 1) for k in channels], 1)
    return value[:, None] - chroma[:, None] * away
