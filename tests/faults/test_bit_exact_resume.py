"""Every installed trick, resumed at the end of each epoch: bit for bit the uninterrupted training.

The checkpoint goes through a file, as a killed trial's does, and the tricks are made afresh.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import PrivateAttr

from ablate import Factors, Mixer, Trick, hookimpl
from ablate.engine import checkpoint
from ablate.engine.precision import NumberFormat
from ablate.tricks.ordering import stack_problems
from ablate_tricks.ema import Ema
from ablate_tricks.progressive_resizing import ProgressiveResizing
from tests.helpers.installed import NAMES, Training, lr_for, made, trained

EPOCHS = 4
# So that each trick does something else before the first epoch's end than after it.
PARAMETERS: dict[str, dict[str, Any]] = {
    "warmup": {"epochs": 1.5},
    "progressive_resizing": {"step": 4},
    "ema": {"decay": 0.7},
}
# FP16's gradients overflow from here, and its scale falls, within the first epoch and after it.
LOSS_SCALE = 2.0**19

Make = Callable[[], Sequence[Trick]]


def train(make: Make, saved: dict[str, Any] | None = None) -> Training:
    tricks = make()
    lr = lr_for(*(trick.name for trick in tricks))
    return trained(tricks, saved, epochs=EPOCHS, loss_scale=LOSS_SCALE, lr=lr)


def resumed(make: Make, whole: Training, epoch: int, folder: Path) -> Training:
    """The training from its checkpoint after `epoch` epochs."""
    path = folder / f"{epoch}.pt"
    with path.open("wb") as file:
        checkpoint.write(whole.memory.states[epoch - 1], file)
    return train(make, checkpoint.read(path))


def equal(a: Any, b: Any) -> bool:
    """Bit for bit, whatever checkpoints are made of."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def differences(whole: Training, later: Training, epoch: int) -> set[str]:
    """In what a training resumed after `epoch` epochs differs from the whole one."""
    found = {
        "weights": equal(whole.weights, later.weights),
        "metrics": equal(whole.metrics[epoch:], later.metrics),
        "predictions": equal(whole.scores, later.scores),
    }
    if later.memory.states:  # after the last epoch, only the predictions were still to be made
        ends = (copy.copy(training.memory.states[-1]) for training in (whole, later))
        a, b = ({k: v for k, v in end.items() if k != "history"} for end in ends)
        found["checkpoint"] = equal(a, b)
    return {name for name, is_equal in found.items() if not is_equal}


def check(make: Make, folder: Path, epochs: Sequence[int] = range(1, EPOCHS + 1)) -> int:
    """Fails for any difference; how many resumed trainings were compared."""
    whole = train(make)
    assert not equal(whole.memory.states[0]["model"], whole.weights)
    for epoch in epochs:
        later = resumed(make, whole, epoch, folder)
        assert len(later.metrics) == EPOCHS - epoch
        assert differences(whole, later, epoch) == set(), f"resumed after epoch {epoch}"
    return len(epochs)


def installed(*names: str) -> Make:
    return lambda: [made(name, **PARAMETERS.get(name, {})) for name in names]


def together() -> list[tuple[str, ...]]:
    """Few stacks that have every trick: each with all that can stand beside what it has."""
    stacks: list[tuple[str, ...]] = []
    while missing := set(NAMES).difference(*stacks):
        stack: list[str] = []
        for name in [*sorted(missing), *(n for n in NAMES if n not in missing)]:
            if not stack_problems(installed(*stack, name)()):
                stack.append(name)
        stacks.append(tuple(sorted(stack)))
    return stacks


TOGETHER = together()


@pytest.mark.parametrize("name", ["", *NAMES])
def test_a_resumed_training_is_the_uninterrupted_one(
    name: str, tmp_path: Path, proved: Callable[..., None], long: bool
) -> None:
    epochs = range(1, EPOCHS + 1) if long else [2]
    times = check(installed(name) if name else list, tmp_path, epochs)
    # One row of the table for all of them: equal rows are added up.
    where = (
        f"at each of {EPOCHS} epochs' ends, the last one's too"
        if long
        else "after its second epoch"
    )
    proved("checkpoints", "a training is resumed",
           f"the baseline and each of the {len(NAMES)} bundled tricks, from its checkpoint {where}",
           times, "nothing: weights, metrics, predictions bit for bit")  # fmt: skip


@pytest.mark.parametrize("stack", TOGETHER, ids=lambda stack: f"{len(stack)}-with-{stack[0]}")
def test_all_that_can_stand_together_resumes(stack: tuple[str, ...], tmp_path: Path) -> None:
    assert len(TOGETHER) <= 3
    check(installed(*stack), tmp_path, [2])


def test_the_resumed_part_is_one_where_the_tricks_act() -> None:
    """Else the tests above would show nothing of the tricks whose action depends on the epoch."""
    resizing = ProgressiveResizing(**PARAMETERS["progressive_resizing"])
    sizes = [resizing.side(32, epoch, EPOCHS) for epoch in range(EPOCHS)]
    assert len(set(sizes)) == EPOCHS
    scales = [s["number_format"]["scale"] for s in train(installed("fp16")).memory.states]
    assert scales[0] < LOSS_SCALE
    assert scales[-1] < scales[0]
    warmed, plain = train(installed("warmup")), train(list)
    assert warmed.metrics[1]["lr"] == pytest.approx(plain.metrics[1]["lr"], rel=1e-12)


# What a trick can get wrong, and a trick that does.


class ForgetsTheAverage(Ema):
    """Starts a new average where the training goes on."""

    name = "forgets_the_average"

    @hookimpl
    def on_epoch_start(self, run: Any) -> None:
        if self._average is None:
            self.on_trial_start(run)
        super().on_epoch_start(run)

    def state_dict(self) -> dict[str, Any]:
        return {}


class KeepsAnOldAverage(Ema):
    """Saves the first epoch's average every time."""

    name = "keeps_an_old_average"
    _first: Any = PrivateAttr(None)

    def state_dict(self) -> dict[str, Any]:
        self._first = self._first or copy.deepcopy(super().state_dict())
        return dict(self._first)


class CountsItself(Trick):
    """Counts the steps of this process, not those of the training."""

    _steps: int = PrivateAttr(0)

    @hookimpl(wrapper=True)
    def build_schedule(self) -> Any:
        inner = yield

        def schedule(step: int, start: int, total: int) -> Factors:
            return Factors(lr=inner(step, start, total).lr * min((self._steps + 1) / 6, 1))

        return schedule

    @hookimpl
    def on_step_end(self) -> None:
        self._steps += 1


class OwnGenerator(Trick):
    """Draws from a generator that begins anew in each process."""

    _generator: Any = PrivateAttr(None)

    @hookimpl
    def batch_mixers(self) -> Mixer:
        generator = torch.Generator().manual_seed(0)

        def apply(images: Any, targets: Any, draws: Any) -> Any:
            return images + torch.rand(images.shape, generator=generator), targets

        return Mixer("own_generator", apply)


class ForgetsAMetric(Trick):
    """A metric over the whole training that is not saved."""

    _steps: int = PrivateAttr(0)

    @hookimpl
    def on_step_end(self) -> None:
        self._steps += 1

    @hookimpl
    def extra_metrics(self) -> dict[str, float]:
        return {"steps": self._steps}


@pytest.mark.parametrize(
    ("wrong", "seen"),
    [
        (ForgetsTheAverage, {"metrics", "predictions"}),
        (KeepsAnOldAverage, {"metrics", "predictions"}),
        (CountsItself, {"weights", "metrics", "predictions", "checkpoint"}),
        (OwnGenerator, {"weights", "metrics", "predictions", "checkpoint"}),
        (ForgetsAMetric, {"metrics"}),
    ],
)
def test_a_trick_that_forgets_is_seen(wrong: type[Trick], seen: set[str], tmp_path: Path) -> None:
    def make() -> list[Trick]:
        return [wrong(**({"decay": 0.7} if issubclass(wrong, Ema) else {}))]

    whole = train(make)
    assert differences(whole, resumed(make, whole, 2, tmp_path), 2) >= seen


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("fp16", NumberFormat),
        ("adam", torch.optim.Adam),
        ("", torch.optim.SGD),
    ],
)
def test_state_that_is_not_taken_back_is_seen(
    name: str, owner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = installed(name) if name else list
    whole = train(make)
    monkeypatch.setattr(owner, "load_state_dict", lambda self, state: None)
    assert "metrics" in differences(whole, resumed(make, whole, 1, tmp_path), 1)
