"""How a batch's native images reach the device: mapped, resident, or sent ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.core.hook_types import Ragged
from ablate.data.dataset import Split
from ablate.data.pipeline import Natives, Workers
from ablate.util.resources import cores

Ids = NDArray[np.int64]

_AHEAD = 2  # batches under way to the device
_SHARE = 0.5  # of the free device memory that images may take; the rest is the training's
_PART = 32  # images that a process decodes at a time: what waits stays small, the first comes soon


# One data set, left on the device by the last trial: (of what, where) -> (buffer, checksum)
_kept: dict[tuple[tuple[str, str, int], torch.device], tuple[Tensor, int]] = {}


class ImageStore(Protocol):
    """Gives the images of one batch after the other, on its device."""

    def batches(self, batches: Sequence[Ids]) -> Iterator[Ragged]:
        """The native images of each of these lists of ids."""
        ...

    def close(self) -> None:
        """End its processes, if there are any."""
        ...


class Mapped:
    """Views into the memory-mapped file, for the CPU; decoded now where it holds files."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def batches(self, batches: Sequence[Ids]) -> Iterator[Ragged]:
        """The native images of each of these lists of ids."""
        return (self._split.ragged(ids) for ids in batches)

    def close(self) -> None:
        """Nothing to end."""


class Resident:
    """All of a split's images, within its limit, in one buffer on the device.

    keep: leave the buffer there for the process's next trial on the same images. It is used again
    only if its checksum is what it was: no trial may see what another one did to its images.
    """

    def __init__(self, split: Split, device: torch.device, keep: bool = False) -> None:
        lengths = split.heights[split.ids] * split.widths[split.ids] * 3
        self._offsets = np.zeros(len(split.labels), dtype=np.int64)
        self._offsets[split.ids] = np.cumsum(lengths) - lengths
        self._split = split
        place = (split.address, device) if keep and split.address else None
        kept = _kept.get(place) if place else None
        if kept is not None and _checksum(kept[0]) == kept[1]:
            self._buffer = kept[0]
            return
        forget()
        self._buffer = split.packed(split.ids, threads=cores()).buffer.to(device)
        if place:
            _kept[place] = self._buffer, _checksum(self._buffer)

    def batches(self, batches: Sequence[Ids]) -> Iterator[Ragged]:
        """The native images of each of these lists of ids."""
        heights, widths = self._split.heights, self._split.widths
        for ids in batches:
            yield Ragged(self._buffer, self._offsets[ids], heights[ids], widths[ids])

    def close(self) -> None:
        """Nothing to end."""


class Sent:
    """Batches packed into pinned memory and copied ahead of their use, beside the training.

    decoders: processes that decode, for a split of image files. A thread puts the copies into a
    stream of their own; the device waits for them, the caller does not.
    """

    def __init__(self, split: Split, device: torch.device, decoders: int = 0) -> None:
        self._split = split
        self._device = device
        self._on_gpu = device.type == "cuda"
        self._stream: torch.cuda.Stream | None = None
        if self._on_gpu:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._workers = Workers(Natives(split), decoders, pin=self._on_gpu) if decoders else None

    def batches(self, batches: Sequence[Ids]) -> Iterator[Ragged]:
        """The native images of each of these lists of ids."""
        supply = self._supply(batches)
        with ThreadPoolExecutor(1) as thread:  # one: the supply's order is the batches'
            waiting: deque[tuple[Ids, Future[_Copy]]] = deque()
            try:
                for ids in batches:
                    waiting.append((ids, thread.submit(self._send, supply)))
                    if len(waiting) > _AHEAD:
                        yield self._arrived(*waiting.popleft())
                while waiting:
                    yield self._arrived(*waiting.popleft())
            finally:
                for _, future in waiting:
                    future.cancel()

    def close(self) -> None:
        """End the processes that decode."""
        if self._workers is not None:
            self._workers.close()

    def _supply(self, batches: Sequence[Ids]) -> Iterator[Iterable[Tensor]]:
        """Each batch's pixels in one or more pieces, pinned for a GPU."""
        if self._workers is None:
            return ([self._split.packed(ids, pinned=self._on_gpu).buffer] for ids in batches)
        parts = [np.split(ids, range(_PART, len(ids), _PART)) for ids in batches]
        made = self._workers.batches([part for batch in parts for part in batch])
        return ([next(made) for _ in batch] for batch in parts)

    def _send(self, supply: Iterator[Iterable[Tensor]]) -> _Copy:
        pieces = list(next(supply))
        if self._stream is None:
            whole = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
            return whole.to(self._device), None
        with torch.cuda.stream(self._stream):
            total = sum(len(piece) for piece in pieces)
            buffer = torch.empty(total, dtype=torch.uint8, device=self._device)
            start = 0
            for piece in pieces:
                buffer[start : start + len(piece)].copy_(piece, non_blocking=True)
                start += len(piece)
            return buffer, self._stream.record_event()

    def _arrived(self, ids: Ids, future: Future[_Copy]) -> Ragged:
        buffer, copied = future.result()
        if copied is not None:
            using = torch.cuda.current_stream(self._device)
            using.wait_event(copied)
            buffer.record_stream(using)  # its memory is not given away before it was used
        heights, widths = self._split.heights[ids], self._split.widths[ids]
        lengths = heights * widths * 3
        return Ragged(buffer, np.cumsum(lengths) - lengths, heights, widths)


_Copy = tuple[Tensor, torch.cuda.Event | None]  # a batch's buffer, and when it is there


def image_store(split: Split, device: torch.device, stay: bool = True) -> ImageStore:
    """The fastest way for this device and this many images; `stay`: they are used every epoch."""
    if device.type == "cpu":
        return Mapped(split)
    if stay and (split.address, device) in _kept:
        return Resident(split, device, keep=True)
    if stay:
        forget()
        if fits(split.native_bytes(split.ids), device):
            return Resident(split, device, keep=device.type == "cuda")
    return Sent(split, device, decoders(device) if split.encoded else 0)


def kept_bytes() -> int:
    """What is left on the device for the next trial."""
    return sum(buffer.numel() for buffer, _ in _kept.values())


def forget() -> None:
    """Give back what is left on the device for the next trial."""
    _kept.clear()


def _checksum(buffer: Tensor) -> int:
    """Of all bytes, as 64-bit words; waits for the device."""
    whole = len(buffer) // 8 * 8
    return int(buffer[:whole].view(torch.int64).sum() + buffer[whole:].sum())


def fits(needed: int, device: torch.device) -> bool:
    """Whether images of so many bytes may stay on this device."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return needed <= free * _SHARE


def decoders(device: torch.device) -> int:
    """Processes that decode for one device: its share of the cores, but for the trainer's own."""
    devices = max(1, torch.cuda.device_count()) if device.type == "cuda" else 1
    return max(1, cores() // devices - 1)
