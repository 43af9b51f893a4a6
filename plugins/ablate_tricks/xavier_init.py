"""Xavier initialisation: weights uniform in [−a, a] with a = √(6/(d_in + d_out)), biases 0.

Norms start with γ = 1 and β = 0. Glorot and Bengio, 2010,
https://proceedings.mlr.press/v9/glorot10a.html; He et al., 2019, https://arxiv.org/abs/1812.01187,
section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from ablate import NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    import torch
    from torch import nn


class XavierInit(Trick):
    """No parameters: the bound follows from each layer's shape.

    d_in and d_out count what one output reads and one input feeds: channels times the kernel's
    height and width. The projections that attention holds as one parameter start so already.
    """

    version: ClassVar[int] = 1
    slot: ClassVar[dict[str, str]] = {"init_model": "scheme"}

    @hookimpl(wrapper=True)
    def init_model(self, seed: int) -> Generator[None, nn.Module, nn.Module]:
        """Convolutions and linear layers drawn anew; all other layers as they were."""
        model = yield
        import torch
        from torch import nn

        from ablate import stream_key

        layers = [
            (name, module)
            for name, module in model.named_modules()
            if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)
        ]
        if not layers:
            raise NoEffect(self.name, "this model has no convolution and no linear layer")
        for name, layer in layers:
            held = dict(layer.named_parameters(recurse=False))
            if "weight" not in held:  # what is written to it would be lost
                raise ValueError(
                    f"the weight of {name} is put together from other parameters (weight norm or "
                    "another parametrization), which start as they see fit"
                )
        with torch.no_grad():
            for name, layer in layers:
                # A stream per layer, so that surgery on one moves no other's weights.
                generator = torch.Generator().manual_seed(
                    stream_key(seed, "trick", self.name, name)
                )
                layer.weight.copy_(_drawn(layer.weight, generator))
                if layer.bias is not None:
                    layer.bias.zero_()
        return model

    def describe(self, changed: int | None = None) -> str:
        """In words."""
        return "init: He normal → Xavier uniform, biases 0"


def _drawn(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """New weights of this shape; in FP32 on the CPU, whatever the layer's own format is."""
    import torch

    if weight.is_meta:
        return torch.empty_like(weight)
    field = weight[0][0].numel()
    bound = math.sqrt(6 / ((weight.shape[0] + weight.shape[1]) * field))
    drawn = torch.empty(weight.shape, dtype=torch.float32, device="cpu")
    return drawn.uniform_(-bound, bound, generator=generator)
