"""Adam: steps of m̂/(√v̂ + ε), from running means of the gradient and of its square.

m ← β₁·m + (1 − β₁)·g, v ← β₂·v + (1 − β₂)·g², m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ). Kingma and Ba,
2014, https://arxiv.org/abs/1412.6980.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ablate import Trick, hookimpl

if TYPE_CHECKING:
    import torch

    from ablate.recipe import Recipe


class Adam(Trick):
    """torch's Adam in place of SGD; the recipe's momentum and Nesterov play no part.

    Learning rate and weight decay are the recipe's. The decay is an L2 penalty: it is added to the
    gradient, and so divided by √v̂ too; `adamw` decays the weights apart from it.
    """

    version: ClassVar[int] = 1

    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the gradient's running mean")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the square's running mean")
    eps: float = Field(1e-8, gt=0, le=1, description="added to the denominator")

    @hookimpl
    def build_optimizer(
        self, groups: list[dict[str, Any]], recipe: Recipe
    ) -> torch.optim.Optimizer:
        from torch.optim import Adam

        return Adam(
            groups,
            lr=recipe.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            weight_decay=recipe.weight_decay,
        )

    def warnings(self, recipe: Recipe) -> list[str]:
        """A learning rate that is more likely SGD's."""
        if recipe.lr <= 0.01:
            return []
        return [
            f"{self.name} trains at the recipe's lr {recipe.lr:g}, usual is about 0.001: "
            f"{self.name} = {{ set.lr = 0.001 }} under [tricks] sets it"
        ]

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return f"optimizer: SGD → Adam, β {self.beta1:g} and {self.beta2:g}"
