"""Squeeze and excitation on residual blocks: Hu et al., 2018, https://arxiv.org/abs/1709.01507."""

from __future__ import annotations

import torch
from torch import nn
from torchvision import ops

from ablate.models.surgery import attach, handles

REDUCTION = 16  # the paper's r


def squeeze_and_excite(model: nn.Module, reduction: int = REDUCTION) -> int:
    """Put the layer at the end of every residual branch that has no side branch; returns how many.

    No other layer is moved or renamed; the new weights are left to `initialise`.
    """
    plain = [block for block in handles(model).blocks if not block.branches]
    for block in plain:
        conv = model.get_submodule(block.convs[-1])
        assert isinstance(conv, nn.Conv2d)
        attach(model, block.end, "se", _layer(conv, reduction))
    return len(plain)


def _layer(conv: nn.Conv2d, reduction: int) -> nn.Module:
    """torchvision's layer for what `conv` returns, with zero weights."""
    channels = conv.out_channels
    with torch.device("meta"):  # draws nothing
        layer: nn.Module = ops.SqueezeExcitation(channels, max(channels // reduction, 1))
    layer.to(conv.weight.dtype).to_empty(device=conv.weight.device)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    return layer
