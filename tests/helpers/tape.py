"""A training as a plain loop sees it: the start, and each step's batch, learning rate and momentum.

Tests replay it with torch alone, and compare the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from pydantic import PrivateAttr
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ablate import Trick, hookimpl
from ablate.core.hook_types import Batch, Run
from tests.helpers.support import run

Loss = Callable[[Tensor, Tensor], Tensor]
Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], None]


class Tape(Trick):
    _start: Any = PrivateAttr(None)
    _steps: Any = PrivateAttr(None)

    @hookimpl
    def on_trial_start(self, run: Run) -> None:
        self._start = copy.deepcopy(run.model)
        self._steps = []

    @hookimpl
    def on_step_end(self, run: Run, batch: Batch) -> None:
        used = {
            k: run.optimizer.param_groups[0][k]
            for k in ("lr", "momentum", "betas")
            if k in run.optimizer.param_groups[0]
        }
        self._steps.append((batch.images.clone(), batch.targets.clone(), used))

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def start(self) -> nn.Module:
        """A copy of the model before the first step."""
        return copy.deepcopy(self._start)  # type: ignore[no-any-return]

    def replay(
        self,
        optimizer: Callable[[nn.Module], torch.optim.Optimizer],
        step: Step | None = None,
        after: Callable[[nn.Module], None] = lambda model: None,
        settings: bool = True,
    ) -> nn.Module:
        """The model after a plain loop over the same batches.

        settings: with the same learning rate and momentum at each step; else the loop has its own.
        """
        model = self.start
        made = optimizer(model)
        for images, targets, used in self._steps:
            if settings:
                made.param_groups[0].update(used)
            (step or plain_step)(model, made, images, targets)
            after(model)
        return model


def plain_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, targets: Tensor
) -> None:
    optimizer.zero_grad()
    cross_entropy(model(images), targets).backward()
    optimizer.step()


def taped(tricks: Sequence[Trick], **settings: Any) -> tuple[Run, Tape]:
    """A tiny training with these tricks, and its tape."""
    tape = Tape()
    trained, _ = run([*tricks, tape], **settings)
    assert len(tape) == trained.step
    assert trained.step > 1
    return trained, tape


def assert_same_model(ours: nn.Module, theirs: nn.Module, **tolerance: float) -> None:
    """Weights and buffers."""
    expected = theirs.state_dict()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(
            value,
            expected[name],
            msg=lambda m, n=name: f"{n}: {m}",
            **(tolerance or {"rtol": 0.0, "atol": 0.0}),
        )
