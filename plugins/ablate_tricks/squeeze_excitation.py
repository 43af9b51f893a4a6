"""Squeeze and excitation: every residual branch is scaled channel by channel by its own means.

s = σ(W₂·relu(W₁·mean(x))), x̂ = s·x, W₁ with C/r rows. Hu et al., 2018,
https://arxiv.org/abs/1709.01507.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate.errors import NoEffect
from ablate.tricks.base import Trick, hookimpl

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
        from torch import nn

        from ablate.models.surgery import attach, handles

        blocks = handles(model).blocks
        plain = [block for block in blocks if not block.branches]
        if not plain:
            raise NoEffect(
                self.name,
                "this model's residual blocks have squeeze and excitation or the like already"
                if blocks
                else "this model has no residual blocks of the form relu(path + shortcut)",
            )
        for block in plain:
            conv = model.get_submodule(block.convs[-1])
            assert isinstance(conv, nn.Conv2d)
            attach(model, block.end, "se", _layer(conv, self.reduction))
        return model

    def describe(self, changed: int | None = None) -> str:
        """In words."""
        return f"model: residual branches → with squeeze and excitation, r {self.reduction}"


def _layer(conv: nn.Conv2d, reduction: int) -> nn.Module:
    """torchvision's layer for what `conv` returns, its weights left to `init_model`."""
    import torch
    from torchvision import ops

    channels = conv.out_channels
    with torch.device("meta"):  # draws nothing
        layer: nn.Module = ops.SqueezeExcitation(channels, max(channels // reduction, 1))
    layer.to(conv.weight.dtype).to_empty(device=conv.weight.device)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    return layer
