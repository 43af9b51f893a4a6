"""Label smoothing: move a mass ε from the true class to the others.

Szegedy et al., 2016, https://arxiv.org/abs/1512.00567; He et al., 2019,
https://arxiv.org/abs/1812.01187, section 5.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ablate import Trick, hookimpl

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from ablate import Recipe


class LabelSmoothing(Trick):
    """Train towards (1 − ε)·target + ε/K in every class.

    Two forms are in use. `uniform`, the default, spreads ε over all K classes, as Szegedy et al.,
    torch, timm and GluonCV do; `others` gives the true class 1 − ε and ε/(K − 1) to each other one,
    as the "Bag of Tricks" paper writes it: the same as `uniform` with ε·K/(K − 1).
    """

    version: ClassVar[int] = 1
    slot: ClassVar[str] = "smooth"

    epsilon: float = Field(0.1, ge=0, lt=1, description="mass taken from the true class")
    form: Literal["uniform", "others"] = Field(
        "uniform", description="spread over all classes, or over the other K − 1"
    )

    @hookimpl(wrapper=True)
    def encode_targets(self, num_classes: int) -> Generator[None, Tensor, Tensor]:
        targets = yield
        epsilon = self.epsilon
        if self.form == "others":
            epsilon *= num_classes / (num_classes - 1)
        return (1 - epsilon) * targets + epsilon / num_classes

    def warnings(self, recipe: Recipe) -> list[str]:
        """A mass of nothing."""
        return [] if self.epsilon else ["label_smoothing: ε 0 leaves the targets as they are"]

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        form = "" if self.form == "uniform" else ", over the other classes"
        return f"targets: one-hot → smoothed, ε {self.epsilon:g}{form}"
