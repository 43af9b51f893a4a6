"""What an epoch logs: means over images, however they were divided."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import PrivateAttr
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ablate import Batch, Outputs, Trick, hookimpl
from ablate.engine.evaluate import Meter
from tests.helpers.support import run


class Penalised(Trick):
    """A model without batch norm, and an extra loss that differs from image to image."""

    @hookimpl
    def build_model(self, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, num_classes))

    @hookimpl
    def extra_losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        return {"size": outputs.logits.square().mean(), "pixels": batch.images.mean()}


class Kept(Trick):
    """Keeps each step's images and targets."""

    _steps: list[Any] = PrivateAttr(default_factory=list)

    @hookimpl
    def on_step_end(self, batch: Batch) -> None:
        self._steps.append((batch.images.clone(), batch.targets.clone()))


@pytest.mark.parametrize(("batch", "parts"), [(5, 4), (5, 1), (6, 3), (7, 3), (3, 8)], ids=str)
def test_a_loss_in_unequal_parts_is_the_mean_over_images(batch: int, parts: int) -> None:
    settings: dict[str, Any] = {"batch_size": batch, "epochs": 1, "lr": 1e-12, "limit": 40}
    kept = Kept()
    trained, memory = run([Penalised(), kept], micro_batches=parts, **settings)
    metrics = memory.records[0]["metrics"]
    losses, sizes, pixels = [], [], []
    for images, targets in kept._steps:  # the weights stand still
        with torch.no_grad():
            logits = trained.model(images)
        sizes.append(logits.square().mean().item())
        pixels.append(images.mean().item())
        losses.append(cross_entropy(logits, targets).item() + sizes[-1] + pixels[-1])
    assert len(losses) == 40 // batch
    assert metrics["train_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert metrics["train_loss/size"] == pytest.approx(np.mean(sizes), rel=1e-5)
    assert metrics["train_loss/pixels"] == pytest.approx(np.mean(pixels), rel=1e-4)


def test_a_mean_counts_each_value_by_its_images() -> None:
    values, counts = np.random.default_rng(0).normal(size=9), [2, 1, 1, 1, 2, 1, 1, 1, 2]
    meter = Meter()
    for value, count in zip(values, counts, strict=True):
        meter.add("loss", torch.tensor(value), count)
    assert meter.means()["loss"] == pytest.approx(np.average(values, weights=counts), rel=1e-12)


def test_equal_parts_are_counted_alike_to_the_last_bit() -> None:
    """As trials before have it: their keys are the same."""
    values = np.random.default_rng(1).normal(size=7)
    meter = Meter()
    for value in values:
        meter.add("loss", torch.tensor(value), 3)
    total = 0.0
    for value in values:
        total += float(value)
    assert meter.means()["loss"] == total / 7
