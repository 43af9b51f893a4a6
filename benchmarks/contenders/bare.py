"""Contender (a): a training loop as one writes it by hand for one recipe, with nothing to spare."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from ablate.core.recipe import Recipe
from ablate.models import build_model
from ablate.models.init import initialise

DECAY, SMOOTHING = 0.99, 0.1


class Bare:
    """Forward, backward, SGD and the recipe's milestones.

    five: label smoothing, mixup with the factors of `mix`, warmup over `warmup` steps and then
    cosine to `total`, no decay of biases and norms, and an average of all weights and buffers.
    """

    def __init__(
        self,
        recipe: Recipe,
        device: torch.device,
        layout: Any,
        dtype: torch.dtype | None = None,
        compiled: bool = False,
        five: bool = False,
        mix: Sequence[float] = (),
        warmup: int = 0,
        total: int = 1,
    ) -> None:
        self.recipe, self.device, self.dtype, self.five = recipe, device, dtype, five
        self.mix, self.warmup, self.total, self.done = mix, warmup, total, 0
        model = initialise(build_model(recipe.model, 10), 0)
        self.model = model.to(device=device, memory_format=layout).train()
        self.called = torch.compile(self.model, dynamic=False) if compiled else self.model
        kept = {id(m.weight) for m in self.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
        free = [p for p in self.model.parameters() if five and id(p) not in kept]
        rest = [p for p in self.model.parameters() if not five or id(p) in kept]
        groups = [{"params": rest, "weight_decay": recipe.weight_decay}]
        groups += [{"params": free, "weight_decay": 0.0}] if free else []
        self.optimizer = torch.optim.SGD(
            groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=True,
            fused=True if device.type == "cuda" else None,
        )  # fmt: skip
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        state = self.model.state_dict()
        self.floats = [v for v in state.values() if v.is_floating_point()]
        self.counts = [v for v in state.values() if not v.is_floating_point()]
        self.average = copy.deepcopy(self.floats)
        self.average_counts = copy.deepcopy(self.counts)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One batch."""
        targets = labels
        if self.five:
            targets = one_hot(labels, 10).float() * (1 - SMOOTHING) + SMOOTHING / 10
            lam = self.mix[self.done]
            images = images.roll(1, 0).mul_(1 - lam).add_(images, alpha=lam)
            targets = targets.roll(1, 0).mul_(1 - lam).add_(targets, alpha=lam)
        rate = self.recipe.lr * self.factor()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        if self.dtype is None:
            loss = cross_entropy(self.called(images), targets)
        else:
            with torch.autocast(self.device.type, dtype=self.dtype):
                loss = cross_entropy(self.called(images), targets)
        if self.dtype == torch.float16:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            loss.backward()
            self.optimizer.step()
        self.done += 1
        if self.five:
            torch._foreach_lerp_(self.average, self.floats, 1 - DECAY)
            for kept, value in zip(self.average_counts, self.counts, strict=True):
                kept.copy_(value)

    def factor(self) -> float:
        """Of the learning rate at this step."""
        if not self.five:
            steps = self.recipe.schedule
            passed = sum(self.done / self.total >= m for m in steps.milestones)
            return float(steps.gamma**passed)
        t = max(self.done - self.warmup, 0) / max(self.total - self.warmup, 1)
        ramp = min((self.done + 1) / self.warmup, 1.0) if self.warmup else 1.0
        return ramp * 0.5 * (1 + math.cos(math.pi * t))
