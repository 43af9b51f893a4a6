"""Antialiased bilinear resampling of uint8 images of different sizes to one size.

Two forms of the same arithmetic: one image at a time with torch's uint8 kernel (what torchvision's
v2 `resize` and `resized_crop` call; the fast one on a CPU), and the whole batch at once by two
per-sample weight products in FP32 (the fast one on a GPU). They agree within 1 of 255: the kernel
rounds between its two passes. The products are sums over taps and not matrix products, so no TF32
setting and no non-deterministic kernel can enter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.types import Ragged

_CHUNK = 2**25  # elements of the batched form's largest intermediate: 128 MiB in FP32


@dataclass(frozen=True)
class Views:
    """Per sample, int64 [B]: what is cut out, to what size it is resized, what of that is kept.

    The box (top, left, height, width) of the source is resized to (out_height, out_width); of the
    result the square that begins at (row, column) is the image.
    """

    top: NDArray[np.int64]
    left: NDArray[np.int64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    out_height: NDArray[np.int64]
    out_width: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]

    def part(self, which: slice) -> Views:
        """The views of some of the samples."""
        return Views(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def crops(
    top: NDArray[np.int64],
    left: NDArray[np.int64],
    height: NDArray[np.int64],
    width: NDArray[np.int64],
    size: int,
) -> Views:
    """Each box resized to the square of `size`."""
    full, zero = np.full_like(top, size), np.zeros_like(top)
    return Views(top, left, height, width, full, full, zero, zero)


def centres(heights: NDArray[np.int64], widths: NDArray[np.int64], resize: int, size: int) -> Views:
    """Short side to `resize`, then the central square of `size`, rounded as torchvision does."""
    short = np.minimum(heights, widths)
    out_height = np.where(heights <= widths, resize, resize * heights // short)
    out_width = np.where(widths <= heights, resize, resize * widths // short)
    row = np.rint((out_height - size) / 2).astype(np.int64)
    column = np.rint((out_width - size) / 2).astype(np.int64)
    zero = np.zeros_like(heights)
    return Views(zero, zero, heights, widths, out_height, out_width, row, column)


def resample(images: Ragged, views: Views, size: int) -> Tensor:
    """uint8 [B, C, size, size] on the images' device, by the form that is fast there."""
    if images.buffer.device.type == "cpu":
        return resample_each(images, views, size)
    return resample_batched(images, views, size)


def resample_each(images: Ragged, views: Views, size: int) -> Tensor:
    """One image at a time, on the CPU: the same bits as torchvision's v2 on uint8."""
    out = torch.empty(len(images), images.channels, size, size, dtype=torch.uint8)
    columns = (getattr(views, name).tolist() for name in views.__dataclass_fields__)
    for index, (top, left, h, w, out_h, out_w, row, column) in enumerate(
        zip(*columns, strict=True)
    ):
        box = images[index][:, top : top + h, left : left + w]
        # copied as it lies, channels last, which is the layout of the vectorised kernel
        box = box.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        resized = F.interpolate(box[None], (out_h, out_w), mode="bilinear", antialias=True)[0]
        out[index] = resized[:, row : row + size, column : column + size]
    return out


def resample_batched(images: Ragged, views: Views, size: int) -> Tensor:
    """The whole batch at once, on any device."""
    out = torch.empty(
        len(images), images.channels, size, size, dtype=torch.uint8, device=images.buffer.device
    )
    for part in _chunks(views.height, images.channels * size):
        out[part] = _batched(images, part, views.part(part), size)
    return out


def _chunks(heights: NDArray[np.int64], per_row: int) -> list[slice]:
    """Neighbouring samples together, as many as the intermediate's size allows."""
    parts: list[slice] = []
    start, tallest = 0, 0
    for index, height in enumerate(heights.tolist()):
        tallest = max(tallest, height)
        if index > start and (index + 1 - start) * tallest * per_row > _CHUNK:
            parts.append(slice(start, index))
            start, tallest = index, height
    parts.append(slice(start, len(heights)))
    return parts


def _batched(images: Ragged, part: slice, views: Views, size: int) -> Tensor:
    device, channels = images.buffer.device, images.channels
    stride = images.widths[part] * channels
    first = images.offsets[part] + views.top * stride + views.left * channels
    base = torch.from_numpy(first).to(device)
    pitch = torch.from_numpy(stride).to(device)

    # Across: [B, C, H, S], H the tallest box; rows below a sample's own repeat its last one.
    tallest = int(views.height.max(initial=1))
    bottom = torch.from_numpy(views.height - 1).to(device)
    rows = torch.minimum(torch.arange(tallest, device=device), bottom[:, None])  # [B, H]
    starts = base[:, None, None] + torch.arange(channels, device=device)[None, :, None]
    starts = starts + (rows * pitch[:, None])[:, None, :]  # [B, C, H]
    index, weight = _taps(views.width, views.out_width, views.column, size, device)
    across = torch.zeros(len(base), channels, tallest, size, device=device)
    for k in range(index.shape[2]):
        pixels = images.buffer[starts[..., None] + index[:, None, None, :, k] * channels]
        across += weight[:, None, None, :, k] * pixels

    # Down: [B, C, S, S].
    index, weight = _taps(views.height, views.out_height, views.row, size, device)
    down = torch.zeros(len(base), channels, size, size, device=device)
    for k in range(index.shape[2]):
        chosen = index[:, None, :, k, None].expand(-1, channels, -1, size)
        down += weight[:, None, :, k, None] * across.gather(2, chosen)
    return down.round_().clamp_(0, 255).to(torch.uint8)


def _taps(
    length: NDArray[np.int64],
    out_length: NDArray[np.int64],
    offset: NDArray[np.int64],
    size: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Source positions int64 [B, S, K] and triangle weights FP32 [B, S, K] along one axis.

    `length` source pixels become `out_length`, of which `size` from `offset` on are wanted. A
    weight is the triangle of half-width max(1, length / out_length) around the output's centre,
    normalised; K is the largest number of taps in the batch.
    """
    scale = length / out_length
    taps = int(np.ceil(2 * np.maximum(scale, 1.0)).max(initial=1)) + 1
    count = torch.from_numpy(length).to(device)[:, None, None]
    step = torch.from_numpy(scale).to(device)[:, None]  # float64
    support = step.clamp(min=1.0)
    place = torch.arange(size, device=device) + torch.from_numpy(offset).to(device)[:, None]
    centre = step * (place + 0.5)
    start = (centre - support + 0.5).floor().clamp(min=0).long()
    position = start[..., None] + torch.arange(taps, device=device)  # [B, S, K]
    distance = (position + 0.5 - centre[..., None]).abs() / support[..., None]
    weight = (1 - distance).clamp(min=0) * (position < count)
    weight = weight / weight.sum(dim=2, keepdim=True)
    return torch.minimum(position, count - 1), weight.float()
