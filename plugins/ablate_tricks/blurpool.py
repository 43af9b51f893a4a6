"""BlurPool: blur before every second pixel is dropped, so that downsampling does not alias.

A convolution or max pool of stride 2 gets stride 1, and a binomial blur of stride 2 follows, after
the activation. Zhang, 2019, https://arxiv.org/abs/1904.11486.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ablate import NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from ablate.models.surgery import Block


class Blurpool(Trick):
    """In max pools and in residual blocks, shortcuts included. The stem's convolution stays."""

    version: ClassVar[int] = 1
    slot: ClassVar[dict[str, str]] = {"build_model": "downsample"}

    size: Literal[3, 5] = Field(3, description="side of the blur's filter: 3 is [1, 2, 1]/4")

    @hookimpl(wrapper=True)
    def build_model(self) -> Generator[None, nn.Module, nn.Module]:
        """The model with blurs; feature maps keep their sizes, layers with weights their names."""
        model = yield
        from ablate.models.surgery import handles

        changed = _pools(model, self.size)
        changed += sum(_block(model, block, self.size) for block in handles(model).blocks)
        if not changed:
            raise NoEffect(
                self.name,
                "this model has no max pool that can be blurred and no residual block that halves "
                "its input",
            )
        return model

    def describe(self, changed: int | None = None) -> str:
        """In words."""
        return f"model: stride 2 → stride 1, then a {self.size}×{self.size} blur with stride 2"


def _pools(model: nn.Module, size: int) -> int:
    """Max pools of stride 2 in two steps. One that rounds its output up has another size; left."""
    from torch import nn

    from ablate.models import BlurPool
    from ablate.models.surgery import replace

    pools = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.MaxPool2d)]
    changed = 0
    for name, pool in pools:
        if _both(pool.stride) != (2, 2) or pool.ceil_mode or pool.return_indices:
            continue
        dense = nn.MaxPool2d(pool.kernel_size, 1, pool.padding, pool.dilation)
        replace(model, name, nn.Sequential(dense, BlurPool(size)))
        changed += 1
    return changed


def _block(model: nn.Module, block: Block, size: int) -> int:
    """The block's strided convolutions, how many. Those of the path are blurred where the next one
    reads, after norm and activation; that of the shortcut first, there is nothing before it."""
    from torch import nn

    from ablate.models import BlurPool
    from ablate.models.surgery import attach, conv_like, replace

    side = block.shortcut.conv if block.shortcut is not None else None
    strided = []
    for name in (*block.convs, *([side] if side is not None else [])):
        conv = model.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        if conv.stride == (2, 2):
            replace(model, name, conv_like(conv, stride=1))
            strided.append(name)
    following = dict(zip(block.convs, block.convs[1:], strict=False))
    for name in strided:
        place = side if name == side else following.get(name)
        if place is not None:
            attach(model, place, "blur", BlurPool(size), before=True)
        else:
            attach(model, block.last_norm, "blur", BlurPool(size))
    return len(strided)


def _both(stride: int | tuple[int, ...]) -> tuple[int, ...]:
    return (stride, stride) if isinstance(stride, int) else tuple(stride)
