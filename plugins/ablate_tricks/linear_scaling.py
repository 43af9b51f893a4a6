"""Linear scaling: a batch b times as large trains at b times the learning rate.

Goyal et al., 2017, https://arxiv.org/abs/1706.02677; He et al., 2019,
https://arxiv.org/abs/1812.01187, section 3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import Trick, hookimpl

if TYPE_CHECKING:
    from collections.abc import Generator

    from ablate import Recipe


class LinearScaling(Trick):
    """lr = recipe's lr · batch size / base; the recipe's lr is the one for `base` images."""

    version: ClassVar[int] = 1
    slot: ClassVar[str] = "lr"

    base: int = Field(256, ge=1, description="batch size that the recipe's lr is for")

    @hookimpl(wrapper=True)
    def resolve_recipe(self) -> Generator[None, Recipe, Recipe]:
        recipe = yield
        return recipe.model_copy(update={"lr": recipe.lr * recipe.batch_size / self.base})

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return f"lr: × batch size / {self.base}"
