"""What a checkpoint holds: everything that the next epoch depends on, and the history so far."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import torch

from ablate.errors import TrickError, brief
from ablate.training.precision import NumberFormat
from ablate.tricks.base import Trick
from ablate.tricks.chains import blaming
from ablate.types import Run

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
    parts is not what its own checksum says, which torch does not look at.
    """
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"{damaged} in it is damaged")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
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
            with blaming(trick.name, "load_state_dict"):
                trick.load_state_dict(state["tricks"][trick.name])
    run.epoch, run.step = state["epoch"], state["step"]
    history: list[dict[str, Any]] = state["history"]
    return history
