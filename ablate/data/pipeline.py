"""The training images' way from native uint8 pixels to the model's float32 batch."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from ablate import streams
from ablate.errors import AblateError, brief
from ablate.types import SLOTS, Augmentation, Ragged

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.data.cached import CachedDataset

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """One batch to make; all that a loader worker is told. purpose: "augment" or "clean"."""

    ids: Ids
    epoch: int
    size: int
    purpose: str = "augment"


@dataclass(frozen=True)
class Pipeline:
    """Augmentations in the order of their slots, each with its own stream of a seed."""

    augmentations: tuple[Augmentation, ...]
    seed: int

    @classmethod
    def of(cls, augmentations: Sequence[Augmentation], seed: int) -> Pipeline:
        """Sorted by slot; within a slot as given. AblateError for an unknown slot or no crop."""
        for augmentation in augmentations:
            if augmentation.slot not in SLOTS:
                raise AblateError(
                    f"augmentation '{augmentation.name}' has the slot '{augmentation.slot}', "
                    f"expected one of {', '.join(SLOTS)}"
                )
        ordered = tuple(sorted(augmentations, key=lambda a: SLOTS.index(a.slot)))
        if not ordered or ordered[0].slot != "geometry":
            raise AblateError("no augmentation of the slot 'geometry' makes images of one size")
        return cls(ordered, seed)

    def __call__(self, images: Ragged, task: Task) -> Tensor:
        """float32 [B, C, size, size] on the images' device."""
        value: Any = images
        expected = (len(task.ids), images.channels, task.size, task.size)
        for augmentation in self.augmentations:
            stream = streams.key(self.seed, task.purpose, augmentation.name, task.epoch)
            u = streams.uniforms(stream, task.ids, augmentation.draws)
            try:
                value = augmentation.apply(value, u, task.size)
            except (AblateError, MemoryError, torch.OutOfMemoryError):
                raise
            except (Exception, SystemExit) as error:
                raise AblateError(f"augmentation '{augmentation.name}': {brief(error)}") from error
            wrong = _wrong(value, expected, last=augmentation is self.augmentations[-1])
            if wrong is not None:
                raise AblateError(f"augmentation '{augmentation.name}' returned {wrong}")
        assert isinstance(value, torch.Tensor)  # there is at least one augmentation
        return value


def _wrong(value: object, expected: tuple[int, ...], last: bool) -> str | None:
    """What is wrong with an augmentation's result, said where it was made; None if nothing."""
    if not isinstance(value, torch.Tensor):
        return f"{type(value).__name__}, expected a tensor"
    kinds = (torch.float32,) if last else (torch.uint8, torch.float32)
    if tuple(value.shape) == expected and value.dtype in kinds:
        return None
    names = " or ".join(str(kind) for kind in kinds)
    return f"{value.dtype} {list(value.shape)}, expected {names} {list(expected)}"


class Workers:
    """Loader processes that crop and augment on their CPU; they start with the first batch."""

    def __init__(self, cached: CachedDataset, pipeline: Pipeline, count: int, pin: bool) -> None:
        self._tasks = _Tasks()
        # fork: a worker would else import torch anew, which takes seconds
        context = "fork" if sys.platform == "linux" else None
        self._loader: DataLoader[Tensor | str] = DataLoader(
            _Batches(cached, pipeline),
            sampler=self._tasks,
            batch_size=None,
            num_workers=count,
            persistent_workers=True,
            multiprocessing_context=context,
            pin_memory=pin,
            generator=torch.Generator(),  # without one it draws from the global generator
        )

    def batches(self, tasks: Sequence[Task]) -> Iterator[Tensor]:
        """float32 images of each task, on the CPU, in order."""
        self._tasks.tasks = tasks
        with warnings.catch_warnings():
            # Python 3.12 and later warn of any fork beside threads; workers only use NumPy and
            # torch's kernels on one thread, which torch supports.
            warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
            batches = iter(self._loader)
        for images in batches:
            if isinstance(images, str):
                raise AblateError(images)
            yield images

    def close(self) -> None:
        """End the processes."""
        iterator = self._loader._iterator
        if iterator is not None:
            iterator._shutdown_workers()  # type: ignore[attr-defined]
            self._loader._iterator = None


class _Tasks(Sampler[Task]):
    def __init__(self) -> None:
        self.tasks: Sequence[Task] = ()

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)


class _Batches(Dataset["Tensor | str"]):
    """Task -> images, or what went wrong: an error's own class may not survive the queue."""

    def __init__(self, cached: CachedDataset, pipeline: Pipeline) -> None:
        self._cached = cached
        self._split = cached.train
        self._pipeline = pipeline

    def __getitem__(self, task: Task) -> Tensor | str:
        try:
            return self._pipeline(self._split.ragged(task.ids), task)
        except AblateError as error:
            return error.message

    def __getstate__(self) -> dict[str, Any]:
        return {"cached": self._cached, "pipeline": self._pipeline}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["cached"], state["pipeline"])  # type: ignore[misc]
