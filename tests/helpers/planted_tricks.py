"""Tricks whose effect is known beforehand: one helps much, one does nothing, one harms much."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ablate import Trick, hookimpl
from ablate.core.hook_types import Factors, Run, Schedule


class PlantedStrong(Trick):
    """The baseline's learning rate is a tenth of a good one; this gives the good one."""

    @hookimpl(wrapper=True)
    def build_schedule(self) -> Any:
        """Ten times the rate."""
        schedule: Schedule = yield

        def faster(step: int, start: int, total: int) -> Factors:
            factors = schedule(step, start, total)
            return replace(factors, lr=10 * factors.lr)

        return faster


class PlantedUseless(Trick):
    """Every gradient moves by about one part in 100,000: another training, no better or worse."""

    @hookimpl(wrapper=True)
    def transform_gradients(self, run: Run, grads: list[Tensor]) -> Any:
        """The gradients, each times 1 + 1e-5·sin of its place."""
        given: list[Tensor] = yield
        return [
            g * (1 + 1e-5 * torch.sin(torch.arange(g.numel(), dtype=g.dtype) + run.step)).view_as(g)
            for g in given
        ]


class PlantedHarmful(Trick):
    """Every 0 is taught to be a 1, so a tenth of the test images must go wrong."""

    @hookimpl(wrapper=True)
    def encode_targets(self, labels: Tensor, num_classes: int) -> Any:
        """One-hot targets, those of class 0 moved to class 1."""
        targets: Tensor = yield
        zeros = (labels == 0)[:, None]
        return torch.where(zeros, targets.roll(1, dims=1), targets)
