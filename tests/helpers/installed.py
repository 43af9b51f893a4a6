"""Every installed trick in a small training of its own or with others, on one model for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch

from ablate import Trick
from ablate.models import build_model
from ablate.models.init import initialise
from ablate.tricks.discovery import load_catalogue
from ablate.tricks.hooks import resolve_recipe
from tests.helpers.support import Memory, recipe, run, same, weights

CATALOGUE = load_catalogue(bundled_only=True)
NAMES = CATALOGUE.names
# Two epochs of two batches. Two mixers take turns; with this seed each has one of the first four.
SETTINGS: dict[str, Any] = {
    "model": "tests.helpers.small_models:narrow_v1",
    "image_size": 32,
    "batch_size": 8,
    "epochs": 2,
    "lr": 0.005,
}
LIMIT, SEED = 16, 3

# FP16's first steps overflow and are skipped until the loss scale has come down; four steps cannot
# wait for that from where it starts.
LOSS_SCALE = 2.0**8

# Defaults that so few epochs do not reach, and parameters without one.
PARAMETERS: dict[str, dict[str, Any]] = {
    "warmup": {"epochs": 1},
    "distill": {"teacher": "@big"},
    "gradient_accumulation": {"micro_batches": 2},
}
# Steps as long as SGD's would be for these: RMSprop's overflow FP16 after two.
LR = {"adam": 0.001, "adamw": 0.001, "rmsprop": 0.001}


def made(name: str, **parameters: Any) -> Trick:
    """A fresh trick, with the parameters that this training needs."""
    return CATALOGUE.load(name).cls(**(PARAMETERS.get(name, {}) | parameters))


@dataclass(frozen=True)
class Training:
    """What a training left: weights and buffers, each epoch's metrics, the last test scores."""

    weights: dict[str, torch.Tensor]
    metrics: list[dict[str, float]]
    scores: torch.Tensor
    memory: Memory

    @property
    def losses(self) -> list[tuple[float, float]]:
        """(training loss, test loss) of each epoch."""
        return [(m["train_loss"], m["loss"]) for m in self.metrics]

    def same(self, other: Training) -> bool:
        """Weights, metrics and predictions, bit for bit."""
        return (
            same(self.weights, other.weights)
            and self.metrics == other.metrics
            and torch.equal(self.scores, other.scores)
        )


def trained(
    tricks: Sequence[Trick] = (),
    saved: dict[str, Any] | None = None,
    loss_scale: float = LOSS_SCALE,
    **settings: Any,
) -> Training:
    """Train with these tricks and what they make of the recipe; from a checkpoint if one is given.

    settings: over `SETTINGS`.
    """
    changed = resolve_recipe(tricks, recipe(**(SETTINGS | settings)))
    teacher = None
    if any("teacher" in trick.provides for trick in tricks):
        teacher = initialise(build_model("resnet8", 10), 7).eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ablate.engine.precision._INITIAL", loss_scale)
        result, memory = run(
            tricks, Memory(saved=saved), teacher, limit=LIMIT, seed=SEED, **changed.model_dump()
        )
    assert result.step == 2 * changed.epochs
    assert memory.tested is not None
    metrics = [record["metrics"] for record in memory.records]
    assert all(math.isfinite(m["train_loss"]) and math.isfinite(m["loss"]) for m in metrics)
    return Training(weights(result), metrics, torch.from_numpy(memory.tested.scores), memory)


def lr_for(*names: str) -> float:
    """The learning rate to train these tricks at."""
    return min(LR.get(name, float(SETTINGS["lr"])) for name in (*names, ""))


@cache
def alone(name: str, lr: float | None = None) -> Training:
    """The training with this trick and no other; "" is the one without."""
    return trained([made(name)] if name else [], lr=lr or lr_for(name))
