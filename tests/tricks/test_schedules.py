"""warmup, cosine and the step schedule against torch's schedulers, stepped per batch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest
import torch
from torch.optim import lr_scheduler

from ablate import Trick
from ablate.recipe import Recipe
from ablate.tricks.chains import Hooks, resolve_recipe
from ablate_tricks.cosine import Cosine
from ablate_tricks.linear_scaling import LinearScaling
from ablate_tricks.warmup import Warmup

EPOCHS, PER_EPOCH = 20, 7
TOTAL = EPOCHS * PER_EPOCH


def ours(tricks: Sequence[Trick], recipe: Recipe) -> list[float]:
    schedule = Hooks(tricks).build_schedule(recipe)
    return [recipe.lr * schedule(step, 0, TOTAL).lr for step in range(TOTAL)]


def theirs(make: object, lr: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = make(optimizer)  # type: ignore[operator]
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of `scheduler.step(epoch)` in its own code
        for _ in range(TOTAL):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


@pytest.mark.parametrize("warmup_epochs", [1, 2, 5])
def test_warmup_then_cosine(warmup_epochs: int) -> None:
    recipe = Recipe(model="resnet8", epochs=EPOCHS, lr=0.1)
    m = warmup_epochs * PER_EPOCH

    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        return lr_scheduler.SequentialLR(
            optimizer,
            [
                lr_scheduler.LinearLR(optimizer, 1 / m, 1.0, total_iters=m - 1),
                lr_scheduler.CosineAnnealingLR(optimizer, T_max=TOTAL - m),
            ],
            milestones=[m],
        )

    tricks = [Cosine(), Warmup(epochs=warmup_epochs)]
    assert ours(tricks, recipe) == pytest.approx(theirs(make, 0.1), rel=1e-12, abs=1e-15)


def test_cosine_alone() -> None:
    recipe = Recipe(model="resnet8", epochs=EPOCHS, lr=0.1)

    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=TOTAL)

    assert ours([Cosine()], recipe) == pytest.approx(theirs(make, 0.1), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("tricks", [[], [Warmup(epochs=2)]])
def test_milestones_stay_where_they_are_when_warmup_is_added(tricks: list[Trick]) -> None:
    recipe = Recipe(model="resnet8", epochs=EPOCHS, lr=0.1)

    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        return lr_scheduler.MultiStepLR(
            optimizer, [5 * PER_EPOCH, 10 * PER_EPOCH, 15 * PER_EPOCH], gamma=0.1
        )

    first = 2 * PER_EPOCH if tricks else 0
    assert ours(tricks, recipe)[first:] == pytest.approx(theirs(make, 0.1)[first:], rel=1e-12)
    if tricks:
        assert ours(tricks, recipe)[:3] == pytest.approx([0.1 * i / first for i in (1, 2, 3)])


def test_a_warmup_of_more_than_half_is_cut_with_a_warning() -> None:
    recipe = Recipe(model="resnet8", epochs=EPOCHS, lr=0.1)
    long = Warmup(epochs=15)
    assert ours([Cosine(), long], recipe) == ours([Cosine(), Warmup(epochs=10)], recipe)
    assert long.warnings(recipe) == ["warmup of 15 epochs is cut to 10, half of the 20 trained"]
    assert Warmup(epochs=10).warnings(recipe) == []


@pytest.mark.parametrize(("batch", "lr"), [(256, 0.1), (1024, 0.4), (64, 0.025), (100, 0.0390625)])
def test_linear_scaling(batch: int, lr: float) -> None:
    recipe = Recipe(model="resnet8", batch_size=batch, lr=0.1)
    assert resolve_recipe([LinearScaling()], recipe).lr == pytest.approx(lr, rel=1e-15)
