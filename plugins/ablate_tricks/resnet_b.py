"""ResNet-B: a bottleneck that shrinks its input does so in the 3×3 convolution.

With the stride in the first 1×1, as first published, three quarters of the input are never read.
Gross and Wilber, 2016, http://torch.ch/blog/2016/02/04/resnets.html; He et al., 2019,
https://arxiv.org/abs/1812.01187, section 4 and figure 2a.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from ablate import NoEffect, Trick, hookimpl
from ablate.models import is_model

if TYPE_CHECKING:
    from torch import nn

    from ablate import Recipe
    from ablate.models.surgery import Block


class ResnetB(Trick):
    """No parameters: the path's stride moves to the 3×3 convolution."""

    version: ClassVar[int] = 1
    slot: ClassVar[dict[str, str]] = {"build_model": "block"}

    @hookimpl(wrapper=True)
    def build_model(self, recipe: Recipe) -> Generator[None, nn.Module, nn.Module]:
        """The model with the strides moved; shapes, parameters and shortcuts stay as they are."""
        model = yield
        from ablate.models.surgery import handles

        blocks = handles(model).blocks
        if not sum(_move_stride(model, block) for block in blocks):
            raise NoEffect(self.name, _reason(model, blocks, recipe.model))
        return model

    def describe(self, changed: int | None = None) -> str:
        """In words."""
        return "model: downsampling stride in the first 1×1 → in the 3×3"


def _convs(model: nn.Module, block: Block) -> list[nn.Conv2d]:
    from torch import nn

    modules = [model.get_submodule(name) for name in block.convs]
    return [module for module in modules if isinstance(module, nn.Conv2d)]


def _is_bottleneck(convs: list[nn.Conv2d]) -> bool:
    return [conv.kernel_size for conv in convs] == [(1, 1), (3, 3), (1, 1)]


def _move_stride(model: nn.Module, block: Block) -> bool:
    from ablate.models.surgery import conv_like, replace

    convs = _convs(model, block)
    if not _is_bottleneck(convs) or convs[0].stride == (1, 1) or convs[1].stride != (1, 1):
        return False
    reduce, spatial, _ = convs
    replace(model, block.convs[0], conv_like(reduce, stride=1))
    replace(model, block.convs[1], conv_like(spatial, stride=reduce.stride))
    return True


def _reason(model: nn.Module, blocks: tuple[Block, ...], name: str) -> str:
    if not blocks:
        return "this model has no residual blocks of the form relu(path + shortcut)"
    bottlenecks = [block for block in blocks if _is_bottleneck(_convs(model, block))]
    if not bottlenecks:
        return "this model's residual blocks are basic blocks, with no 1×1 to take the stride from"
    if all(block.stride == 1 for block in bottlenecks):
        return "no bottleneck block of this model has a stride"
    published = re.sub(r"^(resnet\d+)", r"\1_v1", name)
    known = published != name and is_model(published)
    return "this model is B already" + (f"; the paper's baseline is {published}" if known else "")
