"""MobileNet V1: Howard et al., 2017, https://arxiv.org/abs/1704.04861, table 1, width 1.

A 3×3 stem of 32 channels, then thirteen pairs of a 3×3 depthwise and a 1×1 convolution, each with
batch norm and ReLU. The last pair has stride 1, as the table's feature sizes and the authors' code
say; the table's own stride of 2 there is a slip.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

# (channels, stride) of each pair
_PAIRS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)


class MobileNetV1(nn.Module):
    """images [B, 3, H, W] -> logits [B, num_classes]."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [Conv2dNormActivation(3, 32, 3, stride=2)]
        inputs = 32
        for outputs, stride in _PAIRS:
            depthwise = Conv2dNormActivation(inputs, inputs, 3, stride=stride, groups=inputs)
            layers.append(nn.Sequential(depthwise, Conv2dNormActivation(inputs, outputs, 1)))
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.classifier = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        logits: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))
        return logits
