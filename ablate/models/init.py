"""Initial weights, layer by layer: each from a stream of its own, named like the layer.

So a trick that replaces one layer leaves the initial weights of every other as they were, bit for
bit, and nothing else that draws random numbers can shift them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from ablate.core.rng import stream_key
from ablate.errors import AblateError
from ablate.models.build import build_model, construct, isolated_rng
from ablate.models.own import NORMS as _NORMS
from ablate.models.own import ORIGIN, is_affine, is_norm


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> nn.Module:
    """The model itself, with its initial weights for `seed`.

    Convolutions: He et al., 2015 (normal, fan-out, ReLU), bias 0, as torchvision's ResNets. Norms:
    weight 1, bias 0, running statistics reset. Linear layers: torch's default, uniform within
    1/√fan_in. Other modules that have parameters: their `reset_parameters()`; `AblateError` where
    there is none. On the meta device nothing is drawn, but the same modules are refused.

    A model that `build_model` found with such parameters (transformers, ConvNeXt) starts as its
    own code draws it, from one stream of the seed; only what was put into it since, as above.
    """
    theirs = dict(constructed(model, lambda where: stream_key(seed, "init", where, "constructor")))
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if not own:
            if isinstance(module, _NORMS):
                _norm(module)
        elif (drawn := theirs.get(name)) is not None and _alike(module, drawn):
            _take(module, drawn)
        elif is_norm(module):
            _norm(module)
        elif is_affine(module):
            if not own["weight"].is_meta:
                _weights(module, torch.Generator().manual_seed(stream_key(seed, "init", name)))
        else:
            _own_way(model, name, module, stream_key(seed, "init", name))
    return model


def constructed(model: nn.Module, seed: Callable[[str], int]) -> Iterator[tuple[str, nn.Module]]:
    """(name, module) of all that the constructors of the models noted within `model` make anew.

    `seed` gives one for the name of each such model, "" for `model` itself. On the meta device the
    modules have no values there either.
    """
    for where, module in model.named_modules():
        origin: tuple[str, int] | None = module.__dict__.get(ORIGIN)
        if origin is None:
            continue
        if any(parameter.is_meta for parameter in module.parameters()):
            with torch.device("meta"):
                made = build_model(*origin)
        else:
            made = construct(*origin, seed(where))
        for name, inner in made.named_modules():
            yield ".".join(part for part in (where, name) if part), inner


def _alike(module: nn.Module, other: nn.Module) -> bool:
    """Whether it is the layer that the constructor made, and not one that took its place."""
    shapes = ({n: p.shape for n, p in m.named_parameters(recurse=False)} for m in (module, other))
    mine, theirs = shapes
    # Each parametrised layer has a class of its own, made for it.
    kind, other_kind = map(type_before_parametrizations, (module, other))
    return kind is other_kind and mine == theirs


def _take(module: nn.Module, drawn: nn.Module) -> None:
    if isinstance(module, nn.modules.batchnorm._NormBase):
        module.reset_running_stats()
    values = dict(drawn.named_parameters(recurse=False))
    for name, parameter in module.named_parameters(recurse=False):
        parameter.copy_(values[name])


def _norm(module: nn.Module) -> None:
    if isinstance(module, nn.modules.batchnorm._NormBase):
        module.reset_running_stats()
    for name, parameter in module.named_parameters(recurse=False):
        parameter.fill_(1.0 if name == "weight" else 0.0)


def _weights(module: nn.Module, generator: torch.Generator) -> None:
    assert isinstance(module, nn.modules.conv._ConvNd | nn.Linear)
    # Drawn in FP32 on the CPU, contiguously: the layer's own format must not change the numbers.
    weight = torch.empty(module.weight.shape, dtype=torch.float32, device="cpu")
    bias = None
    if isinstance(module, nn.Linear):
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
        if module.bias is not None:
            bound = 1 / math.sqrt(module.in_features) if module.in_features else 0.0
            bias = torch.empty(module.bias.shape, dtype=torch.float32, device="cpu")
            bias.uniform_(-bound, bound, generator=generator)
    else:
        nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu", generator=generator)
    module.weight.copy_(weight)
    if module.bias is not None:
        module.bias.copy_(bias if bias is not None else torch.zeros_like(module.bias))


def _own_way(model: nn.Module, name: str, module: nn.Module, seed: int) -> None:
    reset = getattr(module, "reset_parameters", None)
    if not callable(reset):
        names = ", ".join(parameter for parameter, _ in module.named_parameters(recurse=False))
        raise AblateError(
            f"{type(model).__name__}: no way to initialise {name or 'the model itself'} "
            f"({type(module).__name__}), which has parameters of its own: {names}",
            hint=f"give {type(module).__name__} a reset_parameters() method",
        )
    if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        return
    with isolated_rng(seed):
        reset()
