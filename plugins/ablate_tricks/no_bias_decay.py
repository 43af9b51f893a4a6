"""No bias decay: weight decay acts on matrices and kernels, not on biases, norms and embeddings.

Jia et al., 2018, https://arxiv.org/abs/1807.11205; He et al., 2019,
https://arxiv.org/abs/1812.01187, section 3.1; for attention Dosovitskiy et al., 2020,
https://arxiv.org/abs/2010.11929.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from ablate import NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ablate import Recipe

    Groups = list[dict[str, Any]]

# Words in the name of a parameter that is added to what passes, or looked up for it.
_ADDED = {"bias", "biases", "token", "tokens", "pos", "position", "rel", "relative"}
# "conv.parametrizations.weight.original0" is a part of conv's weight.
_PART = re.compile(r"(?P<layer>.*?)\.?\bparametrizations\.(?P<own>[^.]+)\..+")


class NoBiasDecay(Trick):
    """No parameters: which weights decay follows from their shapes and names.

    Weights of two or more dimensions decay: of convolutions and linear layers, the q, k and v
    projections of attention, and each part of a weight that weight norm or another parametrization
    puts together. Biases, the γ and β of norms and whatever else has one dimension do not, however
    it is laid out: layer scales, temperatures, class tokens. Nor do position embeddings, tables of
    relative positions, `nn.Embedding`, and what the model's own `no_weight_decay()` names.
    """

    version: ClassVar[int] = 2
    slot: ClassVar[dict[str, str]] = {"param_groups": "decay"}

    @hookimpl(wrapper=True)
    def param_groups(self, model: nn.Module, recipe: Recipe) -> Generator[None, Groups, Groups]:
        """Each inner group split in two, its decayed part first; other settings as they were."""
        inner = yield
        decayed = _decayed(model)
        groups: Groups = []
        freed = kept = 0
        for group in inner:
            params = list(group["params"])
            keep = [p for p in params if id(_tensor(p)) in decayed]
            free = [p for p in params if id(_tensor(p)) not in decayed]
            kept += len(keep)
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
                else "every decayed parameter is a weight of two or more dimensions"
            )
            raise NoEffect(self.name, reason)
        if not kept:
            raise ValueError(
                "no parameter of this model is a weight of two or more dimensions, so that nothing "
                "would decay; weight_decay = 0 in [recipe] says that"
            )
        return groups

    def describe(self, changed: int | None = None) -> str:
        """In words; for how many parameters it is switched off, where that is known."""
        freed = "" if changed is None else f", off for {changed} others"
        return f"weight decay: all parameters → weight matrices and kernels{freed}"


def _decayed(model: nn.Module) -> set[int]:
    """ids of the parameters that decay; one that two layers share does if it does in either."""
    exempt = list(_exempt(model))
    return {
        id(parameter)
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in exempt)
        and _is_weight(model, name, parameter)
    }


def _is_weight(model: nn.Module, name: str, parameter: Tensor) -> bool:
    """Whether it is a matrix or a kernel that inputs are multiplied by."""
    from torch import nn

    if parameter.ndim < 2:
        return False
    part = _PART.fullmatch(name)
    where, _, own = name.rpartition(".") if part is None else (part["layer"], "", part["own"])
    layer = model.get_submodule(where)
    norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
    if isinstance(layer, (*norms, nn.Embedding, nn.EmbeddingBag)):
        return False
    plain = isinstance(layer, (nn.modules.conv._ConvNd, nn.Linear))
    if "weight" in own and (plain or part is not None):
        return True  # [1, C] of one output, and weight norm's g, too
    if sum(side > 1 for side in parameter.shape) < 2:
        return False
    return not _ADDED.intersection(re.findall("[a-z]+", own.lower()))


def _exempt(model: nn.Module) -> Iterator[str]:
    """Names, with wildcards, that the model or a part of it keeps from decaying, as timm's do."""
    for name, module in model.named_modules():
        listed = getattr(module, "no_weight_decay", None)
        if callable(listed):
            yield from (f"{name}.{pattern}" if name else pattern for pattern in listed())


def _tensor(entry: Any) -> Tensor:
    """A group's entry is a parameter or, as torch allows, (name, parameter)."""
    tensor: Tensor = entry[1] if isinstance(entry, tuple) else entry
    return tensor
