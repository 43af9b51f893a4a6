"""Learning-rate warmup: from η/m to η over the first m batches, then the schedule begins.

He et al., 2019, https://arxiv.org/abs/1812.01187, section 3.1; Goyal et al., 2017,
https://arxiv.org/abs/1706.02677.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import Factors, Trick, hookimpl

if TYPE_CHECKING:
    from collections.abc import Generator

    from ablate import Recipe, Schedule


class Warmup(Trick):
    """Batch i of the first m = epochs · batches per epoch trains at i·η/m.

    A schedule with a shape of its own (cosine) begins after the warmup; a step schedule keeps its
    absolute milestones. A warmup of over half the training is cut to half.
    """

    version: ClassVar[int] = 1
    slot: ClassVar[str] = "warmup"

    epochs: float = Field(5, gt=0, le=1000, description="length, in epochs of batches")

    @hookimpl(wrapper=True)
    def build_schedule(self, recipe: Recipe) -> Generator[None, Schedule, Schedule]:
        inner = yield
        share = min(self.epochs / recipe.epochs, 0.5)

        def schedule(step: int, start: int, total: int) -> Factors:
            m = round(share * total)
            then = inner(step, start + m, total)
            if step - start >= m:
                return then
            return Factors(lr=(step - start + 1) / m * then.lr, momentum=then.momentum)

        return schedule

    def warnings(self, recipe: Recipe) -> list[str]:
        """A warmup of over half the training is cut."""
        if self.epochs <= recipe.epochs / 2:
            return []
        return [
            f"warmup of {self.epochs:g} epochs is cut to {recipe.epochs / 2:g}, "
            f"half of the {recipe.epochs} trained"
        ]

    def step_warnings(self, recipe: Recipe, steps_per_epoch: int) -> list[str]:
        """A warmup without a batch below the full rate."""
        share, total = min(self.epochs / recipe.epochs, 0.5), recipe.epochs * steps_per_epoch
        if round(share * total) > 1 or total < 4:  # fewer steps have no shape at all
            return []
        return [
            f"warmup of {self.epochs:g} epochs is no batch at a smaller rate: an epoch has "
            f"{steps_per_epoch:,}"
        ]

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        plural = "" if self.epochs == 1 else "s"
        return f"schedule: step → {self.epochs:g} epoch{plural} linear, then step"
