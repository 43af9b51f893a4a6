"""What the loop reports to: `Recorder`; and `Memory`, which keeps everything, for tests.

A trial's own recorder, which writes to its attempt, is `ablate.execution.recorder`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ablate.errors import Interrupted

if TYPE_CHECKING:
    from torch import nn

    from ablate.core.hook_types import Run
    from ablate.engine.evaluate import Tested


class Recorder(Protocol):
    """Where a trial's results go."""

    def resume(self) -> dict[str, Any] | None:
        """The newest sound checkpoint, or None to start afresh."""

    def epoch(self, record: dict[str, Any], state: Callable[[], dict[str, Any]]) -> None:
        """An epoch is over: keep its record and the state after it."""

    def finished(self, run: Run, tested: Tested, model: nn.Module) -> None:
        """The last epoch's test images, one by one, and the model that was evaluated."""

    def check(self, run: Run) -> None:
        """A step was taken: raise `Interrupted` if someone asked the trial to stop."""


class Memory:
    """A recorder that keeps everything in memory.

    saved: the state to resume from. stop_after: steps after which it interrupts the training. Then
    it has `records` and `states` of each epoch, and what was `tested` last.
    """

    def __init__(self, saved: dict[str, Any] | None = None, stop_after: int | None = None) -> None:
        self.saved = saved
        self.stop_after = stop_after
        self.records: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self.tested: Tested | None = None

    def resume(self) -> dict[str, Any] | None:
        """What to go on from."""
        return self.saved

    def epoch(self, record: dict[str, Any], state: Callable[[], dict[str, Any]]) -> None:
        """Keep both; the state as it is now."""
        self.records.append(record)
        self.states.append(copy.deepcopy(state()))

    def finished(self, run: Run, tested: Tested, model: nn.Module) -> None:
        """Keep the predictions."""
        self.tested = tested

    def check(self, run: Run) -> None:
        """Stop where it was asked for."""
        if self.stop_after is not None and run.step >= self.stop_after:
            raise Interrupted
