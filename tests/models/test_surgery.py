"""Handles on models that others wrote, and that nothing is claimed where the pattern is missing."""

from __future__ import annotations

import pytest
import torch
from timm.layers import StdConv2d
from timm.models.resnet import BasicBlock as TimmBasicBlock
from timm.models.resnet import Bottleneck as TimmBottleneck
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torchvision.models.regnet import ResBottleneckBlock
from torchvision.models.resnet import BasicBlock, Bottleneck

from ablate.models import build_model, handles
from ablate.models.surgery import conv_like, replace

RESIDUAL = (BasicBlock, Bottleneck, ResBottleneckBlock, TimmBasicBlock, TimmBottleneck)


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return build_model(name, 1000)


@pytest.mark.parametrize(
    ("name", "shortcuts"),
    [
        ("resnet18", 3),
        ("resnet34", 3),
        ("resnet50", 4),
        ("resnet50_v1_small", 4),
        ("resnet152_v1", 4),
        ("resnext50_32x4d", 4),
        ("wide_resnet50_2", 4),
        ("resnet8", 2),
        ("resnet56", 2),
        ("regnet_x_400mf", 4),
        ("regnet_y_400mf", 4),
        ("timm/resnet26d", 4),
        ("timm/resnet18d", 3),
        ("timm/seresnet50", 4),
    ],
)
def test_blocks_are_the_classes_that_add(name: str, shortcuts: int) -> None:
    model = on_meta(name)
    expected = [n for n, m in model.named_modules() if isinstance(m, RESIDUAL)]
    found = handles(model)
    assert [block.name for block in found.blocks] == expected
    assert len(found.shortcuts) == shortcuts
    assert found.classifier == ("fc" if "timm" not in name else found.classifier)
    assert isinstance(model.get_submodule(found.classifier or ""), nn.Linear)
    for block in found.blocks:
        convs = [model.get_submodule(conv) for conv in block.convs]
        norm = model.get_submodule(block.last_norm)
        assert convs[-1].out_channels == norm.num_features
        assert block.stride in (1, 2)
        if block.shortcut is not None:
            side = model.get_submodule(block.shortcut.conv)
            assert (side.in_channels, side.out_channels) == (
                convs[0].in_channels,
                convs[-1].out_channels,
            )


def test_a_bottlenecks_parts() -> None:
    found = handles(on_meta("resnet50"))
    block = found.blocks[3]
    assert block.name == "layer2.0"
    assert block.convs == ("layer2.0.conv1", "layer2.0.conv2", "layer2.0.conv3")
    assert block.last_norm == "layer2.0.bn3"
    assert block.stride == 2
    assert block.shortcut is not None
    assert (block.shortcut.name, block.shortcut.conv) == (
        "layer2.0.downsample",
        "layer2.0.downsample.0",
    )
    assert found.blocks[4].shortcut is None
    assert found.stem is not None
    assert found.stem.layers == ("conv1", "bn1", "relu", "maxpool")
    assert found.stem.convs == ("conv1",)


def test_squeeze_and_excitation_is_a_side_branch() -> None:
    block = handles(on_meta("regnet_y_400mf")).blocks[0]
    assert [conv.rsplit(".f.")[1] for conv in block.convs] == ["a.0", "b.0", "c.0"]
    assert block.last_norm.endswith(".f.c.1")


@pytest.mark.parametrize(
    "name", ["vgg11", "vgg16_bn", "densenet121", "mobilenet_v2", "efficientnet_b0", "squeezenet1_1"]
)
def test_no_blocks_no_guess(name: str) -> None:
    found = handles(on_meta(name))
    assert found.blocks == ()
    assert found.shortcuts == ()
    assert found.stem is None
    assert (found.classifier is None) == (name == "squeezenet1_1")  # it ends in a convolution


def test_preactivation_has_no_last_norm() -> None:
    """Its last norm stands before the last convolution: γ = 0 there is another thing."""
    assert handles(on_meta("timm/resnetv2_50d")).blocks == ()


class Own(nn.Module):
    """The common hand-written block, with its shortcut in `shortcut`, empty for identity."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.GroupNorm(4, outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + self.shortcut(x)


def test_own_blocks_in_a_wrapped_model() -> None:
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), Own(8, 8, 1), Own(8, 16, 2))
    model = nn.ModuleDict({"backbone": body, "head": nn.Linear(16, 2)})
    found = handles(model)
    assert [block.name for block in found.blocks] == ["backbone.2", "backbone.3"]
    assert [s.conv for s in found.shortcuts] == ["backbone.3.shortcut.0"]
    assert found.stem is not None
    assert found.stem.convs == ("backbone.0",)
    assert found.classifier == "head"


def test_replace_keeps_place_and_mode() -> None:
    model = build_model("resnet8", 10).eval()
    names = [name for name, _ in model.named_modules()]
    conv = model.get_submodule("layer2.0.conv1")
    assert isinstance(conv, nn.Conv2d)
    new = conv_like(conv, stride=1)
    replace(model, "layer2.0.conv1", new)
    assert [name for name, _ in model.named_modules()] == names
    assert model.get_submodule("layer2.0.conv1") is new
    assert not new.training


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_conv_like_changes_only_what_it_is_told(device: str) -> None:
    conv = nn.Conv2d(8, 16, (3, 1), 2, (1, 0), 2, 4, False, "reflect", device=device).half()
    state = torch.get_rng_state()
    same, other = conv_like(conv), conv_like(conv, groups=1, bias=True)
    assert torch.equal(state, torch.get_rng_state())
    assert repr(same) == repr(conv)
    assert (same.weight.device.type, same.weight.dtype) == (device, torch.float16)
    assert other.bias is not None
    assert (other.groups, other.kernel_size, other.weight.shape) == (1, (3, 1), (16, 8, 3, 1))


def test_conv_like_refuses_what_is_more_than_a_convolution() -> None:
    for conv in (StdConv2d(8, 8, 3), weight_norm(nn.Conv2d(8, 8, 3))):
        with pytest.raises(ValueError, match="what it does besides would be lost"):
            conv_like(conv, stride=2)
