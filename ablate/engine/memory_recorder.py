"""A recorder that keeps everything in memory: for tests, of ablate's own and of others' tricks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ablate.errors import Interrupted

if TYPE_CHECKING:
    from torch import nn

    from ablate.core.hook_types import Run
    from ablate.engine.evaluate import Tested


class Memory:
    """saved: the state to resume from. stop_after: steps after which it interrupts the training.

    Then `records` and `states` of each epoch, and what was `tested` last.
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
