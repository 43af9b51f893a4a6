"""The engine's side of a comparison: trials in this process, results in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from place import Place

from ablate import Trick
from ablate.core.hook_types import Run
from ablate.core.recipe import Recipe
from ablate.core.trial import Trial
from ablate.data.dataset import CachedDataset
from ablate.data.loader import RawBatch, TrialData, open_data
from ablate.engine.loop import train
from ablate.engine.recorder import Memory
from ablate.execution.trial_process import set_numerics


class Batches(TrialData):
    """Batches that are on the device already: the same few in every epoch."""

    def __init__(
        self, device: torch.device, recipe: Recipe, steps: int, layout: Any, different: int = 4
    ) -> None:
        size, count = recipe.image_size, recipe.batch_size
        assert size is not None
        self.steps_per_epoch = steps
        generator = torch.Generator().manual_seed(0)
        self.batches = [
            RawBatch(
                np.arange(count),
                torch.randn(count, 3, size, size, generator=generator)
                .to(device)
                .contiguous(memory_format=layout),
                torch.randint(10, (count,), generator=generator).to(device),
            )
            for _ in range(different)
        ]

    def train_batches(self, epoch: int, size: int) -> Iterator[RawBatch]:
        """In turn."""
        return (self.batches[i % len(self.batches)] for i in range(self.steps_per_epoch))

    def eval_batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """One of them."""
        raw = self.batches[0]
        yield raw.images, raw.labels, len(raw.labels)

    def close(self) -> None:
        """Nothing to end."""


class Between(Memory):
    """After each epoch something else may run; what an epoch left is not copied."""

    def __init__(self, between: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._between = between

    def epoch(self, record: dict[str, Any], state: Callable[[], dict[str, Any]]) -> None:
        """Keep the record."""
        self.records.append(record)
        self._between()

    @property
    def rates(self) -> list[float]:
        """Images per second of the epochs' trainings, without the first epoch."""
        return [r["images"] / r["seconds"] for r in self.records[1:]]


def layout(trial: Trial) -> torch.memory_format:
    """Of this trial's images."""
    return torch.channels_last if trial.numerics.channels_last else torch.contiguous_format


def train_on(
    place: Place, trial: Trial, data: TrialData, tricks: Sequence[Trick], memory: Memory
) -> Run:
    """Train on given batches."""
    set_numerics(trial.numerics)
    return train(trial, tricks, lambda augmentations: data, place.device, memory)


def train_real(
    place: Place, trial: Trial, cached: CachedDataset, tricks: Sequence[Trick], memory: Memory
) -> Run:
    """Train on a decoded data set, as a worker does."""
    set_numerics(trial.numerics)
    return train(
        trial,
        tricks,
        lambda augmentations: open_data(
            cached,
            trial.recipe,
            augmentations,
            trial.seed,
            place.device,
            channels_last=trial.numerics.channels_last,
        ),
        place.device,
        memory,
    )
