"""A bottleneck ResNet as the paper's baseline has it, small enough for a CPU."""

from __future__ import annotations

from torch import nn


def resnet14_v1(num_classes: int) -> nn.Module:
    """One bottleneck a stage; the stride in the first 1×1."""
    from torchvision.models.resnet import Bottleneck, ResNet

    model = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=num_classes)
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return model
