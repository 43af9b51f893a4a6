"""ema against torch's AveragedModel and timm's ModelEmaV3 beside the same training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import PrivateAttr
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ablate import Trick, hookimpl
from ablate.core.hook_types import Run
from ablate.core.recipe import Recipe
from ablate.engine import checkpoint
from ablate.testing import check_trick
from ablate_tricks.ema import Ema
from tests.helpers.support import Memory, run, same, weights
from tests.helpers.tape import taped

SETTINGS: dict[str, Any] = {"epochs": 3}


def torchs(start: nn.Module, decay: float) -> tuple[nn.Module, Callable[[nn.Module], None]]:
    """(averaged model, what to do after a step). Its first call copies, so it gets the start."""
    average = AveragedModel(start, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    average.update_parameters(start)
    return average.module, average.update_parameters


def timms(start: nn.Module, decay: float) -> tuple[nn.Module, Callable[[nn.Module], None]]:
    average = ModelEmaV3(start, decay=decay)
    return average.module, average.update


class Beside(Trick):
    """Another implementation, after every step of the same training."""

    name = "zz_beside"
    _made: Any = PrivateAttr(None)
    _states: Any = PrivateAttr(None)
    _seen: Any = PrivateAttr(None)

    @hookimpl
    def on_trial_start(self, run: Run) -> None:
        self._states = []

    @hookimpl
    def on_step_end(self, run: Run) -> None:
        self._states.append(copy.deepcopy(run.model))

    @hookimpl(wrapper=True)
    def eval_model(self) -> Any:
        self._seen = yield
        return self._seen


def floats(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if value.is_floating_point()}


@pytest.mark.parametrize("implementation", [torchs, timms])
@pytest.mark.parametrize("decay", [0.3, 0.99])
def test_the_evaluated_model_is_theirs(implementation: Any, decay: float) -> None:
    """Weights and batch norm's statistics, to the bit."""
    beside = Beside()
    trained, tape = taped([Ema(decay=decay), beside], **SETTINGS)
    averaged, update = implementation(tape.start, decay)
    for model in beside._states:
        update(model)
    ours, theirs = floats(beside._seen.state_dict()), floats(averaged.state_dict())
    assert any("running_var" in name for name in ours)
    assert same(ours, theirs)
    assert not same(ours, floats(trained.model.state_dict()))


def test_scores_are_those_of_the_average() -> None:
    beside = Beside()
    _, memory = run([Ema(decay=0.5), beside], **SETTINGS)
    _, plain = run(**SETTINGS)
    assert memory.tested is not None
    assert plain.tested is not None
    assert not (memory.tested.scores == plain.tested.scores).all()
    assert memory.records[-1]["metrics"]["loss"] == memory.tested.metrics["loss"]


def test_the_training_stays_as_it_was() -> None:
    assert same(weights(run([Ema()], **SETTINGS)[0]), weights(run(**SETTINGS)[0]))


def test_without_decay_it_is_the_model() -> None:
    _, memory = run([Ema(decay=0)], **SETTINGS)
    _, plain = run(**SETTINGS)
    assert [r["metrics"] for r in memory.records] == [r["metrics"] for r in plain.records]
    assert memory.tested is not None
    assert plain.tested is not None
    assert (memory.tested.scores == plain.tested.scores).all()


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_the_average_survives_a_checkpoint(epoch: int, tmp_path: Any) -> None:
    """After the last epoch too, when only the scores were still to be written."""
    _, whole = run([Ema(decay=0.9)], **SETTINGS)
    path = tmp_path / "checkpoint.pt"
    with path.open("wb") as file:
        checkpoint.write(whole.states[epoch], file)
    _, rest = run([Ema(decay=0.9)], Memory(saved=checkpoint.read(path)), **SETTINGS)
    assert [r["metrics"] for r in rest.records] == [
        r["metrics"] for r in whole.records[epoch + 1 :]
    ]
    assert rest.tested is not None
    assert whole.tested is not None
    assert (rest.tested.scores == whole.tested.scores).all()
    for saved in rest.states[-1:]:
        ours, theirs = (s["tricks"]["ema"]["average"] for s in (saved, whole.states[-1]))
        assert same(ours, theirs)


def test_contract() -> None:
    changed = check_trick(Ema)
    assert "scores" in changed
    assert "weights" not in changed


def test_words() -> None:
    words = "evaluation: last weights → their moving average, decay 0.99"
    assert Ema().describe() == words


def test_a_training_too_short_for_its_average_says_how_much_of_it_is_left() -> None:
    """The share of the initial weights, by torch's own average of a 1 that becomes 0."""
    recipe = Recipe(model="resnet8", epochs=3)
    weight = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        weight.weight.fill_(1.0)
    average = AveragedModel(weight, multi_avg_fn=get_ema_multi_avg_fn(0.9999))
    average.update_parameters(weight)  # the first call copies
    with torch.no_grad():
        weight.weight.zero_()
    for _ in range(3 * 18):
        average.update_parameters(weight)
    left = average.module.weight.item()
    [said] = Ema(decay=0.9999).step_warnings(recipe, 18)
    assert said == (
        "99.5% of the average that is evaluated is the initial weights: decay 0.9999 over 54 "
        "steps; 0.918 would leave 1%"
    )
    assert f"{left:.1%}" == "99.5%"
    assert pytest.approx(0.01, abs=2e-4) == 0.918**54
    assert Ema(decay=0.918).step_warnings(recipe, 18) == []
    assert "over 99.9% of" in Ema(decay=0.999999).step_warnings(recipe, 18)[0]
    assert Ema(decay=0.0).warnings(recipe) == [
        "ema: decay 0 evaluates the last weights, as without it"
    ]
    assert Ema().warnings(recipe) == []
