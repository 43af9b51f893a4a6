"""Stochastic depth: in training, an image skips a residual branch with a probability.

Block l of L drops its branch with probability p·l/L; where it does not, the branch is scaled by
1/(1 − p·l/L). Huang et al., 2016, https://arxiv.org/abs/1603.09382.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from ablate.models.surgery import Block

# What torchvision and timm call their layers that do this.
_KNOWN = ("StochasticDepth", "DropPath")


class StochasticDepth(Trick):
    """Linear decay: hardly ever in the first block, with probability p in the last.

    Each image is drawn by itself.
    """

    version: ClassVar[int] = 1
    slot: ClassVar[dict[str, str]] = {"build_model": "regularise"}

    p: float = Field(0.1, gt=0, lt=1, description="probability that the last block is skipped")

    @hookimpl(wrapper=True)
    def build_model(self) -> Generator[None, nn.Module, nn.Module]:
        """The model whose residual branches end in a layer that may drop them."""
        model = yield
        from torchvision import ops

        from ablate.models.surgery import attach, handles

        blocks = handles(model).blocks
        if not blocks:
            raise NoEffect(
                self.name, "this model has no residual blocks of the form relu(path + shortcut)"
            )
        if any(_has_it(block) for block in blocks):
            raise NoEffect(self.name, "this model's residual blocks have stochastic depth already")
        for number, block in enumerate(blocks, start=1):
            layer = ops.StochasticDepth(self.p * number / len(blocks), "row")
            attach(model, block.end, "stochastic_depth", layer)
        return model

    def describe(self, changed: int | None = None) -> str:
        """In words."""
        return f"model: residual branches dropped at random, p 0 → {self.p:g} with depth"


def _has_it(block: Block) -> bool:
    return any(type(module).__name__ in _KNOWN for module in block.module.modules())
