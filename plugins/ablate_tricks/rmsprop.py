"""RMSprop: steps of g/(√v + ε), from a running mean of the gradient's square.

v ← α·v + (1 − α)·g². Tieleman and Hinton, 2012, lecture 6.5 of "Neural Networks for Machine
Learning", https://www.cs.toronto.edu/~hinton/coursera/lecture6/lec6.pdf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ablate import Trick, hookimpl

if TYPE_CHECKING:
    import torch

    from ablate import Recipe


class Rmsprop(Trick):
    """torch's RMSprop in place of SGD; the recipe's Nesterov plays no part.

    Learning rate and weight decay, an L2 penalty, are the recipe's. The momentum is the trick's
    own, 0 as in the lecture: the recipe's is SGD's, and acts on another gradient.
    """

    version: ClassVar[int] = 1

    alpha: float = Field(0.99, ge=0, lt=1, description="decay of the square's running mean")
    eps: float = Field(1e-8, gt=0, le=1, description="added to the denominator")
    momentum: float = Field(0.0, ge=0, lt=1, description="of the normalised gradient")
    centered: bool = Field(False, description="divide by the deviation: subtract the squared mean")

    @hookimpl
    def build_optimizer(
        self, groups: list[dict[str, Any]], recipe: Recipe
    ) -> torch.optim.Optimizer:
        from torch.optim import RMSprop

        return RMSprop(
            groups,
            lr=recipe.lr,
            alpha=self.alpha,
            eps=self.eps,
            weight_decay=recipe.weight_decay,
            momentum=self.momentum,
            centered=self.centered,
        )

    def warnings(self, recipe: Recipe) -> list[str]:
        """A learning rate that is more likely SGD's."""
        if recipe.lr <= 0.01:
            return []
        return [
            f"{self.name} trains at the recipe's lr {recipe.lr:g}, usual is 0.0001 to 0.01: "
            f"{self.name} = {{ set.lr = 0.001 }} under [tricks] sets it"
        ]

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        momentum = f", momentum {self.momentum:g}" if self.momentum else ""
        centred = ", centred" if self.centered else ""
        return f"optimizer: SGD → RMSprop, α {self.alpha:g}{momentum}{centred}"
