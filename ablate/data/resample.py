"""Antialiased bilinear resampling of uint8 images of different sizes to one size.

Two forms of the same arithmetic: one image at a time with torch's uint8 kernel (what torchvision's
v2 `resize` and `resized_crop` call; the fast one on a CPU), and the whole batch at once by two
per-sample weight products in FP32 (the fast one on a GPU). They agree within 1 of 255: the kernel
rounds between its two passes. The products are sums over taps and not matrix products, so no TF32
setting and no non-deterministic kernel can enter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ablate.data.upload import upload

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.core.hook_types import Ragged

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
    """The whole batch at once, on any device; nothing waits for it."""
    device, channels = images.buffer.device, images.channels
    out = torch.empty(len(images), channels, size, size, dtype=torch.uint8, device=device)
    pitch = images.widths * channels
    first = images.offsets + views.top * pitch + views.left * channels
    down, across = views.height / views.out_height, views.width / views.out_width
    scales = (down.view(np.int64), across.view(np.int64))  # all in one copy to the device
    rows = (first, pitch, views.height, views.width, *scales, views.row, views.column)
    table = upload(np.stack(rows), device)
    lengths, offsets = table[2:4], table[6:8]
    shrink = table[4:6].view(torch.float64)
    pixels = images.buffer.unfold(0, channels, 1)  # [bytes, C]: the pixel that begins there
    largest = np.maximum(down, across)
    for part in _chunks(views.height, channels * size):
        tallest = int(views.height[part].max(initial=1))
        count = int(np.ceil(2 * max(1.0, largest[part].max(initial=1)))) + 1
        starts = _row_starts(table[0, part], table[1, part], table[2, part], tallest)
        index, weight = _taps(lengths[:, part], shrink[:, part], offsets[:, part], count, size)
        lines = _across(pixels, starts, index[1] * channels, weight[1])
        tall = _down(lines, index[0], weight[0])
        out[part] = tall.round_().clamp_(0, 255).to(torch.uint8).permute(0, 3, 1, 2)
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


def _row_starts(first: Tensor, pitch: Tensor, height: Tensor, tallest: int) -> Tensor:
    """int64 [B, H]: where each row of a box begins; below its last row, that one again."""
    rows = torch.arange(tallest, device=first.device)
    return first[:, None] + torch.minimum(rows, height[:, None] - 1) * pitch[:, None]


def _across(pixels: Tensor, starts: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """FP32 [B, H, S, C]: every row of the boxes resampled; `index` in bytes from its start."""
    rows = starts[:, :, None]
    taps = zip(index[:, None].unbind(3), weight[:, None, ..., None].unbind(3), strict=True)
    return _sum(share * pixels[rows + place] for place, share in taps)


def _down(lines: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """FP32 [B, S, S, C] of [B, H, S, C]."""
    size, channels = lines.shape[2:]
    wide = index[..., None, None].expand(-1, -1, -1, size, channels)
    taps = zip(wide.unbind(2), weight[..., None, None].unbind(2), strict=True)
    return _sum(share * lines.gather(1, place) for place, share in taps)


def _sum(terms: Iterator[Tensor]) -> Tensor:
    """One after the other, in place of the first."""
    total = next(terms)
    for term in terms:
        total += term
    return total


def _taps(
    length: Tensor, scale: Tensor, offset: Tensor, taps: int, size: int
) -> tuple[Tensor, Tensor]:
    """Source positions int64 [2, B, S, K] and triangle weights FP32 [2, B, S, K], down and across.

    `length` source pixels become length / scale, of which `size` from `offset` on are wanted: [2,
    B] each. A weight is the triangle of half-width max(1, scale) around the output's centre,
    normalised; K, `taps`, is the largest number of taps in the batch. Both axes at once, because
    on a GPU the number of operations is what this costs.
    """
    count, step = length[..., None, None], scale[..., None]  # float64
    support = step.clamp(min=1.0)
    place = torch.arange(size, device=length.device) + offset[..., None]
    centre = step * (place + 0.5)
    start = (centre - support + 0.5).floor().clamp(min=0).long()
    position = start[..., None] + torch.arange(taps, device=length.device)  # [2, B, S, K]
    distance = (position + 0.5 - centre[..., None]).abs() / support[..., None]
    weight = (1 - distance).clamp(min=0) * (position < count)
    weight = weight / weight.sum(dim=-1, keepdim=True)
    return torch.minimum(position, count - 1), weight.float()
