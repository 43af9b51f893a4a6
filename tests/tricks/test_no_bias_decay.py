"""No bias decay against timm's `param_groups_weight_decay`, and by what SGD then does."""

from __future__ import annotations

import copy
from collections.abc import Generator
from typing import Any

import pytest
import torch
from timm.optim import param_groups_weight_decay
from torch import nn
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

from ablate.core.recipe import Recipe
from ablate.errors import NoEffect, TrickError
from ablate.hookspecs import hookimpl
from ablate.models import build_model, initialise
from ablate.models.catalogue import model_info, model_names
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


def decayed_names(model: nn.Module, groups: Groups) -> set[str]:
    decayed = ids(groups, decayed=True)
    return {name for name, p in model.named_parameters() if id(p) in decayed}


def last(names: set[str]) -> set[str]:
    return {name.rpartition(".")[2] for name in names}


# What timm's rule would decay of torchvision's models and this does not: torchvision has no
# `no_weight_decay()`, by which timm's own models keep the same ones out.
KEPT_OUT = {
    "ConvNeXt": {"layer_scale"},
    "MaxViT": {"relative_position_bias_table"},
    "Swin": {"relative_position_bias_table"},
    "Vision Transformer": {"class_token", "pos_embedding"},
    "swin_v2_t": {"logit_scale"},
}
FIRST = {model_info(name).family: name for name in reversed(model_names())}


@pytest.mark.parametrize("name", [*FIRST.values(), "swin_v2_t"])
def test_timms_rule_on_every_family(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, 10)
    ours = decayed_names(model, groups_of(model, NoBiasDecay()))
    theirs = decayed_names(model, param_groups_weight_decay(model, 1e-4))
    assert ours <= theirs
    assert last(theirs - ours) == KEPT_OUT.get(name, KEPT_OUT.get(model_info(name).family, set()))


@pytest.mark.parametrize(
    ("name", "kept_out"),
    [
        ("vit_tiny_patch16_224", set()),
        ("swin_tiny_patch4_window7_224", set()),
        ("swinv2_cr_tiny_224", set()),
        ("convnext_atto", set()),
        ("levit_128", set()),
        ("mvitv2_tiny", set()),
        ("xcit_nano_12_p16_224", {"temperature"}),
        ("botnet26t_256", {"height_rel", "width_rel"}),
    ],
)
def test_timms_models_by_their_own_lists(name: str, kept_out: set[str]) -> None:
    with torch.device("meta"):
        model = build_model(f"timm/{name}", 10)
    listed = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    theirs = param_groups_weight_decay(model, 1e-4, no_weight_decay_list=listed)
    groups = groups_of(model, NoBiasDecay())
    ours = decayed_names(model, groups)
    assert ours <= decayed_names(model, theirs)
    assert last(decayed_names(model, theirs) - ours) == kept_out
    inside = nn.ModuleDict({"backbone": model})  # a list counts below another name, too
    assert ids(groups_of(inside, NoBiasDecay()), decayed=True) == ids(groups, decayed=True)


def test_a_quarter_of_a_vision_transformer_is_projections_to_q_k_and_v() -> None:
    with torch.device("meta"):
        model = build_model("vit_b_16", 1000)
    decayed = ids(groups_of(model, NoBiasDecay()), decayed=True)
    parameters = dict(model.named_parameters())
    packed = {name for name in parameters if name.endswith("in_proj_weight")}
    assert len(packed) == 12
    assert all(id(parameters[name]) in decayed for name in packed)
    assert sum(p.numel() for p in parameters.values()) == 86_567_656  # as torchvision publishes
    assert sum(parameters[name].numel() for name in packed) == 12 * 3 * 768**2
    left = sum(p.numel() for p in parameters.values() if id(p) not in decayed)
    # class token, position embeddings; norms and biases of 12 layers; the last norm; the head
    by_hand = 768 + 197 * 768 + 12 * (4 * 768 + 3 * 768 + 768 + 3072 + 768) + 2 * 768
    assert left == by_hand + 1000 + 768  # and the biases of the head and of the patches


def test_attention_with_separate_projections() -> None:
    model = nn.ModuleDict(
        {"attention": nn.MultiheadAttention(8, 2, add_bias_kv=True, kdim=4, vdim=6)}
    )
    assert decayed_names(model, groups_of(model, NoBiasDecay())) == {
        f"attention.{name}"
        for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight")
    }


@pytest.mark.parametrize("parametrised", [weight_norm, spectral_norm, orthogonal])
@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 3), nn.Linear(6, 4), nn.Linear(6, 1)])
def test_parts_of_a_parametrised_weight_decay_as_with_timm(parametrised: Any, layer: Any) -> None:
    model = nn.Sequential(parametrised(copy.deepcopy(layer)), nn.BatchNorm1d(4))
    theirs = param_groups_weight_decay(model, 1e-4)
    ours = groups_of(model, NoBiasDecay())
    assert decayed_names(model, ours) == decayed_names(model, theirs)
    assert any("parametrizations.weight" in name for name in decayed_names(model, ours))


class Own(nn.Module):
    """Parameters that no layer of torch's holds."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 3))
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.pos_embed = nn.Parameter(torch.ones(1, 9, 4))
        self.listed = nn.Parameter(torch.ones(4, 4))
        self.norm = weight_norm(nn.LayerNorm((3, 5, 5)))
        self.words = nn.Embedding(7, 4)
        self.recurrent = nn.LSTM(4, 4)

    def no_weight_decay(self) -> set[str]:
        return {"li*d"}


def test_a_layer_of_ones_own() -> None:
    model = Own()
    recurrent = {"recurrent.weight_ih_l0", "recurrent.weight_hh_l0"}
    assert decayed_names(model, groups_of(model, NoBiasDecay())) == {"weight"} | recurrent


def test_a_matrix_that_is_also_an_embedding_decays() -> None:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7))
    model[0].weight = model[1].weight
    assert ids(groups_of(model, NoBiasDecay()), decayed=True) == {id(model[1].weight)}


def test_a_model_in_which_nothing_would_decay_is_refused() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.PReLU(3))
    with pytest.raises(TrickError, match="nothing would decay"):
        groups_of(model, NoBiasDecay())


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
    with pytest.raises(NoEffect, match="every decayed parameter is a weight of two"):
        groups_of(bare, NoBiasDecay())


def test_words() -> None:
    words = "weight decay: all parameters → weight matrices and kernels"
    assert NoBiasDecay().describe() == words
    assert NoBiasDecay().describe(107) == f"{words}, off for 107 others"
