"""No bias decay against timm's `param_groups_weight_decay`, and by what SGD then does."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import torch
from timm.optim import param_groups_weight_decay
from torch import nn

from ablate.core.recipe import Recipe
from ablate.errors import NoEffect
from ablate.hookspecs import hookimpl
from ablate.models import build_model, initialise
from ablate.tricks.base import Trick
from ablate.tricks.hooks import Hooks
from ablate_tricks.no_bias_decay import NoBiasDecay
from ablate_tricks.resnet_b import ResnetB
from ablate_tricks.resnet_c import ResnetC
from ablate_tricks.resnet_d import ResnetD

Groups = list[dict[str, Any]]


def recipe(name: str, **settings: Any) -> Recipe:
    return Recipe.model_validate({"model": name, **settings})


def groups_of(model: nn.Module, *tricks: Trick, weight_decay: float = 1e-4) -> Groups:
    settings = recipe("resnet18", weight_decay=weight_decay)
    groups: Groups = Hooks(tricks).param_groups(model=model, recipe=settings)
    return groups


def ids(groups: Groups, *, decayed: bool) -> set[int]:
    chosen = [g for g in groups if bool(g["weight_decay"]) == decayed]
    return {id(p) for group in chosen for p in group["params"]}


@pytest.mark.parametrize(
    ("name", "tricks", "free", "kept"),
    [
        ("resnet50", (), 107, 54),
        ("resnet18", (), 41, 21),
        ("resnet50_v1", (ResnetB(), ResnetC(), ResnetD()), 111, 56),
        ("vgg16_bn", (), 42, 16),
    ],
)
def test_timms_sets(name: str, tricks: tuple[Trick, ...], free: int, kept: int) -> None:
    with torch.device("meta"):
        model = Hooks(tricks).build_model(recipe=recipe(name), num_classes=10)
    groups = groups_of(model, NoBiasDecay())
    theirs = param_groups_weight_decay(model, weight_decay=1e-4)
    for decayed, count in ((True, kept), (False, free)):
        assert ids(groups, decayed=decayed) == ids(theirs, decayed=decayed)
        assert len(ids(groups, decayed=decayed)) == count
    assert [g["weight_decay"] for g in groups] == [1e-4, 0.0]


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b0", "regnet_y_400mf"])
def test_timms_sets_on_other_models(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, 10)
    groups, theirs = groups_of(model, NoBiasDecay()), param_groups_weight_decay(model, 1e-4)
    assert ids(groups, decayed=True) == ids(theirs, decayed=True)
    assert ids(groups, decayed=False) == ids(theirs, decayed=False)


def test_order_is_the_models() -> None:
    with torch.device("meta"):
        model = build_model("resnet20", 10)
    names = {id(p): n for n, p in model.named_parameters()}
    keep, free = ([names[id(p)] for p in g["params"]] for g in groups_of(model, NoBiasDecay()))
    in_order = list(names.values())
    assert keep == sorted(keep, key=in_order.index)
    assert free == sorted(free, key=in_order.index)
    assert free[-1] == "fc.bias"
    assert keep[-1] == "fc.weight"


class HeadFaster(Trick):
    """An inner trick: the linear layer at ten times the rate and another decay."""

    @hookimpl
    def param_groups(self, model: nn.Module) -> Groups:
        head = list(model.get_submodule("fc").parameters())
        known = {id(p) for p in head}
        rest = [p for p in model.parameters() if id(p) not in known]
        return [
            {"params": rest, "weight_decay": 1e-3},
            {"params": head, "lr": 0.5, "momentum": 0.5, "weight_decay": 1e-2},
        ]


def test_inner_groups_keep_their_settings() -> None:
    model = build_model("resnet8", 10)
    groups = groups_of(model, HeadFaster(), NoBiasDecay())
    assert [{k: v for k, v in g.items() if k != "params"} for g in groups] == [
        {"weight_decay": 1e-3},
        {"weight_decay": 0.0},
        {"weight_decay": 1e-2, "lr": 0.5, "momentum": 0.5},
        {"weight_decay": 0.0, "lr": 0.5, "momentum": 0.5},
    ]
    assert [id(p) for g in groups[2:] for p in g["params"]] == [
        id(model.fc.weight),
        id(model.fc.bias),
    ]
    everything = [id(p) for g in groups for p in g["params"]]
    assert sorted(everything) == sorted(id(p) for p in model.parameters())


def send(inner: Groups, model: nn.Module, settings: Recipe) -> Groups:
    """The wrapper alone, around groups that the chain would not build."""
    generator: Generator[None, Groups, Groups] = NoBiasDecay().param_groups(model, settings)
    next(generator)
    with pytest.raises(StopIteration) as stop:
        generator.send(inner)
    value: Groups = stop.value.value
    return value


def test_groups_without_decay_of_their_own_take_the_recipes() -> None:
    model = build_model("resnet8", 10)
    inner: Groups = [{"params": model.parameters()}]
    keep, free = send(inner, model, recipe("resnet8"))
    assert "weight_decay" not in keep
    assert free["weight_decay"] == 0.0


def test_named_parameters_and_undecayed_groups() -> None:
    model = build_model("resnet8", 10)
    named = list(model.named_parameters())
    inner: Groups = [
        {"params": named[:3], "weight_decay": 1e-4},
        {"params": named[3:], "weight_decay": 0.0},
    ]
    groups = send(inner, model, recipe("resnet8"))
    assert [[name for name, _ in g["params"]] for g in groups[:2]] == [
        ["conv1.weight"],
        ["bn1.weight", "bn1.bias"],
    ]
    assert groups[2] == inner[1]
    torch.optim.SGD(groups, lr=0.1)  # which refuses what is not a valid group


def test_sgd_shrinks_only_conv_and_linear_weights() -> None:
    model = initialise(build_model("resnet8", 10), 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)  # so that nothing is 0 and would not shrink
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(groups_of(model, NoBiasDecay(), weight_decay=0.5), lr=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        shrinks = parameter.ndim > 1
        expected = before[name] * (0.75 if shrinks else 1.0)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-6, atol=1e-7)


def test_nothing_to_free() -> None:
    with pytest.raises(NoEffect, match="weight decay is 0 already"):
        groups_of(build_model("resnet8", 10), NoBiasDecay(), weight_decay=0.0)
    bare = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Linear(4, 2, bias=False))
    with pytest.raises(NoEffect, match="every decayed parameter is the weight of"):
        groups_of(bare, NoBiasDecay())


def test_words() -> None:
    words = "weight decay: all parameters → conv and linear weights"
    assert NoBiasDecay().describe() == words
    assert NoBiasDecay().describe(107) == f"{words}, off for 107 others"
