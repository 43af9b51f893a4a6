"""What a checkpoint holds: everything that the next epoch depends on, and the history so far."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import torch

from ablate.errors import AblateError
from ablate.training.precision import NumberFormat
from ablate.tricks.base import Trick
from ablate.types import Run


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
        "tricks": {trick.name: state for trick in tricks if (state := trick.state_dict())},
        "history": history,
    }


def write(state: dict[str, Any], file: IO[bytes]) -> None:
    """Save a state that `read` takes back."""
    torch.save(state, file)


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
            trick.load_state_dict(state["tricks"][trick.name])
    run.epoch, run.step = state["epoch"], state["step"]
    history: list[dict[str, Any]] = state["history"]
    if len(history) != run.epoch:
        raise AblateError(f"checkpoint of epoch {run.epoch} holds {len(history)} epochs")
    return history
