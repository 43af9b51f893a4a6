"""Initial weights: distribution against torchvision's, independence bit for bit."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from scipy import stats
from torch import nn

from ablate.errors import AblateError
from ablate.models import build_model, initialise


def weights(name: str, seed: int) -> dict[str, torch.Tensor]:
    return initialise(build_model(name, 10), seed).state_dict()


def test_distribution_is_torchvisions() -> None:
    """Two-sample Kolmogorov-Smirnov, layer by layer, at 1e-3 corrected for the layers."""
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=10).state_dict()
    ours = weights("resnet18", 0)
    assert ours.keys() == theirs.keys()
    drawn = [n for n in ours if ours[n].is_floating_point() and ours[n].std() > 0]
    assert len(drawn) == 20 + 2  # convolutions; the linear layer's weight and bias
    for name in drawn:
        a, b = ours[name].flatten()[:20_000].numpy(), theirs[name].flatten()[:20_000].numpy()
        assert stats.ks_2samp(a, b).pvalue > 1e-3 / len(drawn), name
    for name in ours.keys() - set(drawn):
        assert torch.equal(ours[name], theirs[name]), name  # norms and their statistics


def test_distribution_is_he_normal_and_uniform() -> None:
    ours = weights("resnet18", 1)
    conv = ours["layer3.0.conv1.weight"]
    std = math.sqrt(2 / (conv.shape[0] * 9))  # fan-out, ReLU
    assert stats.kstest(conv.flatten()[:50_000].numpy(), "norm", (0, std)).pvalue > 1e-3
    bound = 1 / math.sqrt(512)
    uniform = stats.uniform(-bound, 2 * bound)
    assert stats.kstest(ours["fc.weight"].flatten().numpy(), uniform.cdf).pvalue > 1e-3
    assert ours["fc.bias"].abs().max() <= bound


def test_same_seed_same_bits_whatever_came_before() -> None:
    torch.manual_seed(1)
    first = weights("resnet8", 5)
    torch.manual_seed(2)
    torch.randn(1000)
    state = torch.get_rng_state()
    model = build_model("resnet8", 10)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(7)
    second = initialise(model, 5).state_dict()
    assert torch.equal(state, torch.get_rng_state())
    for name in first:
        assert torch.equal(first[name], second[name]), name
    other = weights("resnet8", 6)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_layers_of_one_shape_differ() -> None:
    drawn = weights("resnet20", 0)
    a, b = drawn["layer1.1.conv1.weight"], drawn["layer1.1.conv2.weight"]
    assert a.shape == b.shape
    assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) < 0.1


def test_one_replaced_layer_moves_no_other() -> None:
    plain = initialise(build_model("resnet8", 10), 0).state_dict()
    model = build_model("resnet8", 10)
    model.set_submodule("layer1.0.conv1", nn.Conv2d(16, 16, 5, padding=2, bias=False))
    model.set_submodule("bn1", nn.Sequential(nn.BatchNorm2d(16), nn.Conv2d(16, 16, 1)))
    changed = initialise(model, 0).state_dict()
    shared = [n for n in plain if n in changed and n != "layer1.0.conv1.weight"]
    assert len(shared) == len(plain) - 1 - 5
    for name in shared:
        assert torch.equal(plain[name], changed[name]), name


def test_memory_format_and_dtype_change_no_number() -> None:
    model = build_model("resnet8", 10).to(memory_format=torch.channels_last)
    plain = weights("resnet8", 0)
    for name, tensor in initialise(model, 0).state_dict().items():
        assert torch.equal(tensor, plain[name]), name
    torch.set_default_dtype(torch.float64)
    try:
        double = initialise(build_model("resnet8", 10), 0).state_dict()
    finally:
        torch.set_default_dtype(torch.float32)
    for name, tensor in double.items():
        assert torch.equal(tensor.to(plain[name].dtype), plain[name]), name


class Scale(nn.Module):
    """A layer with a parameter that only it knows how to initialise."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(64))


class Resettable(Scale):
    def reset_parameters(self) -> None:
        nn.init.normal_(self.scale)


def test_own_reset_parameters_has_a_stream_of_its_own() -> None:
    def drawn(*layers: nn.Module, seed: int = 0) -> torch.Tensor:
        model = initialise(nn.ModuleDict({str(i): m for i, m in enumerate(layers)}), seed)
        return model.state_dict()["0.scale"].clone()

    linear = nn.Linear(3, 3)
    state = torch.get_rng_state()
    alone = drawn(Resettable())
    assert torch.equal(alone, drawn(Resettable(), Resettable(), linear))
    assert not torch.equal(alone, drawn(Resettable(), seed=1))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_unknown_parameters_are_refused(device: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2), Scale()).to(device)
    with pytest.raises(AblateError, match=r"1 \(Scale\).*scale"):
        initialise(model, 0)


def test_parametrised_layers_start_as_torch_draws_them() -> None:
    """Weight norm begins with w = g·v/‖v‖, g = ‖v‖: the layer's own initial weight."""
    name = "tests.helpers.small_models:weight_normed"
    first, again, other = (initialise(build_model(name, 1000), seed) for seed in (0, 0, 1))
    for layer in (first[0], first[5]):
        parts = layer.parametrizations.weight
        norm = parts.original1.flatten(1).norm(dim=1)
        torch.testing.assert_close(parts.original0.flatten(), norm)
        torch.testing.assert_close(layer.weight, parts.original1)
        bound = 1 / math.sqrt(layer.weight[0].numel())  # torch's, of convolutions too
        uniform = stats.uniform(-bound, 2 * bound)
        assert stats.kstest(layer.weight.detach().flatten().numpy(), uniform.cdf).pvalue > 1e-3
        assert layer.bias.abs().max() <= bound
        assert layer.bias.any()
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first[5].bias, other[5].bias)
    assert not torch.equal(first[5].weight, other[5].weight)
