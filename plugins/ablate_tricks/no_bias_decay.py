"""No bias decay: weight decay acts on the weights of convolutions and linear layers only.

Biases and the γ and β of norms are left alone. Jia et al., 2018, https://arxiv.org/abs/1807.11205;
He et al., 2019, https://arxiv.org/abs/1812.01187, section 3.1.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar

from ablate import NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ablate import Recipe

    Groups = list[dict[str, Any]]


class NoBiasDecay(Trick):
    """No parameters: which weights decay follows from the layers."""

    version: ClassVar[int] = 1
    slot: ClassVar[dict[str, str]] = {"param_groups": "decay"}

    @hookimpl(wrapper=True)
    def param_groups(self, model: nn.Module, recipe: Recipe) -> Generator[None, Groups, Groups]:
        """Each inner group split in two, its decayed part first; other settings as they were."""
        inner = yield
        decayed = _decayed(model)
        groups: Groups = []
        freed = 0
        for group in inner:
            params = list(group["params"])
            keep = [p for p in params if id(_tensor(p)) in decayed]
            free = [p for p in params if id(_tensor(p)) not in decayed]
            if not free or group.get("weight_decay", recipe.weight_decay) == 0:
                groups.append({**group, "params": params})
                continue
            freed += len(free)
            if keep:
                groups.append({**group, "params": keep})
            groups.append({**group, "params": free, "weight_decay": 0.0})
        if not freed:
            reason = (
                "weight decay is 0 already"
                if recipe.weight_decay == 0
                else "every decayed parameter is the weight of a convolution or linear layer"
            )
            raise NoEffect(self.name, reason)
        return groups

    def describe(self, changed: int | None = None) -> str:
        """In words; for how many parameters it is switched off, where that is known."""
        freed = "" if changed is None else f", off for {changed} others"
        return f"weight decay: all parameters → conv and linear weights{freed}"


def _decayed(model: nn.Module) -> set[int]:
    """ids of the parameters that are a convolution's or a linear layer's weight."""
    from torch import nn

    layers = (nn.modules.conv._ConvNd, nn.Linear)
    return {id(module.weight) for module in model.modules() if isinstance(module, layers)}


def _tensor(entry: Any) -> Tensor:
    """A group's entry is a parameter or, as torch allows, (name, parameter)."""
    tensor: Tensor = entry[1] if isinstance(entry, tuple) else entry
    return tensor
