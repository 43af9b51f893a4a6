"""What a checkpoint holds: everything that the next epoch depends on, and the history so far.

`Snapshot` is a copy of that state which can be written while the training goes on.
"""

from __future__ import annotations

import copy
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from ablate.core.hook_types import Run
from ablate.engine.precision import NumberFormat
from ablate.errors import TrickError, brief
from ablate.tricks.base import Trick
from ablate.tricks.hooks import blaming
from ablate.util.files import open_plain
from ablate.util.tensor_files import check_file, check_tensors

_PARTS = {"epoch", "step", "model", "optimizer", "number_format", "tricks", "history"}
_PLAIN = (type(None), bool, int, float, str, bytes, torch.dtype, torch.device)


def capture(
    run: Run, number_format: NumberFormat, tricks: Sequence[Trick], history: list[dict[str, Any]]
) -> dict[str, Any]:
    """The state after a whole epoch; no generator is in it, because none has state."""
    return {
        "trial": run.trial.key,
        "epoch": run.epoch,
        "step": run.step,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "number_format": number_format.state_dict(),
        "tricks": {trick.name: state for trick in tricks if (state := _state(trick))},
        "history": history,
    }


def _state(trick: Trick) -> dict[str, Any]:
    """What the trick wants saved, refused here if `read` would refuse it in a resumed training."""
    with blaming(trick.name, "state_dict"):
        state = trick.state_dict()
    if not isinstance(state, dict):
        raise TrickError(trick.name, "state_dict", f"returned {type(state).__name__}, not a dict")
    waiting: list[Any] = [state]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
        elif type(value) not in _PLAIN and not isinstance(value, torch.Tensor):
            raise TrickError(
                trick.name, "state_dict",
                f"holds a {type(value).__name__}; tensors, numbers, texts, lists and dicts can be",
            )  # fmt: skip
    return state


def write(state: dict[str, Any], file: IO[bytes]) -> None:
    """Save a state that `read` takes back. Raises OSError where the file's disk is full."""
    watched = _Watched(file)
    try:
        torch.save(state, watched)  # type: ignore[arg-type]  # it writes and flushes, no more
    except RuntimeError:  # what torch raises on top, about the archive that is not whole
        if watched.error is not None:
            raise watched.error from None
        raise


class _Watched:
    """A file that remembers why it could not be written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def read(path: Path) -> dict[str, Any]:
    """Load a checkpoint; tensors and plain values only, never code.

    Raises whatever torch and zipfile raise for a file that is none, and ValueError where one of its
    parts is not what its own checksum says, which torch does not look at, or it claims more than it
    holds.
    """
    with open_plain(path) as file:
        check_file(file)
        with zipfile.ZipFile(file) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"{damaged} in it is damaged")
        file.seek(0)
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        check_tensors(state, file)
    return state


def check(state: Any, key: str, epoch: int, epochs: int) -> None:
    """Raise ValueError where a state is not that of this trial after this epoch of so many.

    Older releases wrote no `trial`; their states are then held against the model alone.
    """
    if not isinstance(state, dict) or not state.keys() >= _PARTS:
        raise ValueError("it holds no state of a training")
    if state.get("trial", key) != key:
        raise ValueError("it is another trial's")
    history = state["history"]
    if state["epoch"] != epoch or not isinstance(history, list) or len(history) != epoch:
        raise ValueError(f"it does not hold {epoch} epochs")
    if not 0 < epoch < epochs:
        raise ValueError(f"it is of epoch {epoch} of {epochs}")
    if not all(isinstance(one, dict) and one.get("epoch") == i for i, one in enumerate(history, 1)):
        raise ValueError("its epochs are not in order")


class Unusable(Exception):
    """A state that does not fit the model, the optimizer or the number format of its trial."""


def restore(
    state: dict[str, Any], run: Run, number_format: NumberFormat, tricks: Sequence[Trick]
) -> list[dict[str, Any]]:
    """Put a captured state back in place; returns the history.

    Raises Unusable where it does not fit; what was put back by then is of no use any more.
    """
    try:
        run.model.load_state_dict(state["model"])
        run.optimizer.load_state_dict(state["optimizer"])
        number_format.load_state_dict(state["number_format"])
    except Exception as error:
        raise Unusable(brief(error)) from error
    for trick in tricks:
        if trick.name in state["tricks"]:
            if type(trick).load_state_dict is Trick.load_state_dict:
                raise TrickError(
                    trick.name, "state_dict",
                    "saves a state that nothing takes back; write load_state_dict(state)",
                )  # fmt: skip
            with blaming(trick.name, "load_state_dict"):
                trick.load_state_dict(state["tricks"][trick.name])
    run.epoch, run.step = state["epoch"], state["step"]
    history: list[dict[str, Any]] = state["history"]
    return history


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
