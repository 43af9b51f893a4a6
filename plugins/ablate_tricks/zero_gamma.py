"""Zero γ: the last batch norm of every residual block starts at γ = 0, each block as identity.

Goyal et al., 2017, https://arxiv.org/abs/1706.02677; He et al., 2019,
https://arxiv.org/abs/1812.01187, section 3.1.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from ablate import NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    from torch import nn


class ZeroGamma(Trick):
    """No parameters: γ is 0 or it is not."""

    version: ClassVar[int] = 1
    slot: ClassVar[dict[str, str]] = {"init_model": "override"}

    @hookimpl(wrapper=True)
    def init_model(self) -> Generator[None, nn.Module, nn.Module]:
        """The model with γ = 0 where a residual block ends; every other weight as it was."""
        model = yield
        import torch

        from ablate.models.surgery import handles

        norms = [model.get_submodule(block.last_norm) for block in handles(model).blocks]
        gammas = [norm.weight for norm in norms if isinstance(norm.weight, torch.nn.Parameter)]
        if not gammas:
            raise NoEffect(self.name, "this model has no residual block that ends in a norm with γ")
        with torch.no_grad():
            for gamma in gammas:
                gamma.zero_()
        return model

    def describe(self, changed: int | None = None) -> str:
        """In how many batch norms, where that is known."""
        if changed is None:
            return "init: γ 1 → 0 where a residual block ends"
        return f"init: γ 1 → 0 in {changed} batch norm{'' if changed == 1 else 's'}"
