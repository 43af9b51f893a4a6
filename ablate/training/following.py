"""A trial's data, which says where the trial is: every batch is a sign of life."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from ablate.whereabouts import here

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.data.loader import RawBatch, TrialData

T = TypeVar("T")


class Followed:
    """The same batches; which of them is being read or used is written down."""

    def __init__(self, data: TrialData) -> None:
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def train_batches(self, epoch: int, size: int) -> Iterator[RawBatch]:
        """See `TrialData`; counts the epoch's steps."""
        made = self._data.train_batches(epoch, size)
        for number, batch in enumerate(_read(made, "reading training images"), start=1):
            here.step(number)
            yield batch
        here.step(0)  # not where a step has raised: its number is told with what was raised

    def clean_batches(self, count: int, size: int | None = None) -> list[Tensor]:
        """See `TrialData`."""
        with here.doing("reading training images"):
            return self._data.clean_batches(count, size)

    def eval_batches(self) -> Iterator[tuple[Tensor, Tensor, int]]:
        """See `TrialData`."""
        before = here.enter(b"evaluating")
        try:
            yield from _read(self._data.eval_batches(), "reading test images")
        finally:
            here.leave(before)


def _read(made: Iterator[T], doing: str) -> Iterator[T]:
    while True:
        with here.doing(doing):
            batch = next(made, None)
        if batch is None:
            return
        yield batch
