"""The schedules against torch's schedulers, stepped per batch."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from ablate import Trick
from ablate.core.recipe import Recipe
from ablate.engine.loop import set_factors
from ablate.errors import TrickError
from ablate.testing import check_trick
from ablate.tricks.hooks import Hooks, resolve_recipe
from ablate_tricks.adam import Adam
from ablate_tricks.cosine import Cosine
from ablate_tricks.linear import Linear
from ablate_tricks.linear_scaling import LinearScaling
from ablate_tricks.one_cycle import OneCycle
from ablate_tricks.warmup import Warmup
from tests.helpers.support import run
from tests.helpers.tape import assert_same_model, plain_step, taped

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


@pytest.mark.parametrize("trick", [Cosine(), Linear()], ids=lambda t: str(t.name))
@pytest.mark.parametrize("start", [0, 5])
def test_a_decay_falls_and_is_its_own_mirror(trick: Trick, start: int) -> None:
    """η_t + η_(T−t) = η, and no step is longer than the one before."""
    schedule = Hooks([trick]).build_schedule(Recipe(model="resnet8"))
    rates = [schedule(step, start, TOTAL).lr for step in range(start, TOTAL + 1)]
    assert rates[0] == 1
    assert all(after < before for before, after in itertools.pairwise(rates))
    for early, late in zip(rates, reversed(rates), strict=True):
        assert early + late == pytest.approx(1, rel=1e-12)


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


def test_linear_alone() -> None:
    recipe = Recipe(model="resnet8", epochs=EPOCHS, lr=0.1)

    def line(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        return lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=TOTAL)

    def polynomial(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        return lr_scheduler.PolynomialLR(optimizer, total_iters=TOTAL, power=1.0)

    for make in (line, polynomial):
        assert ours([Linear()], recipe) == pytest.approx(theirs(make, 0.1), rel=1e-12)


def test_warmup_then_linear() -> None:
    recipe = Recipe(model="resnet8", epochs=EPOCHS, lr=0.1)
    m = 3 * PER_EPOCH

    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        return lr_scheduler.SequentialLR(
            optimizer,
            [
                lr_scheduler.LinearLR(optimizer, 1 / m, 1.0, total_iters=m - 1),
                lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=TOTAL - m),
            ],
            milestones=[m],
        )

    assert ours([Linear(), Warmup(epochs=3)], recipe) == pytest.approx(theirs(make, 0.1), rel=1e-12)


SGD = {"lr": 0.2, "momentum": 0.9, "nesterov": True}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pct_start": 0.5, "anneal_strategy": "linear"},
        {"pct_start": 0.0},
        {"div_factor": 10.0, "final_div_factor": 100.0},
        {"base_momentum": 0.5, "max_momentum": 0.99, "pct_start": 0.123},
    ],
)
@pytest.mark.parametrize("total", [5, TOTAL, 1001])
def test_one_cycle_is_torchs(settings: dict[str, Any], total: int) -> None:
    recipe = Recipe(model="resnet8", lr=0.2, momentum=0.9)
    schedule = Hooks([OneCycle(**settings)]).build_schedule(recipe)
    weight = [torch.zeros(1, requires_grad=True)]
    sgd, adam = torch.optim.SGD(weight, **SGD), torch.optim.Adam(weight, lr=0.2)
    base = [[dict(group) for group in optimizer.param_groups] for optimizer in (sgd, adam)]
    their_sgd, their_adam = torch.optim.SGD(weight, **SGD), torch.optim.Adam(weight, lr=0.2)
    schedulers = [
        lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=total, **settings)
        for optimizer in (their_sgd, their_adam)
    ]
    for step in range(total):
        for optimizer, own in zip((sgd, adam), base, strict=True):
            set_factors(optimizer, own, schedule(step, 0, total))
        assert read(sgd, "momentum") == pytest.approx(read(their_sgd, "momentum"), rel=1e-12)
        assert read(adam, "betas") == pytest.approx(read(their_adam, "betas"), rel=1e-12)
        for scheduler, optimizer in zip(schedulers, (their_sgd, their_adam), strict=True):
            if step < total - 1:
                optimizer.step()
                scheduler.step()


def read(optimizer: torch.optim.Optimizer, momentum: str) -> list[float]:
    [group] = optimizer.param_groups
    value = group[momentum]
    return [group["lr"], *(value if isinstance(value, tuple) else (value,))]


def test_a_training_with_one_cycle_is_a_plain_loop_with_torchs() -> None:
    trained, tape = taped([OneCycle()], lr=0.05, epochs=4)
    schedulers = []

    def optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
        made = torch.optim.SGD(
            model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4
        )
        schedulers.append(lr_scheduler.OneCycleLR(made, 0.05, total_steps=len(tape)))
        return made

    def step(
        model: torch.nn.Module,
        made: torch.optim.Optimizer,
        images: torch.Tensor,
        targets: torch.Tensor,
    ) -> None:
        plain_step(model, made, images, targets)
        if schedulers[0].last_epoch < len(tape) - 1:
            schedulers[0].step()

    theirs = tape.replay(optimizer, step, settings=False)
    assert_same_model(trained.model, theirs, rtol=1e-4, atol=1e-6)


def test_one_cycle_after_a_warmup_spans_what_is_left() -> None:
    recipe = Recipe(model="resnet8", epochs=EPOCHS, lr=0.1)
    m = 5 * PER_EPOCH
    inner = Hooks([OneCycle()]).build_schedule(recipe)
    both = Hooks([OneCycle(), Warmup(epochs=5)]).build_schedule(recipe)
    assert [both(m + i, 0, TOTAL) for i in range(TOTAL - m)] == [
        inner(i, 0, TOTAL - m) for i in range(TOTAL - m)
    ]
    assert [both(i, 0, TOTAL).lr for i in range(m)] == pytest.approx(
        [(i + 1) / m / 25 for i in range(m)]
    )


def test_one_cycle_without_momentum_cycles_the_learning_rate_alone() -> None:
    still = Recipe(model="resnet8", momentum=0.0)
    schedule = Hooks([OneCycle()]).build_schedule(still)
    assert {schedule(step, 0, TOTAL).momentum for step in range(TOTAL)} == {1.0}
    [warning] = OneCycle().warnings(still)
    assert "only the learning rate cycles" in warning
    assert OneCycle().warnings(Recipe(model="resnet8")) == []


def test_shapes_that_a_training_is_too_short_for() -> None:
    recipe = Recipe(model="resnet8", epochs=2)
    assert Warmup(epochs=0.1).step_warnings(recipe, 20) == []  # two batches, at η/2 and η
    assert Hooks([Warmup(epochs=0.1)]).build_schedule(recipe)(0, 0, 40).lr == 0.5
    [said] = Warmup(epochs=0.1).step_warnings(recipe, 10)  # one batch, at 1·η/1
    assert said == "warmup of 0.1 epochs is no batch at a smaller rate: an epoch has 10"
    assert Hooks([Warmup(epochs=0.1)]).build_schedule(recipe)(0, 0, 20).lr == 1
    [said] = OneCycle().step_warnings(recipe, 1)
    assert said == "one_cycle does not rise: 30% of the training is 0.6 of its 2 steps"
    schedule = Hooks([OneCycle()]).build_schedule(recipe)
    assert schedule(0, 0, 2).lr > schedule(1, 0, 2).lr
    assert OneCycle().step_warnings(recipe, 10) == []


def test_a_schedule_cannot_bring_momentum_to_1() -> None:
    """Adam's β₁ of 0.9 at a recipe whose momentum is 0.5 would become 1.71."""
    with pytest.raises(
        TrickError, match=r"'one_cycle', build_schedule: .*0\.9 times 1\.9 is 1\.71"
    ):
        run([Adam(), OneCycle()], momentum=0.5, lr=1e-3)


@pytest.mark.parametrize("trick", [Linear, OneCycle])
def test_contract(trick: type[Trick]) -> None:
    assert "weights" in check_trick(trick)


def test_words() -> None:
    assert Linear().describe() == "schedule: step → linear"
    words = "schedule: step → one cycle, up for 30%, momentum 0.95 → 0.85 → 0.95"
    assert OneCycle().describe() == words
