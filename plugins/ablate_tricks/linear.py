"""Linear learning-rate decay: η_t = (1 − t/T)·η, T without the warmup's batches.

Li et al., 2019, https://arxiv.org/abs/1905.04753.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ablate import Factors, Trick, hookimpl

if TYPE_CHECKING:
    from ablate import Schedule


class Linear(Trick):
    """The learning rate falls on a straight line, batch by batch, to 0 after the last one."""

    version: ClassVar[int] = 1
    slot: ClassVar[str] = "shape"

    @hookimpl
    def build_schedule(self) -> Schedule:
        def schedule(step: int, start: int, total: int) -> Factors:
            return Factors(lr=1 - max(step - start, 0) / max(total - start, 1))

        return schedule

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return "schedule: step → linear"
