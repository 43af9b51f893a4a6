"""Squeeze and excitation: every residual branch is scaled channel by channel by its own means.

s = σ(W₂·relu(W₁·mean(x))), x̂ = s·x, W₁ with C/r rows. Hu et al., 2018,
https://arxiv.org/abs/1709.01507.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    from torch import nn


class SqueezeExcitation(Trick):
    """At the end of each residual branch, before the addition."""

    version: ClassVar[int] = 1
    slot: ClassVar[dict[str, str]] = {"build_model": "branch"}

    reduction: int = Field(16, ge=1, description="r: channels for one channel of the bottleneck")

    @hookimpl(wrapper=True)
    def build_model(self) -> Generator[None, nn.Module, nn.Module]:
        """The model as SE-ResNet; no other layer is moved or renamed."""
        model = yield
        from ablate.models import squeeze_and_excite
        from ablate.models.surgery import handles

        if squeeze_and_excite(model, self.reduction) == 0:
            raise NoEffect(
                self.name,
                "this model's residual blocks have squeeze and excitation or the like already"
                if handles(model).blocks
                else "this model has no residual blocks of the form relu(path + shortcut)",
            )
        return model

    def describe(self, changed: int | None = None) -> str:
        """In words."""
        return f"model: residual branches → with squeeze and excitation, r {self.reduction}"
