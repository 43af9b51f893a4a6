"""Clipping against torch's clip_grad_norm_, accumulation against training on whole batches."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from ablate import Trick, hookimpl
from ablate.core.hook_types import Precision
from ablate.core.recipe import Recipe
from ablate.testing import check_trick
from ablate.tricks.hooks import Hooks, resolve_recipe
from ablate_tricks.gradient_accumulation import GradientAccumulation
from ablate_tricks.gradient_clipping import GradientClipping
from ablate_tricks.mixup import Mixup
from tests.helpers.support import recipe, run, same, weights
from tests.helpers.tape import assert_same_model, taped


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4
    )


class Scaled(Trick):
    """FP32 with FP16's loss scale."""

    @hookimpl
    def precision(self) -> Precision:
        return Precision("float32", scale=True)


@pytest.mark.parametrize("tricks", [[], [Scaled()]], ids=["plain", "loss-scale"])
@pytest.mark.parametrize("max_norm", [0.1, 2.0])
def test_clipping_is_torchs(max_norm: float, tricks: list[Trick]) -> None:
    norms: list[float] = []

    def step(model: nn.Module, made: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        made.zero_grad()
        cross_entropy(model(x), y).backward()
        norms.append(clip_grad_norm_(model.parameters(), max_norm).item())
        made.step()

    trained, tape = taped([GradientClipping(max_norm=max_norm), *tricks], epochs=3)
    assert_same_model(trained.model, tape.replay(sgd, step))
    assert max(norms) > max_norm  # some were clipped


@pytest.mark.parametrize("max_norm", [1e30, math.inf])
def test_a_bound_out_of_reach_changes_no_bit(max_norm: float) -> None:
    trick = GradientClipping.model_construct(max_norm=max_norm)  # TOML's inf is refused
    assert same(weights(run([trick])[0]), weights(run()[0]))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=6),
    st.floats(1e-3, 1e3),
)
def test_the_length_is_bounded_and_the_direction_stays(values: list[float], bound: float) -> None:
    grads = [torch.tensor(values), torch.tensor([[0.5, -0.25]])]
    clipped = Hooks([GradientClipping(max_norm=bound)]).transform_gradients(None, grads)
    before, after = (torch.cat([g.flatten() for g in gs]).double() for gs in (grads, clipped))
    assert after.norm() <= bound * (1 + 1e-5)
    torch.testing.assert_close(after * before.norm(), before * after.norm(), rtol=1e-4, atol=1e-2)
    if before.norm() < bound * 0.999:
        assert torch.equal(before, after)


def plain_cnn(num_classes: int) -> nn.Module:
    """Without batch norm."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(72, num_classes),
    )


def accumulated(count: int, tricks: list[Trick], **settings: Any) -> dict[str, Tensor]:
    trick = GradientAccumulation(micro_batches=count)
    resolved = resolve_recipe([trick], recipe(**settings))
    assert resolved.micro_batches == count
    return weights(run([trick, *tricks], micro_batches=resolved.micro_batches, **settings)[0])


@pytest.mark.parametrize("count", [2, 3, 16])
@pytest.mark.parametrize("tricks", [[], [Mixup()]], ids=["plain", "mixup"])
def test_parts_give_the_whole_batchs_gradient(count: int, tricks: list[Trick]) -> None:
    """3 parts of 16 are of 6, 5 and 5 images."""
    settings: dict[str, Any] = {"model": f"{__name__}:plain_cnn", "epochs": 3}
    whole = weights(run(tricks, **settings)[0])
    parts = accumulated(count, tricks, **settings)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-6)


def test_accumulation_is_a_plain_loops() -> None:
    """With batch norm: a loop that adds up the losses of four parts, each over four images."""

    def step(model: nn.Module, made: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        made.zero_grad()
        for images, targets in zip(x.chunk(4), y.chunk(4), strict=True):
            (cross_entropy(model(images), targets) / 4).backward()
        made.step()

    trained, tape = taped([GradientAccumulation()], micro_batches=4)
    theirs = tape.replay(sgd, step)
    assert_same_model(trained.model, theirs)
    assert not same(weights(trained), weights(run()[0]))


def test_parts_of_one_image_are_warned_of() -> None:
    trick = GradientAccumulation(micro_batches=8)
    assert trick.warnings(Recipe(model="resnet8", batch_size=16)) == []
    [warning] = trick.warnings(Recipe(model="resnet8", batch_size=15))
    assert "8 parts of a batch of 15" in warning


def test_contract() -> None:
    assert "weights" in check_trick(GradientClipping)
    assert {"weights", "recipe"} <= set(check_trick(GradientAccumulation, micro_batches=2))


def test_words() -> None:
    assert GradientClipping().describe() == "gradients: as they are → norm at most 1"
    words = "batches: whole → in 4 parts, gradients added"
    assert GradientAccumulation().describe() == words
