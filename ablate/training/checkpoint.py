"""What a checkpoint holds: everything that the next epoch depends on, and the history so far."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import torch

from ablate.errors import AblateError, TrickError
from ablate.training.precision import NumberFormat
from ablate.tricks.base import Trick
from ablate.tricks.chains import blaming
from ablate.types import Run

_PLAIN = (type(None), bool, int, float, str, bytes, torch.dtype, torch.device)


def capture(
    run: Run, number_format: NumberFormat, tricks: Sequence[Trick], history: list[dict[str, Any]]
) -> dict[str, Any]:
    """The state after a whole epoch; no generator is in it, because none has state."""
    return {
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
    """Load a checkpoint; tensors and plain values only, never code."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def restore(
    state: dict[str, Any], run: Run, number_format: NumberFormat, tricks: Sequence[Trick]
) -> list[dict[str, Any]]:
    """Put a captured state back in place; returns the history."""
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    number_format.load_state_dict(state["number_format"])
    for trick in tricks:
        if trick.name in state["tricks"]:
            with blaming(trick.name, "load_state_dict"):
                trick.load_state_dict(state["tricks"][trick.name])
    run.epoch, run.step = state["epoch"], state["step"]
    history: list[dict[str, Any]] = state["history"]
    if len(history) != run.epoch:
        raise AblateError(f"checkpoint of epoch {run.epoch} holds {len(history)} epochs")
    return history
