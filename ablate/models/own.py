"""Which layers `initialise` has a rule for, and models with others, which start as they see fit."""

from __future__ import annotations

from torch import nn

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_PLAIN = {"weight", "bias"}
ORIGIN = "ablate_origin"  # (name, number of classes), on a model of its own way


def is_norm(module: nn.Module) -> bool:
    """A norm with no parameters but weight and bias."""
    return isinstance(module, NORMS) and _own(module) <= _PLAIN


def is_affine(module: nn.Module) -> bool:
    """A convolution or linear layer with no parameters but weight and bias.

    A weight that a parametrization puts together (weight norm) is no parameter of the layer.
    """
    affine = isinstance(module, nn.modules.conv._ConvNd | nn.Linear)
    return affine and "weight" in (own := _own(module)) and own <= _PLAIN


def has_own_parameters(model: nn.Module) -> bool:
    """Whether some layer with parameters is none of these: position embeddings, layer scales, …"""
    return any(_own(m) and not is_norm(m) and not is_affine(m) for m in model.modules())


def remember(model: nn.Module, name: str, num_classes: int) -> None:
    """Note on the model what `build_model` made it of."""
    setattr(model, ORIGIN, (name, num_classes))


def _own(module: nn.Module) -> set[str]:
    return {name for name, _ in module.named_parameters(recurse=False)}
