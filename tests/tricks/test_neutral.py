"""Where a trick's parameter leaves nothing to do, the training is the one without it, bit for bit.

Weights, batch norm's statistics, metrics and predictions, on the model where the trick acts.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ablate import Trick, hookimpl
from ablate.core.hook_types import Run
from ablate.core.recipe import Recipe
from ablate.models.init import initialise
from ablate_tricks.rmsprop import Rmsprop
from tests.helpers.installed import Training, alone, made, trained
from tests.helpers.support import run, weights

# Too small to change a number in FP32, and allowed where 0 is not; so are 1e30 and 1e-30 below.
TINY = 1e-12

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # (trick, parameters, settings of both trainings)
    ("dropout", {"p": TINY}, {}),
    ("ema", {"decay": 0.0}, {}),
    ("gradient_clipping", {"max_norm": 1e30}, {}),
    ("label_smoothing", {"epsilon": 0.0}, {}),
    ("label_smoothing", {"epsilon": 0.0, "form": "others"}, {}),
    ("linear_scaling", {"base": 8}, {}),
    ("no_bias_decay", {}, {"weight_decay": 1e-30}),
    ("pca_lighting", {"std": TINY}, {}),
    ("sam", {"rho": 0.0}, {}),
    ("stochastic_depth", {"p": TINY}, {}),
    ("test_resolution", {"factor": 1.0}, {}),
    ("warmup", {"epochs": TINY}, {}),
    (
        "one_cycle",
        {"div_factor": 1.0, "final_div_factor": 1.0, "base_momentum": 0.9, "max_momentum": 0.9},
        {"schedule": {"milestones": []}},
    ),
]


@pytest.mark.parametrize(("name", "parameters", "settings"), CASES, ids=[case[0] for case in CASES])
def test_with_nothing_to_do_it_is_the_training_without(
    name: str, parameters: dict[str, Any], settings: dict[str, Any]
) -> None:
    neutral = trained([made(name, **parameters)], **settings)
    assert neutral.same(trained(**settings))
    assert not neutral.same(alone(name))  # with its own parameters it has something to do


def test_without_weight_decay_adamw_is_adam() -> None:
    def by(name: str, decay: float) -> Training:
        return trained([made(name)], lr=0.001, weight_decay=decay)

    assert by("adamw", 0.0).same(by("adam", 0.0))
    assert not by("adamw", 0.1).same(by("adam", 0.1))


def test_without_memory_rmsprop_steps_by_the_sign() -> None:
    """α = 0: g/√g²."""
    weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    recipe = Recipe(model="resnet8", lr=0.01, weight_decay=0)
    optimizer = Rmsprop(alpha=0.0).build_optimizer([{"params": [weight]}], recipe)
    for _ in range(2):
        weight.grad = torch.tensor([1e-3, -5.0, 1e4])
        optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.98, 2.02, 2.98]))


class Mirror(nn.Module):
    """A teacher that says what the student says."""

    student: nn.Module

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.student(images))


class Introduces(Trick):
    teacher: Any

    @hookimpl
    def on_trial_start(self, run: Run) -> None:
        object.__setattr__(self.teacher, "student", run.model)


def test_a_teacher_that_agrees_adds_no_gradient() -> None:
    settings: dict[str, Any] = {"model": f"{__name__}:normless", "image_size": 32}
    teacher = Mirror()
    tricks = [made("distill", temperature=4.0), Introduces(teacher=teacher)]
    taught, _ = run(tricks, teacher=teacher, **settings)
    disagreeing, _ = run(
        [made("distill", temperature=4.0)], teacher=initialise(normless(10), 1), **settings
    )
    plain = weights(run(**settings)[0])
    for name, value in weights(taught).items():
        torch.testing.assert_close(value, plain[name], rtol=1e-4, atol=1e-6)
    moved = max(
        (value - plain[name]).abs().max().item() for name, value in weights(disagreeing).items()
    )
    assert moved > 1e-3  # the comparison above can tell


def normless(num_classes: int) -> nn.Module:
    """Without batch norm, no layer looks across the images of a batch."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
        nn.Flatten(), nn.Linear(128, num_classes),
    )  # fmt: skip


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulated_parts_are_the_whole_batch_without_batch_norm(parts: int) -> None:
    """2 × b is 2b, but for the rounding of sums in another order."""
    accumulate = made("gradient_accumulation", micro_batches=parts)
    ours = trained([accumulate], model=f"{__name__}:normless")
    whole = trained(model=f"{__name__}:normless")
    start = whole.memory.states[0]["model"]
    for name, value in whole.weights.items():
        torch.testing.assert_close(ours.weights[name], value, rtol=1e-4, atol=1e-6)
        assert not torch.equal(value, start[name])
