"""What `adam` and `adamw` have in common: parameters, and how torch's class is made of them.

Whoever changes what it does raises the `version` of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ablate import Trick, hookimpl

if TYPE_CHECKING:
    import torch

    from ablate import Recipe


class AdamFamily(Trick):
    """torch's optimizer of the name `optimizer`; the recipe's momentum plays no part."""

    optimizer: ClassVar[str]

    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the gradient's running mean")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the square's running mean")
    eps: float = Field(1e-8, gt=0, le=1, description="added to the denominator")

    @hookimpl
    def build_optimizer(
        self, groups: list[dict[str, Any]], recipe: Recipe
    ) -> torch.optim.Optimizer:
        import torch

        kind: type[torch.optim.Adam] = getattr(torch.optim, self.optimizer)
        return kind(
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
        return f"optimizer: SGD → {self.optimizer}, β {self.beta1:g} and {self.beta2:g}"
