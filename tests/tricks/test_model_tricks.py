"""Xavier, dropout, stochastic depth, squeeze and excitation, BlurPool: each against torch's,
torchvision's or timm's own, and with each other."""

from __future__ import annotations

import copy
import math
import re
from itertools import permutations

import numpy as np
import pytest
import timm
import torch
import torchvision
from scipy import stats
from timm.layers import BlurPool2d
from timm.models import resnet as timm_resnet
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import stochastic_depth

from ablate.core.recipe import Recipe
from ablate.engine.noise import uses_noise
from ablate.errors import NoEffect, TrickError
from ablate.models import build_model, handles
from ablate.models.pooling import BlurPool as OurBlur
from ablate.models.surgery import attach
from ablate.tricks.base import Trick
from ablate.tricks.hooks import Hooks
from ablate_tricks.blurpool import Blurpool
from ablate_tricks.dropout import Dropout
from ablate_tricks.no_bias_decay import NoBiasDecay
from ablate_tricks.resnet_b import ResnetB
from ablate_tricks.resnet_c import ResnetC
from ablate_tricks.resnet_d import ResnetD
from ablate_tricks.squeeze_excitation import SqueezeExcitation
from ablate_tricks.stochastic_depth import StochasticDepth
from ablate_tricks.xavier_init import XavierInit
from ablate_tricks.zero_gamma import ZeroGamma
from tests.helpers.model_weights import assert_same_logits, scrambled
from tests.helpers.support import run, same, weights

B, C, D = ResnetB(), ResnetC(), ResnetD()
SURGERY = (Dropout(), StochasticDepth(), SqueezeExcitation(), Blurpool())


def built(name: str, *tricks: Trick, num_classes: int = 10) -> nn.Module:
    recipe = Recipe.model_validate({"model": name})
    model: nn.Module = Hooks(tricks).build_model(recipe=recipe, num_classes=num_classes)
    return model


def initial(name: str, *tricks: Trick, seed: int = 0) -> nn.Module:
    model: nn.Module = Hooks(tricks).init_model(model=built(name, *tricks), seed=seed)
    return model


def on_meta(name: str, *tricks: Trick) -> nn.Module:
    with torch.device("meta"):
        return built(name, *tricks, num_classes=1000)


def images(size: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(size))


# Xavier


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v1"])
def test_xavier_is_torchs(name: str) -> None:
    """Bounds, and the distribution by a two-sample Kolmogorov-Smirnov test at 1e-3, corrected."""
    torch.manual_seed(0)
    model = initial(name, XavierInit())
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer_name, layer in layers:
        ours, theirs = layer.weight.detach(), nn.init.xavier_uniform_(layer.weight.clone())
        fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
        bound = np.sqrt(np.float32(6) / (fan_in + fan_out))
        assert ours.abs().max() <= bound
        if ours.numel() > 1000:
            assert ours.abs().max() > 0.99 * bound, layer_name
        a, b = ours.flatten()[:20_000].numpy(), theirs.detach().flatten()[:20_000].numpy()
        assert stats.ks_2samp(a, b).pvalue > 1e-3 / len(layers), layer_name
        assert layer.bias is None or not layer.bias.any()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert (norm.weight == 1).all()
            assert not norm.bias.any()


def test_xavier_draws_each_layer_from_its_own_stream() -> None:
    state = torch.get_rng_state()
    plain, again = (initial("resnet50_v1", XavierInit()).state_dict() for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    changed = initial("resnet50_v1", XavierInit(), C, D, SqueezeExcitation()).state_dict()
    assert plain.keys() - changed.keys() == {"conv1.weight"}
    for name in plain:
        assert torch.equal(plain[name], again[name])
        assert name == "conv1.weight" or torch.equal(plain[name], changed[name]), name
    other = initial("resnet50_v1", XavierInit(), seed=1).state_dict()
    assert not torch.equal(other["fc.weight"], plain["fc.weight"])
    a, b = plain["layer1.1.conv2.weight"].flatten(), plain["layer1.2.conv2.weight"].flatten()
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.05


def test_xavier_then_zero_gamma() -> None:
    model = initial("resnet18", ZeroGamma(), XavierInit())
    zeros = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and not m.weight.any()]
    assert len(zeros) == 8
    assert torch.equal(model.conv1.weight, initial("resnet18", XavierInit()).conv1.weight)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_xavier_needs_a_layer(device: str) -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten()).to(device)
    with pytest.raises(NoEffect, match="no convolution and no linear layer"):
        Hooks((XavierInit(),)).init_model(model=model, seed=0)


def test_xavier_refuses_a_weight_that_it_cannot_set() -> None:
    with pytest.raises(TrickError, match="the weight of 0 is put together from other parameters"):
        initial("tests.helpers.small_models:weight_normed", XavierInit())


def test_projections_to_q_k_and_v_are_xaviers_already() -> None:
    """torch draws the one parameter that holds them; d_out is that of all three together."""
    model = initial("tests.helpers.small_models:tiny_vit", XavierInit())
    packed = torch.cat([p.flatten() for n, p in model.named_parameters() if "in_proj_w" in n])
    bound = math.sqrt(6 / (16 + 3 * 16))
    uniform = stats.uniform(-bound, 2 * bound)
    assert len(packed) == 2 * 3 * 16 * 16
    assert stats.kstest(packed.detach().numpy(), uniform.cdf).pvalue > 1e-3
    assert not any(p.any() for n, p in model.named_parameters() if "in_proj_b" in n)


# Dropout


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v1", "timm/resnet18d"])
def test_dropout_is_torchs_before_the_classifier(name: str) -> None:
    plain, dropped = scrambled(built(name)), scrambled(built(name, Dropout(p=0.4)))
    assert same(plain.state_dict(), dropped.state_dict())
    x = images(64)
    assert torch.equal(plain(x), dropped(x))  # evaluation
    classifier = plain.get_submodule(handles(plain).classifier)
    taken: list[Tensor] = []
    classifier.register_forward_pre_hook(lambda module, inputs: taken.append(inputs[0]))
    with torch.no_grad():
        plain.train()(x)
        torch.manual_seed(7)
        ours = dropped.train()(x)
        torch.manual_seed(7)
        theirs = F.linear(F.dropout(taken[0], 0.4), classifier.weight, classifier.bias)
    assert torch.equal(ours, theirs)


def test_dropout_that_stands_is_set() -> None:
    model = built("vgg11", Dropout(p=0.3))
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.3]
    for name, p in (("vgg11", 0.5), ("inception_v3", 0.5), ("mobilenet_v2", 0.2)):
        with pytest.raises(NoEffect, match=f"has dropout of {p} before its classifier already"):
            on_meta(name, Dropout(p=p))


# Stochastic depth


def test_stochastic_depth_is_torchvisions_op() -> None:
    """torchvision's blocks written out, with its op before each sum, from the same generator."""
    model = scrambled(built("resnet18", StochasticDepth(p=0.6)))
    blocks = [model.get_submodule(block.name) for block in handles(model).blocks]
    plain = torchvision.models.resnet18(num_classes=10)
    plain.load_state_dict(model.state_dict())

    def reference(x: Tensor) -> Tensor:
        x = plain.maxpool(plain.relu(plain.bn1(plain.conv1(x))))
        stages = (plain.layer1, plain.layer2, plain.layer3, plain.layer4)
        for number, block in enumerate((b for stage in stages for b in stage), start=1):
            path = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
            side = block.downsample(x) if block.downsample is not None else x
            x = F.relu(stochastic_depth(path, 0.6 * number / len(blocks), "row") + side)
        return plain.fc(torch.flatten(plain.avgpool(x), 1))

    x = images(64, batch=4)
    with torch.no_grad():
        torch.manual_seed(3)
        theirs = reference(x)
        torch.manual_seed(3)
        ours = model.train()(x)
        assert torch.equal(ours, theirs)
        assert not torch.equal(ours, model(x))
        plain.load_state_dict(model.state_dict())
        assert torch.equal(model.eval()(x), plain.eval()(x))


def test_images_are_dropped_one_by_one() -> None:
    """The share of images that pass each block untouched is p·l/L."""
    model = initial("resnet20", StochasticDepth(p=0.5)).train()
    torch.manual_seed(0)
    x = torch.rand(2000, 64, 1, 1)
    block = model.get_submodule("layer3.1")  # the eighth of nine, identity shortcut
    skipped = (block(x) == x).flatten(1).all(1).sum().item()
    assert stats.binomtest(skipped, 2000, 0.5 * 8 / 9).pvalue > 1e-4


# Squeeze and excitation


@pytest.mark.parametrize(
    ("tricks", "avg_down", "deep"), [((), False, False), ((B, C, D), True, True)]
)
def test_se_is_timms_seresnet(tricks: tuple[Trick, ...], avg_down: bool, deep: bool) -> None:
    stem = {"stem_width": 32, "stem_type": "deep"} if deep else {}
    theirs = scrambled(
        timm_resnet.ResNet(
            timm_resnet.Bottleneck,
            [1, 2, 1, 1],
            num_classes=10,
            block_args={"attn_layer": "se"},
            avg_down=avg_down,
            **stem,
        )
    )
    base = f"{__name__}:small_v1" if tricks else f"{__name__}:small_b"
    ours = built(base, *tricks, SqueezeExcitation())
    copied = {_ours(name, avg_down): tensor for name, tensor in theirs.state_dict().items()}
    ours.load_state_dict(copied)
    for size in (64, 65):
        assert_same_logits(ours.eval(), theirs, size)


def _ours(name: str, avg_down: bool) -> str:
    """timm's se stands beside bn3; its pooled shortcut has the pool as number 0."""
    name = name.replace(".se.", ".bn3.se.")
    if avg_down:
        name = re.sub(r"downsample\.(\d)", lambda m: f"downsample.{int(m[1]) - 1}", name)
    return name


def small_v1(num_classes: int) -> nn.Module:
    """[1, 2, 1, 1] bottlenecks, the stride in the first 1×1."""
    model = small_b(num_classes)
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return model


def small_b(num_classes: int) -> nn.Module:
    from torchvision.models.resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, [1, 2, 1, 1], num_classes=num_classes)


def test_se_has_the_published_size() -> None:
    ours = on_meta("resnet50", SqueezeExcitation())
    with torch.device("meta"):
        theirs = timm.create_model("seresnet50")
    count = sum(p.numel() for p in ours.parameters())
    assert count == sum(p.numel() for p in theirs.parameters()) == 28_088_024
    narrow = on_meta("resnet20", SqueezeExcitation(reduction=32))
    assert narrow.get_submodule("layer1.0.bn2.se").fc1.out_channels == 1


# BlurPool


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("shape", [(8, 8), (7, 9), (6, 5), (3, 4)])
def test_blur_is_timms(size: int, shape: tuple[int, int]) -> None:
    x = torch.randn(2, 4, *shape, generator=torch.Generator().manual_seed(0)).double()
    theirs = BlurPool2d(4, size).double()
    torch.testing.assert_close(OurBlur(size)(x), theirs(x), rtol=1e-6, atol=1e-6)
    mine, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    (OurBlur(size)(mine) ** 2).sum().backward()
    (theirs(other) ** 2).sum().backward()
    torch.testing.assert_close(mine.grad, other.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (2, 2), (1, 5)])
def test_blur_of_hardly_any_pixels_reflects_as_numpy(shape: tuple[int, int]) -> None:
    x = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0)).double()
    taps = np.array([1, 4, 6, 4, 1]) / 16
    padded = np.pad(x[0, 0].numpy(), 2, mode="reflect")
    expected = np.array(
        [
            [
                (padded[i : i + 5, j : j + 5] * np.outer(taps, taps)).sum()
                for j in range(0, shape[1], 2)
            ]
            for i in range(0, shape[0], 2)
        ]
    )
    np.testing.assert_allclose(OurBlur(5)(x)[0, 0].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("size", [63, 64, 65])
@pytest.mark.parametrize("base", ["small_v1", "resnet18"])
def test_blurred_resnet_d_is_timms(base: str, size: int) -> None:
    """timm leaves shortcuts as they are; with D's pool there is no stride in them to blur."""
    basic = base == "resnet18"
    theirs = scrambled(
        timm_resnet.ResNet(
            timm_resnet.BasicBlock if basic else timm_resnet.Bottleneck,
            [2, 2, 2, 2] if basic else [1, 2, 1, 1],
            num_classes=10,
            avg_down=True,
            aa_layer=BlurPool2d,
        )
    )
    name = base if basic else f"{__name__}:{base}"
    ours = built(name, *(() if basic else (B,)), D, Blurpool())
    mine = ours.state_dict()
    ours.load_state_dict(dict(zip(mine, theirs.state_dict().values(), strict=True)))
    assert_same_logits(ours.eval(), theirs, size)


def test_a_shortcut_is_blurred_first() -> None:
    model = scrambled(built("resnet18", Blurpool(size=5)))
    side = model.get_submodule("layer2.0.downsample")
    x = torch.randn(2, 64, 9, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = side[1](F.conv2d(BlurPool2d(64, 5)(x), side[0].weight))
        torch.testing.assert_close(side(x), expected)


@pytest.mark.parametrize(("name", "blurs"), [("resnet50", 7), ("vgg11", 5), ("densenet121", 1)])
def test_what_is_blurred_and_sizes_stay(name: str, blurs: int) -> None:
    plain, blurred = on_meta(name).eval(), on_meta(name, Blurpool()).eval()
    assert sum(isinstance(m, OurBlur) for m in blurred.modules()) == blurs
    sizes: dict[str, list[torch.Size]] = {"plain": [], "blurred": []}
    for key, model in (("plain", plain), ("blurred", blurred)):
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.Linear):
                module.register_forward_pre_hook(
                    lambda m, inputs, key=key: sizes[key].append(inputs[0].shape)
                )
        for side in (64, 75):
            model(torch.empty(1, 3, side, side, device="meta"))
    ends = [s for s in sizes["plain"] if len(s) == 2], [s for s in sizes["blurred"] if len(s) == 2]
    assert ends[0] == ends[1]
    assert {s[-1] for s in sizes["plain"]} == {s[-1] for s in sizes["blurred"]}


def test_no_convolution_of_stride_2_is_left_in_the_blocks() -> None:
    model = on_meta("resnet50_v1", Blurpool())
    strided = [n for n, m in model.named_modules() if _strided(m)]
    assert strided == ["conv1"]


def _strided(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.MaxPool2d) and module.stride not in (1, (1, 1))


def test_a_shift_by_one_pixel_changes_less() -> None:
    """What the method is for: the map of a shifted image is closer to the image's."""

    def difference(*tricks: Trick) -> float:
        model = initial("resnet18", *tricks).eval()
        x = F.avg_pool2d(images(100), 5, 1)
        with torch.no_grad():
            a, b = (
                model.layer2(model.layer1(model.maxpool(model.conv1(part))))
                for part in (x[..., :96], x[..., 1:])
            )
        return float((a - b).norm() / a.norm())

    assert difference(Blurpool()) < 0.9 * difference()


# All of them


@pytest.mark.parametrize("trick", SURGERY, ids=lambda t: t.name)
def test_every_order_with_b_c_d_gives_the_same_model(trick: Trick) -> None:
    reference = on_meta(f"{__name__}:small_v1", B, C, D, trick)
    for order in permutations((B, C, D, trick)):
        model = on_meta(f"{__name__}:small_v1", *order)
        assert repr(model) == repr(reference)
        assert list(model.state_dict()) == list(reference.state_dict())


@pytest.mark.parametrize("trick", SURGERY, ids=lambda t: t.name)
@pytest.mark.parametrize("base", [(), (B, C, D)], ids=["v1", "BCD"])
def test_other_layers_start_from_the_same_bits(trick: Trick, base: tuple[Trick, ...]) -> None:
    plain = initial(f"{__name__}:small_v1", *base).state_dict()
    changed = initial(f"{__name__}:small_v1", *base, trick).state_dict()
    assert plain.keys() <= changed.keys()
    new = {name.split(".")[-3] for name in changed.keys() - plain.keys()}
    assert new == ({"se"} if isinstance(trick, SqueezeExcitation) else set())
    for name in plain:
        assert torch.equal(plain[name], changed[name]), name


def test_all_together() -> None:
    everything = (B, C, D, *SURGERY)
    model = initial(f"{__name__}:small_v1", *everything, XavierInit(), ZeroGamma())
    first = handles(model)
    assert len(first.blocks) == 5
    assert first.classifier == "fc"
    assert first.blocks[1].branches == ("layer2.0.bn3.se",)
    assert [n for n, _ in model.get_submodule("layer2.0.bn3").named_children()] == [
        "se",
        "stochastic_depth",
    ]
    assert not model.get_submodule("layer2.0.bn3").weight.any()
    assert uses_noise(model)
    assert model(images(40)).shape == (2, 10)
    groups = NoBiasDecay().param_groups(model, Recipe.model_validate({"model": "resnet50"}))
    next(groups)
    with pytest.raises(StopIteration) as stop:
        groups.send([{"params": list(model.parameters())}])
    decayed = stop.value.value[0]["params"]
    assert len(decayed) == 3 + 15 + 4 + 10 + 1  # stem, path, shortcuts, SE's two, classifier


@pytest.mark.parametrize("trick", [*SURGERY, XavierInit()], ids=lambda t: t.name)
def test_generator_device_and_mode(trick: Trick) -> None:
    state = torch.get_rng_state()
    model = built("resnet18", trick)
    assert all(module.training for module in model.modules())
    meta = on_meta("resnet18", trick)
    Hooks((trick,)).init_model(model=meta, seed=0)
    assert {t.device.type for t in [*meta.parameters(), *meta.buffers()]} == {"meta"}
    assert torch.equal(state, torch.get_rng_state())


def test_a_copy_is_a_copy_and_torch_can_trace_it() -> None:
    model = scrambled(built("resnet8", *(D, *SURGERY)))
    x = images(16)
    twin = copy.deepcopy(model)
    expected = model(x)
    with torch.no_grad():
        model.get_submodule("fc").weight.zero_()
    assert torch.equal(twin(x), expected)
    traced = torch.compile(twin, backend="eager", fullgraph=True)
    torch.testing.assert_close(traced(x), expected)


def test_attached_layers_act_in_order_and_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    for key, layer in (("clip", nn.Hardtanh(-1, 1)), ("shift", nn.Softplus())):
        attach(model, "0", key, layer)
    x = torch.randn(3, 2)
    expected = F.softplus(F.hardtanh(F.linear(x, model[0].weight, model[0].bias)))
    assert torch.equal(model(x), expected)
    with pytest.raises(ValueError, match="0 has a 'shift' already"):
        attach(model, "0", "shift", nn.ReLU())


@pytest.mark.parametrize(
    ("trick", "name", "reason"),
    [
        (Dropout(), "squeezenet1_1", "last layer is not a linear classifier"),
        (StochasticDepth(), "vgg11", "no residual blocks"),
        (StochasticDepth(), "wrn16_4", "no residual blocks"),
        (SqueezeExcitation(), "mobilenet_v1", "no residual blocks"),
        (SqueezeExcitation(), "regnet_y_400mf", "squeeze and excitation or the like already"),
        (SqueezeExcitation(), "timm/seresnet50", "squeeze and excitation or the like already"),
        (Blurpool(), "mobilenet_v1", "no max pool that can be blurred and no residual block that"),
        (Blurpool(), "squeezenet1_1", "no max pool that can be blurred"),
        (ResnetB(), "timm/convnext_tiny", "no residual blocks of the form relu"),
        (ResnetC(), "densenet121", "no residual blocks of the form relu"),
    ],
)
def test_nothing_to_act_on(trick: Trick, name: str, reason: str) -> None:
    with pytest.raises(NoEffect, match=reason) as refusal:
        on_meta(name, trick)
    assert refusal.value.trick == trick.name


@pytest.mark.parametrize("trick", SURGERY, ids=lambda t: t.name)
def test_twice_is_once_too_often(trick: Trick) -> None:
    with torch.device("meta"):
        model = built("resnet18", trick)
        generator = trick.build_model()
        next(generator)
        with pytest.raises(NoEffect):
            generator.send(model)


@pytest.mark.parametrize("name", ["timm/seresnet50", "regnet_y_400mf", "resnext50_32x4d"])
def test_stochastic_depth_ends_the_branch_whoever_wrote_it(name: str) -> None:
    model = scrambled(built(name, StochasticDepth(p=0.999)))
    block = handles(model).blocks[-1]
    assert block.end.endswith(".se" if "seresnet" in name else block.last_norm)
    module = block.module.train()
    x = torch.rand(3, module.get_submodule(block.convs[0][len(block.name) + 1 :]).in_channels, 2, 2)
    with torch.no_grad():
        torch.manual_seed(0)
        assert torch.equal(module(x), x)


@pytest.fixture(scope="module")
def plain_training() -> dict[str, Tensor]:
    return weights(run(model="resnet8", epochs=1, limit=32)[0])


@pytest.mark.parametrize("trick", [*SURGERY, XavierInit()], ids=lambda t: t.name)
def test_trains_two_batches_and_resumes(trick: Trick, plain_training: dict[str, Tensor]) -> None:
    once, memory = run([trick], model="resnet8", limit=32)
    assert once.step == 4
    from tests.helpers.support import Memory

    resumed, _ = run([trick], Memory(saved=memory.states[0]), model="resnet8", limit=32)
    assert same(weights(once), weights(resumed))
    first = memory.states[0]["model"]
    assert any(not torch.equal(first[name], plain_training[name]) for name in plain_training)


def test_words() -> None:
    assert XavierInit().describe() == "init: He normal → Xavier uniform, biases 0"
    assert Dropout(p=0.3).describe() == "model: dropout before the classifier, p 0.3"
    depth = "model: residual branches dropped at random, p 0 → 0.1 with depth"
    assert StochasticDepth().describe() == depth
    se = "model: residual branches → with squeeze and excitation, r 16"
    assert SqueezeExcitation().describe() == se
    assert Blurpool().describe() == "model: stride 2 → stride 1, then a 3×3 blur with stride 2"
    assert isinstance(build_model("resnet8", 2), nn.Module)
