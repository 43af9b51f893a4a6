"""ResNet-D's shortcut: a 2×2 average pool with stride 2, then the 1×1 convolution without.

The strided 1×1 ignores three quarters of its input; the pool comes first and reads all of it. This
is the shortcut's change alone: the paper's ResNet-D has B and C as well. He et al., 2019,
https://arxiv.org/abs/1812.01187, section 4 and figure 2c.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from ablate import NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    from torch import nn


class ResnetD(Trick):
    """No parameters: every 1×1 shortcut of stride 2 is pooled."""

    version: ClassVar[int] = 1
    slot: ClassVar[dict[str, str]] = {"build_model": "shortcut"}

    @hookimpl(wrapper=True)
    def build_model(self) -> Generator[None, nn.Module, nn.Module]:
        """The model with pooled shortcuts; their layers keep names, and so initial weights."""
        model = yield
        from torch import nn

        from ablate.models.surgery import conv_like, handles, replace

        shortcuts = handles(model).shortcuts
        pooled = 0
        for shortcut in shortcuts:
            conv = model.get_submodule(shortcut.conv)
            assert isinstance(conv, nn.Conv2d)
            if conv.kernel_size != (1, 1) or conv.stride != (2, 2):
                continue
            replace(model, shortcut.conv, conv_like(conv, stride=1))
            replace(model, shortcut.name, _pooled(model.get_submodule(shortcut.name)))
            pooled += 1
        if not pooled:
            raise NoEffect(
                self.name,
                "no shortcut of this model is a 1×1 convolution with stride 2"
                if shortcuts
                else "this model has no shortcuts with a convolution",
            )
        return model

    def describe(self, changed: int | None = None) -> str:
        """In words."""
        return "model: shortcut 1×1 with stride 2 → 2×2 average pool, then 1×1"


def _pooled(shortcut: nn.Module) -> nn.Sequential:
    from torch import nn

    # ⌈n/2⌉ for odd n like the path's strided convolution; the missing column is not averaged in.
    pool = nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)
    rest = shortcut.named_children() if isinstance(shortcut, nn.Sequential) else [("0", shortcut)]
    return nn.Sequential(OrderedDict([("pool", pool), *rest]))
