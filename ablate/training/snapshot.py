"""A copy of a training's state that can be written while the training goes on."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

_streams: dict[torch.device, torch.cuda.Stream] = {}


class Snapshot:
    """Copies every tensor of a state to memory that the training does not write to.

    Tensors that share memory share it in the copy. A GPU is not waited for: it copies within itself
    in the order of its work, and from there to the host beside it; `wait` before reading `state`.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self._storages: dict[tuple[str, int], torch.UntypedStorage] = {}
        self._used: set[torch.device] = set()
        self._state: dict[str, Any] = self._copied(state)
        self._sent = [_streams[device].record_event() for device in self._used]
        self._storages.clear()

    def wait(self) -> dict[str, Any]:
        """The state, once all of it is there."""
        for event in self._sent:
            event.synchronize()
        return self._state

    def _copied(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, dict):
            new = copy.copy(value)  # keeps its class, and what a model's state has beside its items
            for key, item in value.items():
                new[key] = self._copied(item)
            return new
        if type(value) in (list, tuple):
            return type(value)(self._copied(item) for item in value)
        return copy.deepcopy(value)

    def _tensor(self, value: Tensor) -> Tensor:
        plain = type(value) in (Tensor, nn.Parameter) and value.layout is torch.strided
        if not plain or value.is_quantized or value.is_conj() or value.is_neg():
            return value.detach().clone().cpu()
        new = torch.empty(0, dtype=value.dtype, device="cpu").set_(
            self._storage(value.untyped_storage()),
            value.storage_offset(),
            value.size(),
            value.stride(),
        )
        if isinstance(value, nn.Parameter):
            return nn.Parameter(new, requires_grad=value.requires_grad)
        return new.requires_grad_(value.requires_grad)

    def _storage(self, storage: torch.UntypedStorage) -> torch.UntypedStorage:
        if storage.nbytes() == 0:
            return torch.empty(0, device="cpu").untyped_storage()
        key = (str(storage.device), storage.data_ptr())
        if key not in self._storages:
            there = torch.empty(0, dtype=torch.uint8, device=storage.device)
            there.set_(storage, 0, (storage.nbytes(),), (1,))
            here = self._send(there) if there.device.type == "cuda" else there.clone().cpu()
            self._storages[key] = here.untyped_storage()
        return self._storages[key]

    def _send(self, there: Tensor) -> Tensor:
        device = there.device
        try:
            kept = there.clone()  # the next step may write to the original at once
        except torch.OutOfMemoryError:
            return there.cpu()
        here = torch.empty(kept.shape, dtype=torch.uint8, device="cpu", pin_memory=True)
        if device not in _streams:
            _streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        side = _streams[device]
        self._used.add(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            here.copy_(kept, non_blocking=True)
        kept.record_stream(side)  # not handed out again before it was copied
        return here
