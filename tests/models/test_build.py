"""Models against torchvision's, the papers' numbers and hand-written layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.errors import AblateError
from ablate.models import build_model, initialise, outputs
from ablate.planning.model_card import multiply_adds


def on_meta(name: str, num_classes: int = 1000) -> nn.Module:
    with torch.device("meta"):
        return build_model(name, num_classes)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d", "mobilenet_v2"])
def test_torchvisions_models_are_torchvisions(name: str) -> None:
    ours, theirs = build_model(name, 10), torchvision.models.get_model(name, num_classes=10)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours.eval()(images), theirs.eval()(images))


@pytest.mark.parametrize(
    ("name", "parameters", "giga_macs"),
    [
        # torchvision's published counts; v1 moves strides and so has the same parameters
        ("resnet18", 11_689_512, 1.814),
        ("resnet34", 21_797_672, 3.664),
        ("resnet50", 25_557_032, 4.089),
        ("resnet50_v1", 25_557_032, 3.858),
        ("resnet101", 44_549_160, 7.801),
        ("resnet101_v1", 44_549_160, None),
        ("resnet152", 60_192_808, 11.514),
        ("resnet152_v1", 60_192_808, None),
        ("vgg16_bn", 138_365_992, 15.470),
    ],
)
def test_size_and_cost(name: str, parameters: int, giga_macs: float | None) -> None:
    model = on_meta(name)
    assert count(model) == parameters
    if giga_macs is not None:
        macs = multiply_adds(model, 224)
        assert macs is not None
        assert round(macs / 1e9, 3) == giga_macs


def test_v1_strides_in_the_first_1x1() -> None:
    """A downsampling bottleneck as the paper draws it, written out."""
    block = initialise(build_model("resnet50_v1", 10), 0).get_submodule("layer2.0").eval()
    w = block.state_dict()

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"])

    x = torch.randn(2, 256, 7, 7, generator=torch.Generator().manual_seed(0))
    path = F.relu(norm(F.conv2d(x, w["conv1.weight"], stride=2), "bn1"))
    path = F.relu(norm(F.conv2d(path, w["conv2.weight"], padding=1), "bn2"))
    path = norm(F.conv2d(path, w["conv3.weight"]), "bn3")
    side = norm(F.conv2d(x, w["downsample.0.weight"], stride=2), "downsample.1")
    torch.testing.assert_close(block(x), F.relu(path + side), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18_small", "resnet50_v1_small"])
def test_small_stem(name: str) -> None:
    small, full = on_meta(name, 10), on_meta(name.removesuffix("_small"), 10)
    stem = small.conv1
    assert isinstance(stem, nn.Conv2d)
    assert (stem.kernel_size, stem.stride, stem.padding) == ((3, 3), (1, 1), (1, 1))
    assert isinstance(small.maxpool, nn.Identity)
    assert count(full) - count(small) == 64 * 3 * (7 * 7 - 3 * 3)
    before = small.layer1(
        small.maxpool(small.bn1(small.conv1(torch.empty(1, 3, 32, 32).to("meta"))))
    )
    assert before.shape[2:] == (32, 32)


def test_small_resnet18_costs_what_is_known_for_cifar() -> None:
    macs = multiply_adds(on_meta("resnet18_small", 10), 32)
    assert macs is not None
    assert round(macs / 1e9, 2) == 0.56  # the usual figure for ResNet-18 on CIFAR


@pytest.mark.parametrize(
    ("name", "millions"), [("resnet20", 0.27), ("resnet56", 0.85), ("resnet110", 1.7)]
)
def test_cifar_resnets_have_the_papers_size(name: str, millions: float) -> None:
    """He et al., 2015, table 6; the projections add 2,752 to the paper's free shortcuts."""
    free = count(on_meta(name, 10)) - (16 * 32 + 2 * 32 + 32 * 64 + 2 * 64)
    assert round(free / 1e6, 2 if millions < 1 else 1) == millions
    depth = sum(
        isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in on_meta(name).modules()
    )
    assert depth + 1 == int(name.removeprefix("resnet"))  # the linear layer is the last


def test_cifar_resnet_shapes() -> None:
    model = initialise(build_model("resnet8", 5), 0)
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 5)
    features = model.layer3(model.layer2(model.layer1(model.conv1(torch.randn(1, 3, 32, 32)))))
    assert features.shape == (1, 64, 8, 8)


@pytest.mark.parametrize("name", ["resnet18", "resnet8", "regnet_x_400mf", "timm/resnet18d"])
def test_building_leaves_the_global_generator_alone(name: str) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = build_model(name, 10)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(4)
    second = build_model(name, 10)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["resnet18", "regnet_x_400mf", "timm/resnet18d"])
def test_meta_and_cpu_have_the_same_layers(name: str) -> None:
    meta, cpu = on_meta(name, 10), build_model(name, 10)
    assert {t.device.type for t in meta.state_dict().values()} == {"meta"}
    assert {t.device.type for t in cpu.state_dict().values()} == {"cpu"}
    assert repr(meta) == repr(cpu)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in cpu.state_dict().values())


MODULE = """
import torch
from torch import nn
from ablate.types import Outputs

class TwoHeads(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.a, self.b = nn.Linear(4, num_classes), nn.Linear(4, num_classes)
    def forward(self, x):
        return Outputs(self.a(x), ((0.3, self.b(x)),))

def linear(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(4, num_classes))
def heads(num_classes):
    return TwoHeads(num_classes)
def lists(num_classes):
    return nn.Module()
def text(num_classes):
    return "model"
def raises(num_classes):
    raise KeyError("width")
constant = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "ablate_test_own.py").write_text(MODULE)
    (tmp_path / "ablate_test_broken.py").write_text("import no_such_module_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "ablate_test_own"


def test_own_function(own: str) -> None:
    model = initialise(build_model(f"{own}:linear", 6), 0)
    assert outputs(model, torch.ones(2, 4)).logits.shape == (2, 6)
    result = outputs(build_model(f"{own}:heads", 6), torch.ones(2, 4))
    assert [weight for weight, _ in result.aux] == [0.3]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("missing", "has no function 'missing'"),
        ("constant", "has no function 'constant'"),
        ("text", "returned str, not a torch.nn.Module"),
        ("raises", "raised KeyError"),
    ],
)
def test_own_function_at_fault(own: str, function: str, message: str) -> None:
    with pytest.raises(AblateError, match=message):
        build_model(f"{own}:{function}", 6)


def test_own_module_does_not_import(own: str) -> None:
    with pytest.raises(AblateError, match="ablate_test_broken does not import") as refusal:
        build_model("ablate_test_broken:model", 6)
    assert refusal.value.hint is None  # its own fault, not the path's


def test_own_module_that_is_nowhere_has_a_way_to_be_found() -> None:
    with pytest.raises(AblateError, match="No module named 'ablate_test_nowhere'") as refusal:
        build_model("ablate_test_nowhere.deep:model", 6)
    assert "PYTHONPATH" in (refusal.value.hint or "")


def test_outputs_must_be_logits() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(AblateError, match="Pair returned tuple"):
        outputs(Pair(), torch.ones(1, 1))
