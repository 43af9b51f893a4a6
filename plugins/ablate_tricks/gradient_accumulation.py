"""Gradient accumulation: compute a batch's gradient in parts, one after the other, and add them up.

g = Σ (bₖ/b)·gₖ over the parts of bₖ of the b images, and then one step. Goyal et al., 2017,
https://arxiv.org/abs/1706.02677, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import Trick, hookimpl

if TYPE_CHECKING:
    from collections.abc import Generator

    from ablate import Recipe


class GradientAccumulation(Trick):
    """The same batches in the same number of steps, in less memory.

    A model without batch norm trains as on whole batches, up to rounding; batch norm takes its
    statistics from each part, which is what this trick then changes. For batches beyond the memory,
    raise `set.batch_size` with it.
    """

    version: ClassVar[int] = 1
    slot: ClassVar[str] = "batch"

    micro_batches: int = Field(4, ge=2, le=1_000_000, description="parts that a batch is split in")

    @hookimpl(wrapper=True)
    def resolve_recipe(self) -> Generator[None, Recipe, Recipe]:
        recipe = yield
        return recipe.model_copy(update={"micro_batches": self.micro_batches})

    def warnings(self, recipe: Recipe) -> list[str]:
        """Parts of a single image, and more parts than images."""
        if self.micro_batches * 2 <= recipe.batch_size:
            return []
        return [
            f"{self.name}: {self.micro_batches} parts of a batch of {recipe.batch_size} leave one "
            "image to some; batch norm has no statistics of one image"
        ]

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return f"batches: whole → in {self.micro_batches} parts, gradients added"
