"""Test resolution: evaluate on larger images than were trained on.

Touvron et al., 2019, https://arxiv.org/abs/1906.06423.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import Trick, hookimpl

if TYPE_CHECKING:
    from collections.abc import Generator

    from ablate import Recipe


class TestResolution(Trick):
    """eval_size and eval_resize × factor. Training is as without.

    Random crops show objects larger than a centre crop of the same size does; a larger centre crop
    makes up for it.
    """

    __test__: ClassVar[bool] = False  # not a test, whatever its name looks like to pytest

    version: ClassVar[int] = 1
    slot: ClassVar[str] = "eval"

    factor: float = Field(1.25, gt=0, le=4, description="multiplies eval_size and eval_resize")

    @hookimpl(wrapper=True)
    def resolve_recipe(self) -> Generator[None, Recipe, Recipe]:
        recipe = yield
        assert recipe.eval_size is not None
        assert recipe.eval_resize is not None
        return recipe.model_copy(
            update={
                "eval_size": max(1, round(recipe.eval_size * self.factor)),
                "eval_resize": max(1, round(recipe.eval_resize * self.factor)),
            }
        )

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return f"evaluation: size × {self.factor:g}"
