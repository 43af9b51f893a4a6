"""The batches of one trial: which images, in which order, augmented how; on the trial's device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.core import rng
from ablate.core.hook_types import Augmentation
from ablate.core.recipe import Recipe
from ablate.data.augment import Normalise
from ablate.data.dataset import CachedDataset, check_recipe
from ablate.data.device_copy import ImageStore, image_store
from ablate.data.evaluation import EvalImages
from ablate.data.pipeline import Augmented, Pipeline, Task, Workers
from ablate.data.upload import upload


@dataclass(frozen=True)
class RawBatch:
    """A training batch before its targets are encoded.

    ids: int64 [B], positions in the whole training split (NumPy). images: float32 [B, 3, S, S] and
    labels: int64 [B], on the device.
    """

    ids: NDArray[np.int64]
    images: Tensor
    labels: Tensor


def open_data(
    cached: CachedDataset,
    recipe: Recipe,
    augmentations: Sequence[Augmentation],
    seed: int,
    device: torch.device,
    workers: int = 0,
    channels_last: bool = False,
) -> TrialData:
    """The batches of one trial.

    `workers` processes augment on the CPU (0: this process; on a GPU the GPU itself); the batches
    are the same bits for any number of them. Raises AblateError for a recipe without one full
    batch, or with evaluation images larger than what they are cut from.
    """
    return TrialData(cached, recipe, augmentations, seed, device, workers, channels_last)


class TrialData:
    """See `open_data`. Close it: it may own processes."""

    def __init__(
        self,
        cached: CachedDataset,
        recipe: Recipe,
        augmentations: Sequence[Augmentation],
        seed: int,
        device: torch.device,
        workers: int,
        channels_last: bool,
    ) -> None:
        eval_size, eval_resize = recipe.eval_size, recipe.eval_resize
        mean, std = recipe.mean, recipe.std
        image_size = recipe.image_size
        if not (image_size and eval_size and eval_resize and mean and std):
            raise ValueError("the recipe is not resolved")
        train, evaluation = cached.train, cached.eval
        self.num_classes = cached.num_classes
        self.train_count = len(train)
        self.eval_count = len(evaluation)
        check_recipe(cached, recipe)
        self.steps_per_epoch = len(train) // recipe.batch_size
        self._seed = seed
        self._device = device
        self._batch_size = recipe.batch_size
        self._image_size = image_size
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._ids = train.ids
        self._labels = train.labels
        labels = np.zeros(-(-len(evaluation) // recipe.batch_size) * recipe.batch_size, np.int64)
        labels[: len(evaluation)] = evaluation.labels[evaluation.ids]
        self._eval_labels = upload(labels, device)
        self._pipeline = Pipeline.of(augmentations, seed)
        self._workers = (
            Workers(Augmented(train, self._pipeline), workers, pin=device.type == "cuda")
            if workers
            else None
        )
        self._store: ImageStore | None = None if workers else image_store(train, device)
        self._eval_images = EvalImages(cached, eval_resize, eval_size, device)
        self._normalise = Normalise(tuple(mean), tuple(std))

    def train_batches(self, epoch: int, size: int) -> Iterator[RawBatch]:
        """The epoch's batches of full size, in its order, with images of `size` pixels."""
        yield from self._batches("order", "augment", epoch, size, self.steps_per_epoch)

    def clean_batches(self, count: int, size: int | None = None) -> list[Tensor]:
        """Images of `count` training batches, the same whenever asked: for recalibrating norms.

        They are augmented as in training, from streams of their own, and never mixed.
        """
        images: list[Tensor] = []
        epoch = 0
        while len(images) < count:
            some = min(count - len(images), self.steps_per_epoch)
            batches = self._batches("clean-order", "clean", epoch, size or self._image_size, some)
            images += [batch.images for batch in batches]
            epoch += 1
        return images

    def eval_batches(self) -> Iterator[tuple[Tensor, Tensor, int]]:
        """(images, labels, valid): the last batch is filled up, its first `valid` count."""
        labels, size = self._eval_labels, self._batch_size
        for number, (images, valid) in enumerate(self._eval_images.batches(size)):
            numbers = labels[number * size : (number + 1) * size]
            yield self._formatted(self._normalise(images)), numbers, valid

    def close(self) -> None:
        """End the loader's processes, if there are any."""
        for owner in (self._workers, self._store):
            if owner is not None:
                owner.close()

    def _batches(
        self, order: str, purpose: str, epoch: int, size: int, count: int
    ) -> Iterator[RawBatch]:
        shuffled = self._ids[
            rng.permutation(rng.stream_key(self._seed, order, epoch), self.train_count)
        ]
        batch = self._batch_size
        tasks = [
            Task(shuffled[start : start + batch], epoch, size, purpose)
            for start in range(0, count * batch, batch)
        ]
        # in one copy for the epoch, not one a batch
        labels = upload(self._labels[shuffled[: count * batch]], self._device)
        for number, (task, images) in enumerate(zip(tasks, self._images(tasks), strict=True)):
            numbers = labels[number * batch : (number + 1) * batch]
            yield RawBatch(task.ids, self._formatted(images), numbers)

    def _images(self, tasks: Sequence[Task]) -> Iterator[Tensor]:
        if self._workers is not None:
            for images in self._workers.batches(tasks):
                yield images.to(self._device, non_blocking=True)
            return
        assert self._store is not None
        natives = self._store.batches([task.ids for task in tasks])
        for task, native in zip(tasks, natives, strict=True):
            yield self._pipeline(native, task)

    def _formatted(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=self._format)
