"""Losses and weights that are not finite: when that ends a trial, and when it must not."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ablate import Trick, hookimpl
from ablate.engine.recorder import Memory
from ablate.errors import Diverged
from ablate_tricks.fp16 import Fp16
from tests.helpers.support import run

EPOCHS, STEPS = 2, 2  # 40 images, batches of 16


class Linear(Trick):
    """The smallest model."""

    @hookimpl
    def build_model(self, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, num_classes))


class Spoils(Trick):
    """Makes the loss of one step, or what is evaluated after one epoch, something else."""

    value: str  # parameters are finite numbers
    step: int = -1
    evaluation: int = -1
    gradients: bool = False
    _step: int = 0

    @hookimpl(wrapper=True)
    def compute_loss(self) -> Any:
        loss = yield
        self._step += 1
        spoilt = self._step - 1 == self.step and not self.gradients
        return loss * float(self.value) if spoilt else loss

    @hookimpl(wrapper=True)
    def transform_gradients(self) -> Any:
        grads = yield
        spoilt = self._step - 1 == self.step and self.gradients
        return [grad * float(self.value) for grad in grads] if spoilt else grads

    @hookimpl(wrapper=True)
    def eval_model(self, run: Any) -> Any:
        model = yield
        if run.epoch != self.evaluation:
            return model
        model = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(float(self.value))
        return model


def trained(tricks: Sequence[Trick], **settings: Any) -> tuple[str, Memory]:
    """(how it diverged, "" if it did not; what was recorded)."""
    memory = Memory()
    try:
        run([Linear(), *tricks], memory, epochs=EPOCHS, **settings)
    except Diverged as error:
        return str(error), memory
    return "", memory


def test_what_is_not_finite_ends_a_trial_as_diverged_with_its_epochs_kept(
    proved: Callable[..., None],
) -> None:
    last = EPOCHS * STEPS - 1
    cases: list[tuple[dict[str, Any], int, str]] = []
    for value in ("nan", "inf", "-inf"):
        cases += [
            ({"value": value, "step": 0}, 1, "training loss is no longer finite in epoch 1"),
            (
                {"value": value, "step": last},
                EPOCHS,
                "training loss is no longer finite in epoch 2",
            ),
            ({"value": value, "step": 0, "gradients": True}, 1, "no longer finite in epoch 1"),
            ({"value": value, "step": last, "gradients": True}, EPOCHS, "test loss of the last"),
            ({"value": value, "evaluation": EPOCHS - 1}, EPOCHS, "test loss of the last epoch"),
        ]
    for settings, epochs, said in cases:
        how, memory = trained([Spoils(**settings)])
        assert said in how, settings
        assert len(memory.records) == epochs, settings
    for lr in (1e30, 3e38):
        how, memory = trained([], lr=lr)
        assert "finite" in how
        assert memory.records
    proved("training", "a loss is NaN or infinite",
           "by the loss or the gradients of the first or the last step, by weights that are "
           "evaluated, by a learning rate of 1e30",
           len(cases) + 2, "nothing: diverged, its epochs kept")  # fmt: skip


def test_what_is_not_finite_for_a_while_ends_nothing(proved: Callable[..., None]) -> None:
    times = 0
    # earlier than the last epoch, a test loss may overflow
    how, memory = trained([Spoils(value="nan", evaluation=0)])
    assert how == ""
    assert math.isnan(memory.records[0]["metrics"]["loss"])
    assert math.isfinite(memory.records[1]["metrics"]["loss"])
    times += 1
    # FP16's step is left out where a gradient overflows, and the loss scale falls
    scale = memory_scale(trained([Fp16()])[1])
    for step in range(EPOCHS * STEPS):
        how, memory = trained([Fp16(), Overflows(step=step)])
        assert how == "", step
        assert memory_scale(memory) == scale / 2, step
        times += 1
    proved("training", "a value overflows where that is no error",
           "a test loss before the last epoch; a gradient of FP16 in each step",
           times, "nothing; FP16 leaves the step out")  # fmt: skip


class Overflows(Trick):
    """Makes one step's gradients infinite where FP16 looks for that: before they are unscaled."""

    step: int
    _step: int = 0

    @hookimpl(wrapper=True)
    def compute_loss(self) -> Any:
        loss = yield
        self._step += 1
        if self._step - 1 != self.step:
            return loss
        return Infinite.apply(loss)


class Infinite(torch.autograd.Function):
    """The loss as it is, with infinite gradients."""

    @staticmethod
    def forward(context: Any, loss: torch.Tensor) -> torch.Tensor:
        return loss.clone()

    @staticmethod
    def backward(context: Any, *grads: torch.Tensor) -> torch.Tensor:
        return grads[0] * math.inf


def memory_scale(memory: Memory) -> float:
    return float(memory.states[-1]["number_format"]["scale"])
