"""adam, adamw and rmsprop against torch's, in a plain loop over the same batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from ablate import Trick
from ablate.core.recipe import Recipe
from ablate.testing import check_trick
from ablate.tricks.ordering import stack_problems
from ablate_tricks.adam import Adam
from ablate_tricks.adamw import Adamw
from ablate_tricks.no_bias_decay import NoBiasDecay
from ablate_tricks.rmsprop import Rmsprop
from tests.helpers.support import Memory, run, same, weights
from tests.helpers.tape import assert_same_model, taped

LR, DECAY = 0.003, 0.05
SETTINGS: dict[str, Any] = {"lr": LR, "weight_decay": DECAY, "epochs": 3}
Make = Callable[[nn.Module], torch.optim.Optimizer]
O = torch.optim  # noqa: E741

CASES: list[tuple[Trick, Make]] = [
    (Adam(), lambda m: O.Adam(m.parameters(), lr=LR, weight_decay=DECAY)),
    (
        Adam(beta1=0.8, beta2=0.95, eps=1e-3),
        lambda m: O.Adam(m.parameters(), LR, (0.8, 0.95), 1e-3, DECAY),
    ),
    (Adamw(), lambda m: O.AdamW(m.parameters(), lr=LR, weight_decay=DECAY)),
    (
        Adamw(beta1=0.8, beta2=0.95, eps=1e-3),
        lambda m: O.AdamW(m.parameters(), LR, (0.8, 0.95), 1e-3, DECAY),
    ),
    (Rmsprop(), lambda m: O.RMSprop(m.parameters(), lr=LR, weight_decay=DECAY)),
    (
        Rmsprop(alpha=0.9, eps=1e-3, momentum=0.5, centered=True),
        lambda m: O.RMSprop(m.parameters(), LR, 0.9, 1e-3, DECAY, 0.5, centered=True),
    ),
]
NAMES = ["adam", "adam-set", "adamw", "adamw-set", "rmsprop", "rmsprop-set"]


@pytest.mark.parametrize(("trick", "make"), CASES, ids=NAMES)
def test_a_plain_loop_with_torchs_optimizer_gives_the_same_weights(
    trick: Trick, make: Make
) -> None:
    trained, tape = taped([trick], **SETTINGS)
    assert_same_model(trained.model, tape.replay(make))


def test_the_defaults_are_torchs() -> None:
    weight = [nn.Parameter(torch.zeros(1))]
    recipe = Recipe(model="resnet8", lr=1e-3)
    for trick, theirs in (
        (Adam(), O.Adam(weight)),
        (Adamw(), O.AdamW(weight)),
        (Rmsprop(), O.RMSprop(weight)),
    ):
        ours = trick.build_optimizer([{"params": weight}], recipe)
        assert type(ours) is type(theirs)
        own = {"lr", "weight_decay"}  # the recipe's
        assert {k: v for k, v in ours.defaults.items() if k not in own} == {
            k: v for k, v in theirs.defaults.items() if k not in own
        }
        assert (ours.defaults["lr"], ours.defaults["weight_decay"]) == (1e-3, 1e-4)


def test_a_first_adam_step_is_lr_long_whatever_the_gradient() -> None:
    """m̂/√v̂ is ±1 at t = 1."""
    weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    recipe = Recipe(model="resnet8", lr=0.01, weight_decay=0)
    optimizer = Adam().build_optimizer([{"params": [weight]}], recipe)
    weight.grad = torch.tensor([1e-3, -5.0, 1e4])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.99, 2.01, 2.99]))


@pytest.mark.parametrize("trick", [Adam, Adamw, Rmsprop])
def test_groups_keep_their_own_decay(trick: type[Trick]) -> None:
    trained, _ = run([trick(), NoBiasDecay()], **(SETTINGS | {"epochs": 1}))
    assert [g["weight_decay"] for g in trained.optimizer.param_groups] == [DECAY, 0.0]


@pytest.mark.parametrize("trick", [Adam, Adamw, Rmsprop])
def test_resumed_training_is_the_uninterrupted_one(trick: type[Trick]) -> None:
    whole, memory = run([trick()], **SETTINGS)
    resumed, _ = run([trick()], Memory(saved=memory.states[0]), **SETTINGS)
    assert same(weights(resumed), weights(whole))


@pytest.mark.parametrize("trick", [Adam, Adamw, Rmsprop])
def test_contract(trick: type[Trick]) -> None:
    assert "weights" in check_trick(trick)


def test_one_optimizer_a_row() -> None:
    [problem] = stack_problems([Adam(), Rmsprop()])
    assert problem.startswith("adam and rmsprop")
    assert problem.endswith("replace build_optimizer")


@pytest.mark.parametrize("trick", [Adam(), Adamw(), Rmsprop()], ids=lambda t: str(t.name))
def test_sgds_learning_rate_is_warned_of(trick: Trick) -> None:
    assert trick.warnings(Recipe(model="resnet8", lr=1e-3)) == []
    [text] = trick.warnings(Recipe(model="resnet8", lr=0.1))
    assert text.startswith(f"{trick.name} trains at the recipe's lr 0.1, ")


def test_words() -> None:
    assert Adam().describe() == "optimizer: SGD → Adam, β 0.9 and 0.999"
    assert Adamw(beta2=0.95).describe() == "optimizer: SGD → AdamW, β 0.9 and 0.95"
    assert Rmsprop().describe() == "optimizer: SGD → RMSprop, α 0.99"
    words = "optimizer: SGD → RMSprop, α 0.99, momentum 0.9, centred"
    assert Rmsprop(momentum=0.9, centered=True).describe() == words
