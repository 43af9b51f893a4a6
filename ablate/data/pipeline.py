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

from ablate.core import rng
from ablate.core.hook_types import SLOTS, Augmentation, Ragged
from ablate.errors import AblateError, brief, ctrl_c_ignored
from ablate.util.heartbeat import here

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.data.dataset import Split

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
            stream = rng.stream_key(self.seed, task.purpose, augmentation.name, task.epoch)
            u = rng.uniforms(stream, task.ids, augmentation.draws)
            before = here.enter(f"in augmentation '{augmentation.name}'".encode())
            try:
                value = augmentation.apply(value, u, task.size)
            except AblateError:
                raise
            except BaseException as error:  # a person's Ctrl-C does not reach the training
                if isinstance(error, KeyboardInterrupt) and not ctrl_c_ignored():
                    raise
                raise AblateError(f"augmentation '{augmentation.name}': {brief(error)}") from error
            finally:
                here.leave(before)
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
    """Loader processes, which `make` something of each task; they start with the first batch.

    pin: what comes back is in memory that a GPU reads by itself.
    """

    def __init__(self, make: Dataset[Tensor | str], count: int, pin: bool) -> None:
        self._tasks = _Tasks()
        # fork: a worker would else import torch anew, which takes seconds
        context = "fork" if sys.platform == "linux" else None
        self._loader: DataLoader[Tensor | str] = DataLoader(
            make,
            sampler=self._tasks,
            batch_size=None,
            num_workers=count,
            persistent_workers=True,
            multiprocessing_context=context,
            pin_memory=pin,
            generator=torch.Generator(),  # without one it draws from the global generator
        )

    def batches(self, tasks: Sequence[Any]) -> Iterator[Tensor]:
        """What was made of each task, on the CPU, in order. Work begins now."""
        self._tasks.tasks = tasks
        with warnings.catch_warnings():
            # Python 3.12 and later warn of any fork beside threads; workers only use NumPy and
            # torch's kernels on one thread, which torch supports.
            warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
            return _checked(iter(self._loader))

    def close(self) -> None:
        """End the processes."""
        iterator = self._loader._iterator
        if iterator is not None:
            iterator._shutdown_workers()  # type: ignore[attr-defined]
            self._loader._iterator = None


def _checked(batches: Iterator[Tensor | str]) -> Iterator[Tensor]:
    for made in batches:
        if isinstance(made, str):
            raise AblateError(made)
        yield made


class _Tasks(Sampler[Any]):
    def __init__(self) -> None:
        self.tasks: Sequence[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)


class Augmented(Dataset["Tensor | str"]):
    """Task -> images, or what went wrong: an error's own class may not survive the queue."""

    def __init__(self, split: Split, pipeline: Pipeline) -> None:
        self._split = split
        self._pipeline = pipeline

    def __getitem__(self, task: Task) -> Tensor | str:
        try:
            return self._pipeline(self._split.ragged(task.ids), task)
        except AblateError as error:
            return error.message


class Natives(Dataset["Tensor | str"]):
    """Ids -> these images' pixels one after the other, or what went wrong."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __getitem__(self, ids: Ids) -> Tensor | str:
        try:
            return self._split.packed(ids).buffer
        # decoders raise anything for files that were damaged since they were kept
        except Exception as error:  # noqa: BLE001
            return f"an image of the cache cannot be decoded: {brief(error)}"
