"""Models small enough for a CPU: the paper's bottleneck ResNet, attention, weight norm."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet


class Narrow(ResNet):
    """torchvision's ResNet, its stages an eighth as wide: FP16 convolutions are slow on a CPU."""

    def _make_layer(self, block: Any, planes: int, *args: Any, **settings: Any) -> nn.Sequential:
        layer: nn.Sequential = super()._make_layer(block, planes // 8, *args, **settings)
        return layer


def narrow_v1(num_classes: int) -> nn.Module:
    """A model on which every trick can act: a v1 bottleneck ResNet, one block a stage."""
    model = Narrow(Bottleneck, [1, 1, 1, 1])
    model.fc = nn.Linear(model.inplanes, num_classes)
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return model


def tiny_vit(num_classes: int) -> nn.Module:
    """torchvision's Vision Transformer for 8 pixels: two layers of 16 channels, two heads."""
    from torchvision.models import VisionTransformer

    return VisionTransformer(8, 4, 2, 2, 16, 32, num_classes=num_classes)


def weight_normed(num_classes: int) -> nn.Module:
    """Two layers, each with weight norm and a bias, and a batch norm between."""
    from torch.nn.utils.parametrizations import weight_norm

    return nn.Sequential(
        weight_norm(nn.Conv2d(3, 16, 3, padding=1)),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        weight_norm(nn.Linear(16, num_classes)),
    )
