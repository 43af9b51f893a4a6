"""How a batch's native images reach the device: mapped, resident, or sent ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ablate.data.cached import Split
from ablate.types import Ragged

Ids = NDArray[np.int64]

_AHEAD = 2  # batches under way to the device
_SHARE = 0.5  # of the free device memory that images may take; the rest is the training's


class ImageStore(Protocol):
    """Gives the images of one batch after the other, on its device."""

    def batches(self, batches: Sequence[Ids]) -> Iterator[Ragged]:
        """The native images of each of these lists of ids."""
        ...


class Mapped:
    """Views into the memory-mapped file, for the CPU."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def batches(self, batches: Sequence[Ids]) -> Iterator[Ragged]:
        """The native images of each of these lists of ids."""
        return (self._split.ragged(ids) for ids in batches)


class Resident:
    """All of a split's images, within its limit, in one buffer on the device."""

    def __init__(self, split: Split, device: torch.device) -> None:
        packed = split.packed(split.ids)
        self._buffer = packed.buffer.to(device)
        self._offsets = np.zeros(len(split.labels), dtype=np.int64)
        self._offsets[split.ids] = packed.offsets
        self._split = split

    def batches(self, batches: Sequence[Ids]) -> Iterator[Ragged]:
        """The native images of each of these lists of ids."""
        heights, widths = self._split.heights, self._split.widths
        for ids in batches:
            yield Ragged(self._buffer, self._offsets[ids], heights[ids], widths[ids])


class Sent:
    """Batches packed by a thread into pinned memory and copied ahead of their use."""

    def __init__(self, split: Split, device: torch.device) -> None:
        self._split = split
        self._device = device

    def _pack(self, ids: Ids) -> Ragged:
        packed = self._split.packed(ids)
        if self._device.type == "cuda":
            packed.buffer = packed.buffer.pin_memory()
        return packed

    def batches(self, batches: Sequence[Ids]) -> Iterator[Ragged]:
        """The native images of each of these lists of ids."""
        with ThreadPoolExecutor(1) as thread:
            waiting: deque[Future[Ragged]] = deque()
            try:
                for ids in batches:
                    waiting.append(thread.submit(self._pack, ids))
                    if len(waiting) > _AHEAD:
                        yield self._sent(waiting.popleft())
                while waiting:
                    yield self._sent(waiting.popleft())
            finally:
                for future in waiting:
                    future.cancel()

    def _sent(self, future: Future[Ragged]) -> Ragged:
        packed = future.result()
        packed.buffer = packed.buffer.to(self._device, non_blocking=True)
        return packed


def image_store(split: Split, device: torch.device, stay: bool = True) -> ImageStore:
    """The fastest way for this device and this many images; `stay`: they are used every epoch."""
    if device.type == "cpu":
        return Mapped(split)
    needed = int((split.heights[split.ids] * split.widths[split.ids]).sum()) * 3
    if stay and fits(needed, device):
        return Resident(split, device)
    return Sent(split, device)


def fits(needed: int, device: torch.device) -> bool:
    """Whether images of so many bytes may stay on this device."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return needed <= free * _SHARE
