"""Downsampling that does not alias: Zhang, 2019, https://arxiv.org/abs/1904.11486."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BlurPool(nn.Module):
    """[B, C, H, W] -> [B, C, ⌈H/2⌉, ⌈W/2⌉]: every second pixel after a binomial blur.

    `size` is the filter's, an odd number: 3 is [1, 2, 1]/4 in both directions. Borders are
    reflected. A binomial filter of n taps is n − 1 box filters of 2 one after the other, so there
    is no weight to store; torch's reflection pad has no deterministic gradient on a GPU, hence the
    own one.
    """

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        if size < 3 or size % 2 == 0:
            raise ValueError(f"a blur's size is 3, 5, …, not {size}")
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Blurred and halved."""
        for dim in (2, 3):
            x = _reflected(x, dim, self.size // 2)
        for _ in range(self.size - 2):
            x = F.avg_pool2d(x, 2, stride=1)
        return F.avg_pool2d(x, 2, stride=2)

    def extra_repr(self) -> str:
        """The filter's size."""
        return f"size={self.size}"


def _reflected(x: Tensor, dim: int, width: int) -> Tensor:
    """x with `width` rows more at both ends of `dim`, mirrored at the outermost, as NumPy's pad."""
    count = x.shape[dim]
    period = max(2 * (count - 1), 1)

    def row(position: int) -> Tensor:
        position %= period
        return x.narrow(dim, period - position if position >= count else position, 1)

    before = [row(position) for position in range(-width, 0)]
    after = [row(position) for position in range(count, count + width)]
    return torch.cat([*before, x, *after], dim)
