"""`ablate.testing`: every bundled trick keeps the contract, every way of breaking it is named."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ConfigDict, Field, PrivateAttr
from torch import Tensor, nn

from ablate import Batch, Trick, hookimpl
from ablate.errors import TrickError
from ablate.testing import ContractError, Hooks, check_trick, tiny_batch, train_tiny
from ablate.tricks.discovery import load_catalogue

CATALOGUE = load_catalogue(bundled_only=True)
# resnet8 has no 7×7 stem and no bottlenecks.
RECIPES: dict[str, dict[str, Any]] = {
    "resnet_b": {"model": "resnet50_v1", "batch_size": 4, "epochs": 2},
    "resnet_c": {"model": "resnet18"},
    "resnet_d": {"model": "resnet18"},
    "progressive_resizing": {"image_size": 32},
}
# What act on the recipe or the evaluation alone.
CHANGES = {"linear_scaling": "recipe", "test_resolution": "recipe", "ema": "scores"}


# resnet_b's small model is a ResNet-50; distill learns from another trial, which the kit has not.
APART = {"resnet_b", "distill"}


# Of each kind of hook one, and every one that the kit must be told of; --long checks all.
FIRST = {*RECIPES, *CHANGES, "mixup", "cosine", "sam", "no_bias_decay", "fp16"}
KEEPING = [
    pytest.param(n, marks=[pytest.mark.long] * (n not in FIRST))
    for n in CATALOGUE.names
    if n not in APART
]


@pytest.mark.parametrize("name", KEEPING)
def test_bundled_tricks_keep_the_contract(name: str) -> None:
    changed = check_trick(CATALOGUE.load(name).cls, recipe=RECIPES.get(name))
    assert CHANGES.get(name, "weights") in changed


@pytest.mark.long
def test_resnet_b_keeps_the_contract() -> None:
    assert "weights" in check_trick(CATALOGUE.load("resnet_b").cls, recipe=RECIPES["resnet_b"])


def broken(trick: type[Trick], **options: Any) -> str:
    with pytest.raises(ContractError) as raised:
        check_trick(trick, **options)
    return str(raised.value)


class Scaled(Trick):
    """The base of the broken ones: multiplies the targets."""

    by: float = Field(0.5, gt=0, description="factor")

    @hookimpl(wrapper=True)
    def encode_targets(self) -> Generator[None, Tensor, Tensor]:
        return self.by * (yield)


def test_a_sound_trick_passes_and_says_what_it_changed() -> None:
    assert check_trick(Scaled, by=0.25) == {"weights", "metrics", "scores"}


def test_nothing_changed() -> None:
    assert broken(Scaled, by=1) == "scaled: changes nothing with {'by': 1}"


def test_parameters_without_description() -> None:
    class Mute(Scaled):
        more: int = 1

    assert "mute.more has no description" in broken(Mute)


def test_parameters_that_can_be_assigned_to() -> None:
    class Thawed(Scaled):
        model_config = ConfigDict(frozen=False)

    assert "thawed.by can be assigned to" in broken(Thawed)


def test_unknown_parameters_taken() -> None:
    class Lenient(Scaled):
        model_config = ConfigDict(extra="ignore")

    assert broken(Lenient) == "lenient takes parameters that it does not have"


def test_global_generators_moved() -> None:
    class Moves(Scaled):
        @hookimpl
        def on_step_end(self) -> None:
            torch.rand(1)
            random.random()
            np.random.rand(1)

    message = broken(Moves)
    assert "python generator, numpy generator, torch generator changed" in message


def test_global_generators_read() -> None:
    class Reads(Scaled):
        @hookimpl(wrapper=True)
        def encode_targets(self) -> Generator[None, Tensor, Tensor]:
            targets = yield
            state = torch.get_rng_state()
            noise = torch.rand(())
            torch.set_rng_state(state)
            return targets * noise

    assert "reads" in broken(Reads)


def test_state_that_is_not_saved() -> None:
    class Forgets(Scaled):
        _steps: int = PrivateAttr(0)

        @hookimpl
        def on_step_end(self) -> None:
            self._steps += 1

        @hookimpl(wrapper=True)
        def encode_targets(self) -> Generator[None, Tensor, Tensor]:
            return (yield) * (1 + self._steps)

    assert "resumed after epoch 1 differs" in broken(Forgets)


def test_state_that_is_saved_passes() -> None:
    class Remembers(Scaled):
        _steps: int = PrivateAttr(0)

        @hookimpl
        def on_step_end(self) -> None:
            self._steps += 1

        @hookimpl(wrapper=True)
        def encode_targets(self) -> Generator[None, Tensor, Tensor]:
            return (yield) * (1 + self._steps)

        def state_dict(self) -> dict[str, Any]:
            return {"steps": self._steps}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self._steps = state["steps"]

    check_trick(Remembers)


def test_state_that_is_code() -> None:
    class Pickles(Scaled):
        def state_dict(self) -> dict[str, Any]:
            return {"function": os.getcwd}

    with pytest.raises(TrickError, match="state_dict: holds a builtin_function"):
        check_trick(Pickles)


def test_errors_swallowed() -> None:
    class Swallows(Scaled):
        @hookimpl(wrapper=True)
        def compute_loss(self, logits: Tensor) -> Generator[None, Tensor, Tensor]:
            try:
                return (yield) * 2
            except BaseException:  # noqa: BLE001 - what tricks must not do
                return logits.mean()

    assert "compute_loss swallows errors" in broken(Swallows)


def test_what_is_not_put_back_after_an_error() -> None:
    class Leaves(Scaled):
        @hookimpl(wrapper=True)
        def encode_targets(self) -> Generator[None, Tensor, Tensor]:
            os.environ["ABLATE_TEST_LEFT"] = "1"
            targets = yield
            del os.environ["ABLATE_TEST_LEFT"]
            return 2 * targets

    try:
        assert "leaves environment changed" in broken(Leaves)
    finally:
        os.environ.pop("ABLATE_TEST_LEFT", None)


def test_a_method_of_torchs_is_not_left_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    original = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", original)  # put back after the test

    class Patches(Scaled):
        @hookimpl
        def on_trial_start(self) -> None:
            nn.Linear.forward = lambda layer, x: original(layer, 2 * x)  # type: ignore[method-assign]

    assert "leaves functions changed" in broken(Patches)


def test_what_only_a_later_training_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = sys.modules["torch.nn.modules.linear"]
    doubling = SimpleNamespace(linear=lambda x, *weights: nn.functional.linear(2 * x, *weights))
    monkeypatch.setattr(layers, "F", nn.functional)  # put back after the test

    class Replaces(Scaled):
        @hookimpl
        def on_trial_start(self) -> None:
            layers.F = doubling  # type: ignore[attr-defined]

    assert "a training without it gives another result" in broken(Replaces)


def test_parameters_changed_while_training() -> None:
    class Grows(Scaled):
        values: list[int] = Field(default_factory=list, description="grows")

        @hookimpl
        def on_step_end(self) -> None:
            self.values.append(1)

    assert "its parameters changed while it trained" in broken(Grows)


def test_a_tiny_batch_is_the_first_that_is_trained_on() -> None:
    class Looks(Scaled):
        _seen: Any = PrivateAttr(default_factory=list)

        @hookimpl
        def on_step_end(self, batch: Batch) -> None:
            self._seen.append(batch)

    looks = Looks(by=1)
    train_tiny([looks], seed=3, epochs=1)
    seen, batch = looks._seen[0], tiny_batch(seed=3)
    assert torch.equal(batch.images, seen.images)
    assert torch.equal(batch.targets, seen.targets)
    assert np.array_equal(batch.ids, seen.ids)
    assert (batch.epoch, batch.step) == (0, 0)


def test_one_hook_alone_takes_arguments_by_name_and_leaves_out_those_that_nobody_names() -> None:
    class Logs(Scaled):
        @hookimpl
        def extra_losses(self, batch: Batch) -> dict[str, Tensor]:
            return {"mean": batch.images.mean()}

    hooks, batch = Hooks([Logs(by=0.25)]), tiny_batch()
    targets = hooks.encode_targets(num_classes=10, labels=batch.labels)
    assert torch.equal(targets, 0.25 * nn.functional.one_hot(batch.labels, 10).float())
    assert hooks.extra_losses(batch=batch) == [{"mean": batch.images.mean()}]
    assert hooks.on_epoch_end() == []
    with pytest.raises(TypeError, match=r"extra_losses\(run, batch, outputs\) .* without batch"):
        hooks.extra_losses(outputs=None)
    with pytest.raises(TypeError, match="was called without num_classes with classes"):
        hooks.encode_targets(batch.labels, classes=10)
    with pytest.raises(TypeError, match="was called with 3 arguments"):
        hooks.encode_targets(batch.labels, 10, 11)


def test_a_tiny_training_is_the_same_each_time() -> None:
    first, second = train_tiny(), train_tiny()
    assert first.metrics == second.metrics
    assert len(first.records) == len(first.checkpoints) == 2
    assert first.tested is not None
    assert first.tested.scores.shape == (40, 10)
