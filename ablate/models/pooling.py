"""Pools: a blur before every second pixel, and adaptive averages with a deterministic gradient.

`BlurPool`: Zhang, 2019, https://arxiv.org/abs/1904.11486.
"""

from __future__ import annotations

from collections.abc import Sequence

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


class AdaptiveAverage(nn.AdaptiveAvgPool2d):
    """torch's, with a gradient on a GPU also where torch is told to be deterministic."""

    def forward(self, input: Tensor) -> Tensor:
        """Averages, `output_size` of them."""
        return adaptive_average(input, self.output_size)


def adaptive_average(x: Tensor, size: int | Sequence[int | None] | None) -> Tensor:
    """[B, C, H, W] -> [B, C, *size]: torch's `adaptive_avg_pool2d`.

    Its gradient adds in no fixed order on a GPU, so that torch refuses it under
    `use_deterministic_algorithms`; there, and only there, the same averages are taken otherwise.
    """
    if x.device.type == "cpu" or not torch.are_deterministic_algorithms_enabled():
        return F.adaptive_avg_pool2d(x, size)  # type: ignore[arg-type]
    return deterministic_average(x, size)


def deterministic_average(x: Tensor, size: int | Sequence[int | None] | None) -> Tensor:
    """`adaptive_avg_pool2d` from operations that are deterministic on a GPU.

    Nothing to do where the size is the input's, means of equal cells where it divides the input's,
    else a product with the matrix of each output's weights, one dimension after the other.
    """
    wanted = (size, size) if size is None or isinstance(size, int) else tuple(size)
    rows, columns = (w or have for w, have in zip(wanted, x.shape[-2:], strict=True))
    height, width = x.shape[-2:]
    if (rows, columns) == (height, width):
        return x
    if height % rows == 0 and width % columns == 0:
        return F.avg_pool2d(x, (height // rows, width // columns))
    return _weights(height, rows, x) @ x @ _weights(width, columns, x).T


def _weights(inputs: int, outputs: int, like: Tensor) -> Tensor:
    """[outputs, inputs]: row i averages the inputs from ⌊i·I/O⌋ up to ⌈(i + 1)·I/O⌉."""
    position = torch.arange(inputs)
    rows = []
    for i in range(outputs):
        start, end = i * inputs // outputs, -(-(i + 1) * inputs // outputs)
        rows.append(((position >= start) & (position < end)) / (end - start))
    return torch.stack(rows).to(like.device, like.dtype)


def with_deterministic_pools(model: nn.Module) -> nn.Module:
    """The model itself, every adaptive average pool of more than one output as `AdaptiveAverage`.

    One output alone is a plain mean to torch already.
    """
    for name, module in list(model.named_modules()):
        if type(module) is nn.AdaptiveAvgPool2d and module.output_size not in (1, (1, 1)):
            if not name:
                return AdaptiveAverage(module.output_size)
            model.set_submodule(name, AdaptiveAverage(module.output_size))
    return model
