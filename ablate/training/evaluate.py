"""Metrics: running means on the device, and the evaluation on the test images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ablate.training.precision import NumberFormat


class Meter:
    """Means over an epoch that stay on the device until they are asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Add one scalar; no synchronisation."""
        value = value.detach().double()
        self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """The means so far; waits for the device once."""
        if not self._sums:
            return {}
        values = torch.stack(list(self._sums.values())).tolist()
        return {
            name: value / self._counts[name] for name, value in zip(self._sums, values, strict=True)
        }


@dataclass(frozen=True)
class Tested:
    """metrics: accuracies as fractions, loss. scores: float32 [N, K] logits; labels: int64 [N]."""

    metrics: dict[str, float]
    scores: np.ndarray
    labels: np.ndarray


def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor, int]],
    number_format: NumberFormat,
) -> Tested:
    """Hard-label cross-entropy and accuracies of raw logits; no hook acts on this.

    batches: (images [B, C, S, S], labels [B], how many of them count). The model's mode is put
    back.
    """
    was_training = model.training
    model.eval()
    logits, labels = [], []
    try:
        with torch.inference_mode():
            for images, truth, valid in batches:
                with number_format.autocast():
                    scores = model(images)
                logits.append(scores[:valid].float())
                labels.append(truth[:valid])
    finally:
        model.train(was_training)
    scores, truth = torch.cat(logits), torch.cat(labels)
    metrics = {
        "top1": (scores.argmax(1) == truth).double().mean().item(),
        "loss": cross_entropy(scores.double(), truth).item(),
    }
    if scores.shape[1] > 5:
        hits = (scores.topk(5, dim=1).indices == truth[:, None]).any(1)
        metrics["top5"] = hits.double().mean().item()
    return Tested(metrics, scores.cpu().numpy(), truth.cpu().numpy())
