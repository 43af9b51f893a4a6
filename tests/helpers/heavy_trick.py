"""A trick that makes a trial long and its checkpoints large, and costs no processor."""

from __future__ import annotations

import time
from typing import Any

import torch

from ablate import Trick, hookimpl

FLOATS = 1 << 20  # of state, 4 bytes each


class Heavy(Trick):
    """Sleeps after every step, and has a state of 4 MB which it checks when it goes on."""

    seconds: float = 0.05
    _steps: int = 0

    def _filling(self, steps: int) -> torch.Tensor:
        return torch.rand(FLOATS, generator=torch.Generator().manual_seed(steps))

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "filling": self._filling(self._steps)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert torch.equal(state["filling"], self._filling(state["steps"]))
        self._steps = state["steps"]

    @hookimpl
    def on_step_end(self) -> None:
        self._steps += 1
        time.sleep(self.seconds)
