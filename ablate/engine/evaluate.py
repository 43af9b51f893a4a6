"""Metrics: running means on the device, and the evaluation on the test images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from operator import add, mul

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ablate.engine.precision import NumberFormat


class Meter:
    """Means over an epoch's images of scalars that stay on the device until they are asked for.

    Each scalar is a mean over some images already, a micro-batch's, and counts by how many.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[Tensor]] = {}
        self._counts: dict[str, list[int]] = {}

    def add(self, name: str, value: Tensor, images: int) -> None:
        """Add the mean over so many images; no synchronisation, nothing for the device to do."""
        kept = value.detach()
        # A view would keep what it is a view of until the epoch ends.
        self._values.setdefault(name, []).append(kept.clone() if value._is_view() else kept)
        self._counts.setdefault(name, []).append(images)

    def means(self) -> dict[str, float]:
        """The means so far, summed in the order of the steps; waits for the device once."""
        if not self._values:
            return {}
        stacked = torch.cat([torch.stack(values).double() for values in self._values.values()])
        numbers = iter(stacked.tolist())
        return {
            name: _mean(list(islice(numbers, len(values))), self._counts[name])
            for name, values in self._values.items()
        }


def _mean(values: list[float], counts: list[int]) -> float:
    """Not by sum(), which newer Pythons compute more exactly than a device would."""
    if len(set(counts)) == 1:  # where counting changes nothing, not even the last bit
        return reduce(add, values) / len(values)
    return float(reduce(add, map(mul, values, counts)) / sum(counts))


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
    classes: int,
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
                if scores.shape != (wanted := (len(images), classes)):
                    raise ValueError(f"logits of shape {list(scores.shape)}, not {list(wanted)}")
                logits.append(scores[:valid].float())
                labels.append(truth[:valid])
    finally:
        model.train(was_training)
    scores, truth = torch.cat(logits), torch.cat(labels)
    metrics = {
        "top1": (scores.argmax(1) == truth).double().mean(),
        "loss": cross_entropy(scores.double(), truth),
    }
    if scores.shape[1] > 5:
        hits = (scores.topk(5, dim=1).indices == truth[:, None]).any(1)
        metrics["top5"] = hits.double().mean()
    values = torch.stack(list(metrics.values())).tolist()  # waits for the device, the only time
    return Tested(
        dict(zip(metrics, values, strict=True)), scores.cpu().numpy(), truth.cpu().numpy()
    )
