"""Every model of the catalogue: its size, what it takes and gives, and that its family trains."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from ablate.models import build_model, initialise, outputs
from ablate.models.catalogue import model_image_size, model_info, model_names
from ablate.planning.model_card import multiply_adds
from ablate.tricks.hooks import Hooks
from ablate_tricks.squeeze_excitation import SqueezeExcitation
from tests.helpers import support

THEIRS = set(torchvision.models.list_models(module=torchvision.models))
# Slow even without arithmetic, and the same code as the smaller ones of their family.
LARGE = {f"regnet_{kind}_{size}gf" for kind in "xy" for size in ("1_6", "3_2", "8", "16", "32")}
LARGE |= {f"efficientnet_b{scale}" for scale in range(1, 8)}
LARGE |= {
    f"{se}resnet{depth}{v1}" for se in ("", "se") for depth in (101, 152) for v1 in ("", "_v1")
}
LARGE |= {"regnet_y_128gf", "resnext101_32x8d", "resnext101_64x4d", "seresnext101_32x8d"}
LARGE |= {"densenet161", "densenet169", "densenet201", "efficientnet_v2_m", "efficientnet_v2_l"}
LARGE |= {"vit_b_16", "vit_l_16", "vit_l_32", "vit_h_14", "wide_resnet101_2", "resnet110"}
LARGE |= {"convnext_small", "convnext_base", "convnext_large", "swin_s", "swin_b"}
LARGE |= {"swin_v2_s", "swin_v2_b"}
WHOLE = [n for n in model_names() if not n.endswith("_small")]
# One of each family, and those that stand alone in theirs.
FIRST = {model_info(n).family: n for n in reversed(WHOLE) if n not in LARGE}.values()
FIRST = {*FIRST, "inception_v3", "googlenet", "resnet50", "resnet50_v1", "wide_resnet50_2"}


def on_meta(name: str, num_classes: int = 1000) -> nn.Module:
    with torch.device("meta"):
        return build_model(name, num_classes)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def size_of(name: str) -> int:
    return model_image_size(name) or (32 if model_info(name).family.startswith("CIFAR") else 224)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.long] * (n not in FIRST)) for n in WHOLE]
)
def test_logits_at_its_own_size(name: str) -> None:
    size = size_of(name)
    for classes, training in ((10, True), (1000, False)):
        model = initialise(on_meta(name, classes), 0).train(training)
        with torch.no_grad():
            found = outputs(model, torch.empty(2, 3, size, size, device="meta"))
        assert found.logits.shape == (2, classes)
        assert all(head.shape == (2, classes) for _, head in found.aux)
        assert len(found.aux) == training * {"inception_v3": 1, "googlenet": 2}.get(name, 0)
    if name in THEIRS:
        theirs = torchvision.models.get_model_weights(name)
        published = {weights.meta["num_params"] for weights in theirs}
        # of GoogLeNet without the heads that only training needs
        assert count(model) - sum(count(m) for m in _heads(name, model)) in published


def _heads(name: str, model: nn.Module) -> list[nn.Module]:
    return [model.get_submodule(n) for n in ("aux1", "aux2")] if name == "googlenet" else []


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_b_16", "swin_t", "maxvit_t", "googlenet"])
def test_multiply_adds_are_torchvisions(name: str) -> None:
    published = torchvision.models.get_model_weights(name).DEFAULT.meta["_ops"]
    macs = multiply_adds(on_meta(name), 224)
    assert macs is not None
    # torchvision counts the attention's two products in ViT alone, and is a percent off elsewhere
    assert macs / 1e9 == pytest.approx(published, rel=0.26 if name == "vit_b_16" else 0.02)


# name, pixels, images a batch: the least that a family takes
TRAINED = [
    *(("resnet18", 32, 10), ("resnet50_v1_small", 16, 10), ("seresnet18", 32, 10)),
    *(("resnet8", 8, 10), ("wrn16_4", 8, 10), ("vgg11", 32, 5), ("vgg11_bn", 32, 5)),
    *(("alexnet", 64, 5), ("densenet121", 32, 5), ("efficientnet_b0", 32, 5)),
    *(("mnasnet0_5", 32, 5), ("mobilenet_v1", 32, 5), ("mobilenet_v2", 32, 5)),
    *(("mobilenet_v3_small", 32, 5), ("shufflenet_v2_x0_5", 32, 5), ("squeezenet1_1", 32, 5)),
    *(("googlenet", 32, 5), ("regnet_y_400mf", 32, 5), ("resnext50_32x4d", 32, 5)),
    *(("convnext_tiny", 32, 5), ("swin_t", 32, 5), ("timm/vit_tiny_patch16_224", 224, 5)),
    *(("inception_v3", 299, 5), ("swin_v2_t", 32, 5), ("efficientnet_v2_s", 32, 5)),
    *(("wide_resnet50_2", 32, 5), ("wrn28_10", 8, 5), ("vit_b_32", 224, 5), ("maxvit_t", 224, 5)),
    *(("resnet152", 32, 5), ("densenet201", 32, 5), ("resnet56", 8, 5)),
]
# Three times the time of the others and no code of their own, or one whole network of torchvision.
SLOW = {
    *("vgg11", "swin_t", "timm/vit_tiny_patch16_224", "convnext_tiny", "densenet121", "alexnet"),
    *("regnet_y_400mf", "efficientnet_b0", "mnasnet0_5", "mobilenet_v3_small"),
    *("inception_v3", "swin_v2_t", "efficientnet_v2_s", "wide_resnet50_2", "wrn28_10"),
    *(
        "vit_b_32",
        "maxvit_t",
        "resnet152",
        "densenet201",
        "resnet56",
        "vgg11_bn",
        "resnext50_32x4d",
    ),
}


@pytest.mark.parametrize(
    ("name", "pixels", "batch"),
    [pytest.param(*t, marks=[pytest.mark.long] * (t[0] in SLOW)) for t in TRAINED],
)
def test_two_steps_reach_every_weight(name: str, pixels: int, batch: int) -> None:
    """Auxiliary heads included."""
    settings = {"model": name, "epochs": 1, "batch_size": batch, "lr": 0.01}
    run, memory = support.run(limit=2 * batch, image_size=pixels, **settings)
    assert run.step == 2
    assert memory.tested is not None
    (record,) = memory.records
    assert 0 < record["metrics"]["train_loss"] < 100
    reached = {
        n: p.grad is not None and bool(p.grad.any()) for n, p in run.model.named_parameters()
    }
    assert [name for name, there in reached.items() if not there] == []


def test_families_are_all_there() -> None:
    families = {model_info(name).family for name in model_names()}
    assert {model_info(name).family for name, _, _ in TRAINED} - {"timm"} == families


# Squeeze and excitation by name


@torch.no_grad()
def scrambled(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.ndim == 1 and tensor.is_floating_point():
            tensor.uniform_(-0.5, 1, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
    return model


def by_place(model: nn.Module) -> dict[str, Tensor]:
    """State by names that both sides share: timm's excitation stands beside bn, ours within."""
    state = {}
    for name, value in model.state_dict().items():
        parts = name.replace("se_module", "se").split(".")
        if "se" in parts:
            at = parts.index("se")
            before = parts[: at - 1] if parts[at - 1].startswith("bn") else parts[:at]
            parts = [*before, *parts[at:]]
        shared = ".".join(parts)
        for theirs, ours in (
            *(("layer0.conv1", "conv1"), ("layer0.bn1", "bn1"), ("last_linear", "fc")),
        ):
            shared = shared.replace(theirs, ours) if shared.startswith(theirs) else shared
        state[shared] = value
    return state


def give(ours: nn.Module, theirs: nn.Module) -> None:
    mine, others = by_place(ours), by_place(theirs)
    assert mine.keys() == others.keys()
    with torch.no_grad():
        for name, value in mine.items():
            value.copy_(others[name].reshape(value.shape))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [pytest.param(64, marks=pytest.mark.long), 65])
@pytest.mark.parametrize("name", ["seresnet50", "seresnext50_32x4d"])
def test_se_resnets_are_timms(name: str, size: int, training: bool) -> None:
    """Those of bottlenecks; timm rounds the layer's channels to eights, the paper does not."""
    theirs = scrambled(timm.create_model(name, num_classes=7)).train(training)
    ours = build_model(name, 7).train(training)
    give(ours, theirs)
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(size))
    with torch.no_grad():
        a, b = ours(images), theirs(images)
    assert b.std() > 0.01
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5 * float(b.abs().max()))


def test_timms_legacy_se_resnet50_differs_by_strides_and_pool() -> None:
    """It has the published strides, as `seresnet50_v1`, and a pool that rounds up, unpadded."""
    theirs = scrambled(timm.create_model("legacy_seresnet50", num_classes=7)).eval()
    ours = build_model("seresnet50_v1", 7).eval()
    give(ours, theirs)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(images)
        assert not torch.allclose(ours(images), expected)
        ours.set_submodule("maxpool", nn.MaxPool2d(3, 2, ceil_mode=True))
        torch.testing.assert_close(ours(images), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        *((f"seresnet{depth}", f"seresnet{depth}") for depth in (50, 101, 152)),
        *((f"seresnet{depth}", f"legacy_seresnet{depth}") for depth in (18, 34)),
        ("seresnet50_v1", "legacy_seresnet50"),
        ("seresnext50_32x4d", "seresnext50_32x4d"),
        ("seresnext101_32x8d", "seresnext101_32x8d"),
    ],
)
def test_se_resnets_have_timms_size(name: str, theirs: str) -> None:
    with torch.device("meta"):
        expected = timm.create_model(theirs)
    assert count(on_meta(name)) == count(expected)


def test_se_by_name_is_the_trick() -> None:
    recipe = support.recipe(model="resnet18")
    tricked = Hooks((SqueezeExcitation(),)).build_model(recipe, 10)
    named = build_model("seresnet18", 10)
    assert repr(named) == repr(tricked)
    a, b = initialise(named, 3).state_dict(), initialise(tricked, 3).state_dict()
    assert support.same(a, b)
