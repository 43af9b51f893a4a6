"""MobileNet V1, Inception V3 and the wide ResNets: against timm's, torchvision's, the papers'."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.baseline import Baseline
from ablate.core.hook_types import Outputs
from ablate.errors import AblateError
from ablate.models import build_model, handles, initialise, outputs
from ablate.models.catalogue import is_model, model_image_size, model_info
from ablate.planning.model_card import describe_model
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

TRICKS = (
    Blurpool(),
    Dropout(p=0.5),
    NoBiasDecay(),
    ResnetB(),
    ResnetC(),
    ResnetD(),
    SqueezeExcitation(),
    StochasticDepth(),
    XavierInit(),
    ZeroGamma(),
)
RESIDUAL = ("resnet_b", "resnet_c", "resnet_d", "squeeze_excitation", "stochastic_depth")


def on_meta(name: str, num_classes: int = 1000) -> nn.Module:
    with torch.device("meta"):
        return build_model(name, num_classes)


@torch.no_grad()
def scrambled(model: nn.Module) -> nn.Module:
    """Weights and statistics that hide nothing: no γ of 1, no mean of 0."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.ndim == 1 and tensor.is_floating_point():
            tensor.uniform_(-0.5, 1, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
    return model


def images(size: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(size))


@pytest.mark.parametrize("size", [64, 65])
def test_mobilenet_v1_is_timms_with_the_papers_relu(size: int) -> None:
    """timm's has the later code's ReLU6; the paper's figure 3 says ReLU."""
    theirs = scrambled(timm.create_model("mobilenetv1_100", num_classes=7, act_layer="relu"))
    ours = build_model("mobilenet_v1", 7)
    mine, others = ours.state_dict(), theirs.state_dict()
    assert [n.rsplit(".", 1)[1] for n in mine] == [n.rsplit(".", 1)[1] for n in others]
    ours.load_state_dict(dict(zip(mine, others.values(), strict=True)))
    with torch.no_grad():
        a, b = ours.eval()(images(size)), theirs.eval()(images(size))
    assert b.std() > 0.01
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "classes", "parameters", "mega_macs"),
    [
        ("mobilenet_v1", 1000, 4_231_976, 569),  # the paper's table 8: 4.2 M and 569 M
        ("inception_v3", 1000, 27_161_264, 5_713),  # torchvision's published figures
        ("wrn28_10", 10, 36_479_194, None),  # the paper's table 4: 36.5 M
        ("wrn16_4", 10, 2_748_890, None),  # 2.7 M wherever it is quoted
    ],
)
def test_size_and_cost(name: str, classes: int, parameters: int, mega_macs: int | None) -> None:
    model = on_meta(name, classes)
    assert sum(p.numel() for p in model.parameters()) == parameters
    if mega_macs is not None:
        card = describe_model(name, ())
        assert card.macs is not None
        assert round(card.macs / 1e6) == mega_macs


# Inception


def test_inception_is_torchvisions() -> None:
    assert model_image_size("inception_v3") == 299
    theirs = scrambled(torchvision.models.inception_v3(num_classes=5, init_weights=False))
    ours = build_model("inception_v3", 5)
    ours.load_state_dict(theirs.state_dict())
    x, small = images(299), images(139, batch=1)
    with torch.no_grad():
        evaluated = ours.eval()(small)
        assert evaluated.std() > 0.01
        assert torch.equal(evaluated, theirs.eval()(small))
        torch.manual_seed(0)
        found = outputs(ours.train(), x)
        torch.manual_seed(0)
        expected = theirs.train()(x)
    assert isinstance(found, Outputs)
    assert torch.equal(found.logits, expected.logits)
    ((weight, auxiliary),) = found.aux
    assert weight == 0.4
    assert torch.equal(auxiliary, expected.aux_logits)


def test_inceptions_auxiliary_head_learns_through_its_own_loss() -> None:
    """The head's gradient is 0.4 times that of its loss alone."""
    model = initialise(build_model("inception_v3", 3), 0).train()
    targets = torch.eye(3)[:2]
    found = outputs(model, images(299))
    baseline = Baseline()
    loss = baseline.compute_loss(found.logits, targets)
    for weight, logits in found.aux:
        loss = loss + weight * baseline.compute_loss(logits, targets)
    head = model.get_submodule("AuxLogits.fc").weight
    (alone,) = torch.autograd.grad(
        F.cross_entropy(found.aux[0][1], targets), head, retain_graph=True
    )
    (whole,) = torch.autograd.grad(loss, head)
    assert whole.abs().max() > 0
    torch.testing.assert_close(whole, 0.4 * alone)


def test_inception_starts_as_the_engine_says() -> None:
    model = initialise(build_model("inception_v3", 10), 0)
    conv = model.get_submodule("Mixed_6b.branch7x7_2.conv").weight
    assert conv.std().item() == pytest.approx((2 / (conv.shape[0] * 7)) ** 0.5, rel=0.02)
    again = initialise(build_model("inception_v3", 10), 0).state_dict()
    assert all(torch.equal(a, again[name]) for name, a in model.state_dict().items())


def test_inception_on_fewer_pixels() -> None:
    model = on_meta("inception_v3", 10)
    with pytest.raises(AblateError, match="inception_v3 cannot train on 298 pixels"):
        model(torch.empty(1, 3, 299, 298, device="meta"))
    assert model.eval()(torch.empty(1, 3, 160, 160, device="meta")).shape == (1, 10)


# Wide ResNets


def reference_wide(w: dict[str, Tensor], x: Tensor, blocks: int) -> Tensor:
    """The paper's figure 1(a), (c) and table 1 as a function, in evaluation."""

    def active(x: Tensor, name: str) -> Tensor:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return F.relu(F.batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"]))

    x = F.conv2d(x, w["conv1.weight"], padding=1)
    for stage in (1, 2, 3):
        for number in range(blocks):
            name = f"layer{stage}.{number}"
            stride = 2 if number == 0 and stage > 1 else 1
            first = active(x, f"{name}.bn1")
            path = F.conv2d(first, w[f"{name}.conv1.weight"], stride=stride, padding=1)
            path = F.conv2d(active(path, f"{name}.bn2"), w[f"{name}.conv2.weight"], padding=1)
            if number == 0:
                x = F.conv2d(first, w[f"{name}.shortcut.weight"], stride=stride)
            x = x + path
    return F.linear(active(x, "bn").mean((2, 3)), w["fc.weight"], w["fc.bias"])


def test_a_wide_resnet_is_the_papers() -> None:
    model = scrambled(build_model("wrn16_4", 10)).eval()
    x = images(16)
    with torch.no_grad():
        torch.testing.assert_close(model(x), reference_wide(model.state_dict(), x, 2))
    stages = [on_meta("wrn28_10", 10).get_submodule(f"layer{i}") for i in (1, 2, 3)]
    assert [len(stage) for stage in stages] == [4, 4, 4]
    assert [stage[-1].conv2.out_channels for stage in stages] == [160, 320, 640]
    convs = sum(getattr(m, "kernel_size", 0) == (3, 3) for m in on_meta("wrn28_10").modules())
    assert convs == 25  # and three projections: the 28 of its name


def test_wide_names() -> None:
    summary = model_info("wrn28_10").summary
    assert summary.endswith("160, 320, 640 channels, 4 pre-activation blocks each")
    assert not is_model("wrn28_11")
    assert model_image_size("wrn28_10") is None


@pytest.mark.parametrize(
    ("name", "size", "classifier", "refusing"),
    [
        ("mobilenet_v1", 224, "classifier", ("blurpool", *RESIDUAL, "zero_gamma")),
        ("inception_v3", 299, "fc", ("dropout", *RESIDUAL, "zero_gamma")),
        ("wrn16_4", 32, "fc", ("blurpool", *RESIDUAL, "zero_gamma")),
    ],
)
def test_cards(name: str, size: int, classifier: str, refusing: tuple[str, ...]) -> None:
    card = describe_model(name, TRICKS)
    assert (card.image_size, card.classifier) == (size, classifier)
    assert (card.stem, card.blocks, card.shortcuts) == ((), 0, 0)
    assert [trick for trick, _ in card.no_fit] == list(refusing)
    assert handles(on_meta(name)).classifier == classifier
