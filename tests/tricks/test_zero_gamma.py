"""Zero γ against torchvision's `zero_init_residual` and timm's `zero_init_last`."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

from ablate.core.recipe import Recipe
from ablate.errors import NoEffect
from ablate.tricks.base import Trick
from ablate.tricks.hooks import Hooks
from ablate_tricks.resnet_b import ResnetB
from ablate_tricks.resnet_c import ResnetC
from ablate_tricks.resnet_d import ResnetD
from ablate_tricks.zero_gamma import ZeroGamma


def initial(name: str, *tricks: Trick) -> nn.Module:
    hooks = Hooks(tricks)
    model = hooks.build_model(recipe=Recipe.model_validate({"model": name}), num_classes=10)
    return hooks.init_model(model=model, seed=0)


def zeros(model: nn.Module) -> set[str]:
    """Names of norms with γ = 0."""
    return {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d) and not module.weight.any()
    }


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet18", 8), ("resnet50", 16), ("resnext50_32x4d", 16)],
)
def test_torchvisions_norms(name: str, count: int) -> None:
    theirs = torchvision.models.get_model(name, num_classes=10, zero_init_residual=True)
    ours = initial(name, ZeroGamma())
    assert zeros(ours) == zeros(theirs)
    assert len(zeros(ours)) == count


@pytest.mark.parametrize("name", ["resnet26d", "seresnet50"])
def test_timms_norms(name: str) -> None:
    theirs = timm.create_model(name, num_classes=10, zero_init_last=True)
    assert zeros(initial(f"timm/{name}", ZeroGamma())) == zeros(theirs)


def test_everything_else_is_bit_identical() -> None:
    plain, zeroed = initial("resnet50_v1").state_dict(), initial("resnet50_v1", ZeroGamma())
    touched = {f"{name}.weight" for name in zeros(zeroed)}
    assert len(touched) == 16
    for name, tensor in zeroed.state_dict().items():
        assert torch.equal(tensor, plain[name]) == (name not in touched), name


def test_after_surgery() -> None:
    model = initial("resnet50_v1", ResnetD(), ZeroGamma(), ResnetC(), ResnetB())
    assert zeros(model) == zeros(initial("resnet50_v1", ZeroGamma()))


def test_blocks_start_as_identity() -> None:
    block = initial("resnet20", ZeroGamma()).get_submodule("layer2.1").train()
    x = torch.rand(2, 32, 6, 6)  # not negative, as after a ReLU
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", ["vgg11_bn", "mobilenet_v2"])
def test_no_residual_blocks(name: str, device: str) -> None:
    with (
        torch.device(device),
        pytest.raises(NoEffect, match="'zero_gamma' has no effect: this model has no residual"),
    ):
        initial(name, ZeroGamma())


def test_words() -> None:
    assert ZeroGamma().describe(16) == "init: γ 1 → 0 in 16 batch norms"
    assert ZeroGamma().describe(1) == "init: γ 1 → 0 in 1 batch norm"
    assert ZeroGamma().describe() == "init: γ 1 → 0 where a residual block ends"
