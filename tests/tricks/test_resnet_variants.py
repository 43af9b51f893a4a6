"""ResNet-B, C and D against torchvision's and timm's models, weights copied over."""

from __future__ import annotations

from itertools import permutations

import pytest
import timm
import torch
import torchvision
from timm.models import resnet as timm_resnet
from torch import nn

from ablate.core.recipe import Recipe
from ablate.errors import NoEffect
from ablate.models import build_model
from ablate.planning.model_card import multiply_adds
from ablate.tricks.base import Trick
from ablate.tricks.hooks import Hooks
from ablate_tricks.resnet_b import ResnetB
from ablate_tricks.resnet_c import ResnetC
from ablate_tricks.resnet_d import ResnetD
from tests.helpers.model_weights import assert_same_logits, copied, scrambled

B, C, D = ResnetB(), ResnetC(), ResnetD()


def built(name: str, *tricks: Trick, num_classes: int = 10) -> nn.Module:
    recipe = Recipe.model_validate({"model": name})
    model: nn.Module = Hooks(tricks).build_model(recipe=recipe, num_classes=num_classes)
    return model


def on_meta(name: str, *tricks: Trick) -> nn.Module:
    with torch.device("meta"):
        return built(name, *tricks, num_classes=1000)


@pytest.fixture(scope="module")
def torchvisions() -> nn.Module:
    return scrambled(torchvision.models.resnet50(num_classes=10))


def test_b_on_v1_is_torchvisions_resnet50(torchvisions: nn.Module) -> None:
    ours = built("resnet50_v1", B)
    assert repr(ours) == repr(torchvisions)
    ours.load_state_dict(torchvisions.state_dict())
    images = torch.randn(2, 3, 65, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(ours.eval()(images), torchvisions(images))
        plain = built("resnet50_v1")
        plain.load_state_dict(torchvisions.state_dict())
        assert not torch.allclose(plain.eval()(images), torchvisions(images))


def timms(layers: list[int], block: type[nn.Module], *, deep: bool, pooled: bool) -> nn.Module:
    stem = {"stem_width": 32, "stem_type": "deep"} if deep else {}
    return scrambled(timm_resnet.ResNet(block, layers, num_classes=10, avg_down=pooled, **stem))


@pytest.mark.parametrize("size", [33, 64, 65])
@pytest.mark.parametrize(
    ("name", "tricks", "deep", "pooled"),
    [
        ("resnet18", (C,), True, False),
        ("resnet18", (D,), False, True),
        ("resnet18", (C, D), True, True),
        ("resnet50_v1", (B, C), True, False),
        ("resnet50_v1", (B, D), False, True),
        ("resnet50_v1", (B, C, D), True, True),
    ],
)
def test_timms_resnets(
    name: str, tricks: tuple[Trick, ...], deep: bool, pooled: bool, size: int
) -> None:
    basic = name == "resnet18"
    block = timm_resnet.BasicBlock if basic else timm_resnet.Bottleneck
    theirs = timms([2, 2, 2, 2] if basic else [3, 4, 6, 3], block, deep=deep, pooled=pooled)
    assert_same_logits(copied(built(name, *tricks), theirs), theirs, size)


@pytest.mark.parametrize(
    ("name", "tricks", "published"),
    [
        ("resnet50_v1", (B, C, D), "resnet50d"),
        ("timm/resnet26", (C, D), "resnet26d"),  # torchvision has no ResNet-26
        ("resnet18", (C, D), "resnet18d"),
    ],
)
def test_timms_published_models(name: str, tricks: tuple[Trick, ...], published: str) -> None:
    theirs = scrambled(timm.create_model(published, num_classes=10))
    ours = copied(built(name, *tricks), theirs)
    for size in (64, 65):
        assert_same_logits(ours, theirs, size)


def test_the_pool_comes_first() -> None:
    """After convolution and norm it gives the same logits in eval mode, not in training."""
    theirs = scrambled(timm.create_model("resnet18d", num_classes=10))
    ours = copied(built("resnet18", C, D), theirs)
    assert_same_logits(ours.train(), theirs.train(), 65)
    statistics = zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True)
    for (name, mine), other in statistics:
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("name", "tricks", "parameters", "giga_macs"),
    [
        ("resnet50_v1", (), 25_557_032, 3.858),
        ("resnet50_v1", (B,), 25_557_032, 4.089),
        ("resnet50_v1", (B, C), 25_576_264, 4.329),
        ("resnet50_v1", (B, C, D), 25_576_264, 4.329),
        ("timm/resnet26", (C, D), 16_014_408, None),
        ("resnet18", (C, D), 11_708_744, None),
    ],
)
def test_size_and_cost(
    name: str, tricks: tuple[Trick, ...], parameters: int, giga_macs: float | None
) -> None:
    model = on_meta(name, *tricks)
    assert sum(p.numel() for p in model.parameters()) == parameters
    if giga_macs is not None:
        macs = multiply_adds(model, 224)
        assert macs is not None
        assert round(macs / 1e9, 3) == giga_macs


def chained(model: nn.Module, tricks: tuple[Trick, ...]) -> nn.Module:
    """The tricks on a built model in the order given, whatever their slots say."""
    recipe = Recipe.model_validate({"model": "resnet50_v1"})
    for trick in tricks:
        arguments = {"recipe": recipe} if trick is B else {}
        generator = type(trick).build_model(trick, **arguments)
        next(generator)
        with pytest.raises(StopIteration) as stop:
            generator.send(model)
        model = stop.value.value
    return model


def test_every_order_gives_the_same_model() -> None:
    reference = on_meta("resnet50_v1", B, C, D)
    state = {name: tensor.shape for name, tensor in reference.state_dict().items()}
    for order in permutations((B, C, D)):
        with torch.device("meta"):
            model = chained(build_model("resnet50_v1", 1000), order)
        assert repr(model) == repr(reference)
        assert {name: tensor.shape for name, tensor in model.state_dict().items()} == state
        assert repr(on_meta("resnet50_v1", *order)) == repr(reference)


@pytest.mark.parametrize("tricks", [(B,), (D,), (B, D), (C,), (B, C, D)])
def test_layers_that_stay_start_from_the_same_bits(tricks: tuple[Trick, ...]) -> None:
    def initial(*chosen: Trick) -> dict[str, torch.Tensor]:
        model: nn.Module = Hooks(chosen).init_model(model=built("resnet50_v1", *chosen), seed=0)
        return model.state_dict()

    plain, changed = initial(), initial(*tricks)
    missing = {"conv1.weight"} if C in tricks else set()
    assert plain.keys() - changed.keys() == missing  # shortcuts keep their names under D
    for name in plain.keys() & changed.keys():
        assert torch.equal(plain[name], changed[name]), name


@pytest.mark.parametrize("tricks", [(B,), (C,), (D,), (B, C, D)])
def test_surgery_leaves_the_generator_and_the_device(tricks: tuple[Trick, ...]) -> None:
    state = torch.get_rng_state()
    model = built("resnet50_v1", *tricks)
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert all(module.training for module in model.modules())
    meta = on_meta("resnet50_v1", *tricks)
    assert {t.device.type for t in meta.state_dict().values()} == {"meta"}


def test_small_images() -> None:
    model = Hooks(()).init_model(model=built("resnet20", D), seed=0)
    assert model(torch.randn(2, 3, 9, 9)).shape == (2, 10)
    pools = [m for m in model.modules() if isinstance(m, nn.AvgPool2d)]
    assert len(pools) == 2


@pytest.mark.parametrize(
    ("trick", "name", "reason"),
    [
        (B, "resnet50", "this model is B already; the paper's baseline is resnet50_v1"),
        (B, "resnet101_small", "B already; the paper's baseline is resnet101_v1_small"),
        (B, "resnext50_32x4d", "this model is B already$"),
        (B, "resnet34", "basic blocks, with no 1×1"),
        (B, "vgg11", "no residual blocks"),
        (C, "resnet18_small", "stem is one 3×3 with stride 1, not one 7×7 with stride 2"),
        (C, "resnet8", "stem is one 3×3 with stride 1"),
        (C, "timm/resnet18d", "stem is 3 convolutions"),
        (C, "vgg11", "and so no ResNet stem"),
        (D, "timm/resnet18d", "no shortcut of this model is a 1×1 convolution with stride 2"),
        (D, "vgg11", "no shortcuts with a convolution"),
    ],
)
def test_nothing_to_act_on(trick: Trick, name: str, reason: str) -> None:
    with pytest.raises(NoEffect, match=reason) as refusal:
        on_meta(name, trick)
    assert refusal.value.trick == trick.name


@pytest.mark.parametrize("trick", [B, C, D])
def test_twice_is_once_too_often(trick: Trick) -> None:
    with torch.device("meta"), pytest.raises(NoEffect):
        chained(build_model("resnet50_v1", 10), (trick, trick))


def test_words() -> None:
    assert B.describe() == "model: downsampling stride in the first 1×1 → in the 3×3"
    assert C.describe() == "model: stem 7×7 → three 3×3"
    assert D.describe() == "model: shortcut 1×1 with stride 2 → 2×2 average pool, then 1×1"
