"""Wide ResNets for small images: Zagoruyko and Komodakis, 2016, https://arxiv.org/abs/1605.07146.

WRN-n-k: a 3×3 stem of 16 channels, three stages of (n − 4)/6 pre-activation blocks with 16k, 32k
and 64k channels, batch norm, ReLU, global average pool. Without the dropout inside the blocks that
the paper tries on some of its models.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class WideBlock(nn.Module):
    """[B, inputs, H, W] -> [B, outputs, H/stride, W/stride]: norm and ReLU before each 3×3.

    Where the shape changes, the shortcut is a 1×1 convolution of what the first 3×3 reads.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = (
            nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """The sum; no activation after it."""
        active = F.relu(self.bn1(x))
        path: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return path + (x if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """images [B, 3, H, W] -> logits [B, num_classes]; stages named as torchvision's."""

    def __init__(self, depth: int, width: int, num_classes: int) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(f"depth {depth} is not 6n + 4")
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.layer1 = _stage(16, 16 * width, blocks, stride=1)
        self.layer2 = _stage(16 * width, 32 * width, blocks, stride=2)
        self.layer3 = _stage(32 * width, 64 * width, blocks, stride=2)
        self.bn = nn.BatchNorm2d(64 * width)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(64 * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(images))))
        logits: Tensor = self.fc(torch.flatten(self.avgpool(F.relu(self.bn(x))), 1))
        return logits


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = WideBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(WideBlock(outputs, outputs, 1) for _ in range(blocks - 1)))
