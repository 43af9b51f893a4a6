"""Which layers `initialise` has a rule for, and models with others, which start as they see fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_PLAIN = {"weight", "bias"}
_ORIGIN = "ablate_origin"  # (name, number of classes), on a model of its own way


def is_norm(module: nn.Module) -> bool:
    """A norm with no parameters but weight and bias."""
    return isinstance(module, NORMS) and _own(module) <= _PLAIN


def is_affine(module: nn.Module) -> bool:
    """A convolution or linear layer with no parameters but weight and bias."""
    return isinstance(module, nn.modules.conv._ConvNd | nn.Linear) and _own(module) <= _PLAIN


def has_own_parameters(model: nn.Module) -> bool:
    """Whether some layer with parameters is none of these: position embeddings, layer scales, …"""
    return any(_own(m) and not is_norm(m) and not is_affine(m) for m in model.modules())


def remember(model: nn.Module, name: str, num_classes: int) -> None:
    """Note on the model what `build_model` made it of."""
    setattr(model, _ORIGIN, (name, num_classes))


def constructed(model: nn.Module, seed: Callable[[str], int]) -> Iterator[tuple[str, nn.Module]]:
    """(name, module) of all that the constructors of the models noted within `model` make anew.

    `seed` gives one for the name of each such model, "" for `model` itself. On the meta device the
    modules have no values there either.
    """
    import torch

    from ablate.models.build import build_model, construct

    for where, module in model.named_modules():
        origin: tuple[str, int] | None = module.__dict__.get(_ORIGIN)
        if origin is None:
            continue
        if any(parameter.is_meta for parameter in module.parameters()):
            with torch.device("meta"):
                made = build_model(*origin)
        else:
            made = construct(*origin, seed(where))
        for name, inner in made.named_modules():
            yield ".".join(part for part in (where, name) if part), inner


def _own(module: nn.Module) -> set[str]:
    return {name for name, _ in module.named_parameters(recurse=False)}
