"""Which checkpoint a trial goes on from: the newest that is whole and its own, else none.

What cannot be used is said in the trial's log, and the one before it is tried: a damaged or a
foreign file costs epochs, never the trial.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.core.trial import Trial
from ablate.errors import brief
from ablate.store.attempt_reader import checkpoints


@dataclass(frozen=True)
class Saved:
    """A state to go on from. attempt: whose; epoch: how many it has; path: its file."""

    attempt: str
    epoch: int
    path: Path
    state: dict[str, Any]


def newest(
    store: Path, trial: Trial, passing: Collection[Path] = ()
) -> tuple[Saved | None, list[str]]:
    """The newest checkpoint that can be used, and what to say of those that cannot.

    passing: files that turned out not to fit the model.
    """
    from ablate.engine import checkpoint

    told: list[str] = []
    key = trial.key
    for attempt, epoch, path in checkpoints(store, key, told.append):
        if path in passing:
            continue
        try:
            state = checkpoint.read(path)
            checkpoint.check(state, key, epoch, trial.recipe.epochs)
        except Exception as error:  # noqa: BLE001 - torch raises anything for what is no checkpoint
            told.append(f"{path} cannot be used and is not: {brief(error)}")
            continue
        return Saved(attempt, epoch, path, state), told
    return None, told
