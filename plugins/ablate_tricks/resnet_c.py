"""ResNet-C: three 3×3 convolutions for the 7×7 of the stem.

Szegedy et al., 2016, https://arxiv.org/abs/1512.00567; He et al., 2019,
https://arxiv.org/abs/1812.01187, section 4 and figure 2b.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from ablate import NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    from torch import nn


class ResnetC(Trick):
    """No parameters: 32, 32 and 64 channels, only the first with stride 2."""

    version: ClassVar[int] = 1
    slot: ClassVar[dict[str, str]] = {"build_model": "stem"}

    @hookimpl(wrapper=True)
    def build_model(self) -> Generator[None, nn.Module, nn.Module]:
        """The model with the deeper stem; the norm and activation that follow it stay."""
        model = yield
        from torch import nn

        from ablate.models.surgery import handles, replace

        stem = handles(model).stem
        if stem is None:
            raise NoEffect(
                self.name,
                "this model has no residual blocks of the form relu(path + shortcut), and so no "
                "ResNet stem",
            )
        conv = model.get_submodule(stem.convs[0])
        assert isinstance(conv, nn.Conv2d)
        if len(stem.convs) > 1 or conv.kernel_size != (7, 7) or conv.stride != (2, 2):
            raise NoEffect(
                self.name,
                f"this model's stem is {_size(conv, len(stem.convs))}, not one 7×7 with stride 2",
            )
        replace(model, stem.convs[0], _deep(conv))
        return model

    def describe(self, changed: int | None = None) -> str:
        """In words."""
        return "model: stem 7×7 → three 3×3"


def _deep(conv: nn.Conv2d) -> nn.Sequential:
    """[B, C, H, W] -> [B, 64, ⌈H/2⌉, ⌈W/2⌉], as the 7×7 it stands for."""
    from torch import nn

    from ablate.models.surgery import conv_like

    width = conv.out_channels // 2

    def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
        return conv_like(
            conv,
            in_channels=inputs,
            out_channels=outputs,
            kernel_size=3,
            stride=stride,
            padding=1,
            bias=False,
        )

    def norm() -> nn.BatchNorm2d:
        return nn.BatchNorm2d(width, device=conv.weight.device, dtype=conv.weight.dtype)

    return nn.Sequential(
        conv3x3(conv.in_channels, width, stride=2),
        norm(),
        nn.ReLU(inplace=True),
        conv3x3(width, width),
        norm(),
        nn.ReLU(inplace=True),
        conv3x3(width, conv.out_channels),
    )


def _size(conv: nn.Conv2d, count: int) -> str:
    height, width = conv.kernel_size
    kernel = f"{height}×{width}"
    return f"{count} convolutions" if count > 1 else f"one {kernel} with stride {conv.stride[0]}"
