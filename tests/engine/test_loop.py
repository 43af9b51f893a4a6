"""The engine against a loop written by hand; neutrality of idle tricks; resuming."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import PrivateAttr
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as tv

from ablate import Trick, hookimpl
from ablate.core.hook_types import Run
from ablate.data.cache import ensure_cache
from ablate.data.loader import open_data
from ablate.errors import TrickError
from ablate.models import build_model
from ablate.models.init import initialise
from ablate.tricks.hooks import Hooks
from ablate_tricks.cosine import Cosine
from ablate_tricks.fp16 import Fp16
from ablate_tricks.label_smoothing import LabelSmoothing
from ablate_tricks.mixup import Mixup
from ablate_tricks.warmup import Warmup
from ablate_tricks.zero_gamma import ZeroGamma
from tests.helpers.support import CPU, Memory, recipe, run, same, trial, weights


def by_hand(settings: dict[str, Any]) -> tuple[nn.Module, list[float], float]:
    """(model, loss of every step, test accuracy) of plain PyTorch on the same batches."""
    torch.set_num_threads(1)
    made = trial(**settings)
    cached = ensure_cache("digits", None, 8).limited(made.dataset.limit)
    augmentations = [a for each in Hooks([]).augmentations(made.recipe) for a in each]
    data = open_data(cached, made.recipe, augmentations, made.seed, CPU)
    model = initialise(build_model("resnet8", 10), made.seed)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=made.recipe.lr, momentum=0.9, weight_decay=1e-4, nesterov=True
    )
    total = data.steps_per_epoch * made.recipe.epochs
    scheduler = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, [total // 4, total // 2, 3 * total // 4], gamma=0.1
    )
    losses = []
    for epoch in range(made.recipe.epochs):
        model.train()
        for raw in data.train_batches(epoch, 8):
            optimizer.zero_grad()
            onehot = nn.functional.one_hot(raw.labels, 10).float()
            loss = nn.functional.cross_entropy(model(raw.images), onehot)
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
    model.eval()
    mean, std = torch.tensor(made.recipe.mean), torch.tensor(made.recipe.std)
    right = 0
    for index in cached.eval.ids:
        image = torch.from_numpy(cached.eval.image(int(index)).copy()).permute(2, 0, 1)
        image = tv.center_crop(tv.resize(image, [made.recipe.eval_resize]), [8, 8]).float()
        image = (image - mean[:, None, None]) / std[:, None, None]
        with torch.no_grad():
            right += int(model(image[None]).argmax() == cached.eval.labels[index])
    return model, losses, right / len(cached.eval.ids)


def test_with_no_tricks_it_is_a_plain_loop_bit_for_bit() -> None:
    settings = {"epochs": 4, "limit": 160}
    model, losses, accuracy = by_hand(settings)
    trained, memory = run(**settings)
    assert same(weights(trained), model.state_dict())
    per_epoch = np.array(losses).reshape(4, -1).mean(axis=1)
    assert [r["metrics"]["train_loss"] for r in memory.records] == per_epoch.tolist()
    assert memory.records[-1]["metrics"]["top1"] == accuracy
    assert accuracy > 0.15, "it should have learned something"


class Nothing(Trick):
    """Implements hooks of every kind, draws from its stream, changes nothing."""

    @hookimpl(wrapper=True)
    def encode_targets(self) -> Generator[None, Tensor, Tensor]:
        return (yield)

    @hookimpl(wrapper=True)
    def build_model(self) -> Generator[None, nn.Module, nn.Module]:
        return (yield)

    @hookimpl
    def on_step_end(self, batch: Any) -> None:
        batch.draws(self).uniform(100)

    @hookimpl
    def extra_metrics(self) -> dict[str, float]:
        return {}

    @hookimpl(wrapper=True)
    def transform_gradients(self) -> Generator[None, list[Tensor], list[Tensor]]:
        return (yield)


def test_a_trick_that_does_nothing_changes_no_bit() -> None:
    plain, without = run()
    idle, with_it = run([Nothing()])
    assert same(weights(plain), weights(idle))
    for a, b in zip(without.records, with_it.records, strict=True):
        assert a["metrics"] == b["metrics"]
    assert without.tested is not None
    assert with_it.tested is not None
    assert np.array_equal(without.tested.scores, with_it.tested.scores)


def test_global_generators_are_neither_used_nor_touched() -> None:
    plain, _ = run([Mixup()])
    torch.manual_seed(123)
    np.random.seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    again, _ = run([Mixup()])
    assert same(weights(plain), weights(again))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_seeds_differ() -> None:
    assert not same(weights(run()[0]), weights(run(seed=1)[0]))


class Shadow(Trick):
    """State that must survive: a running sum of a weight."""

    _sum: float = PrivateAttr(0.0)

    @hookimpl
    def on_step_end(self, run: Any) -> None:
        self._sum += float(next(run.model.parameters()).detach().sum())

    @hookimpl
    def extra_metrics(self) -> dict[str, float]:
        return {"shadow": self._sum}

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self._sum}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sum = state["sum"]


@pytest.mark.parametrize(
    ("state", "message"),
    [(None, "returned NoneType, not a dict"), ({"a": [np.ones(2)]}, "holds a ndarray; tensors,")],
)
def test_a_state_that_could_not_be_read_back_is_refused_when_it_is_saved(
    state: Any, message: str
) -> None:
    class Odd(Shadow):
        def state_dict(self) -> Any:
            return state

    with pytest.raises(TrickError, match=f"trick 'odd', state_dict: {message}"):
        run([Odd()], epochs=1)


class Sleeps(Trick):
    """Waits in every step, and lets a thread of its own work meanwhile, or not."""

    works: bool = False

    @hookimpl
    def on_step_end(self, run: Run, batch: Any) -> None:
        until = time.perf_counter() + 0.05

        def work() -> None:
            while time.perf_counter() < until:
                pass

        if self.works:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        else:
            time.sleep(0.05)


def test_an_epoch_s_processor_time_is_that_of_all_threads_and_of_no_wait() -> None:
    _, waiting = run([Sleeps()], epochs=2)
    _, working = run([Sleeps(works=True)], epochs=2)
    steps = waiting.records[0]["steps"]
    for record in waiting.records:
        assert 0 < record["processor_seconds"] < record["seconds"] - 0.05 * steps
    used = [sum(r["processor_seconds"] for r in m.records) for m in (waiting, working)]
    assert used[1] > used[0] + 0.2 * 0.05 * 2 * steps  # a fifth, however busy this machine is


def stack() -> list[Trick]:
    return [
        Warmup(epochs=1),
        Fp16(),
        Mixup(),
        ZeroGamma(),
        Cosine(),
        LabelSmoothing(),
        Shadow(),
    ]


def strip(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if "seconds" not in k} for r in records]


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_training_resumed_at_any_epoch_is_the_uninterrupted_one(epoch: int) -> None:
    whole, memory = run(stack(), epochs=3)
    steps = whole.steps_per_epoch
    saved = copy.deepcopy(memory.states[epoch - 1])
    later, resumed = run(stack(), Memory(saved=saved), epochs=3)
    assert same(weights(whole), weights(later))
    assert strip(resumed.records) == strip(memory.records[epoch:])
    assert resumed.tested is not None
    assert memory.tested is not None
    assert np.array_equal(resumed.tested.scores, memory.tested.scores)
    assert later.step == whole.step == 3 * steps


def test_a_diverging_loss_is_reported() -> None:
    from ablate.errors import Diverged

    with pytest.raises(Diverged, match="no longer finite in epoch"):
        run(lr=1e30)


def test_a_test_loss_that_overflows_on_the_way_ends_nothing_but_the_last_one_does() -> None:
    """FP16 may overflow in evaluation while norms' statistics settle; training goes on soundly."""
    from ablate.errors import Diverged

    class Overflows(Trick):
        epochs: tuple[int, ...]

        @hookimpl
        def eval_model(self, run: Run, model: nn.Module) -> nn.Module:
            if run.epoch not in self.epochs:
                return model
            broken = copy.deepcopy(model)
            with torch.no_grad():
                next(iter(broken.parameters())).fill_(float("nan"))
            return broken

    _, plain = run(epochs=2)
    _, memory = run([Overflows(epochs=(0,))], epochs=2)
    assert math.isnan(memory.records[0]["metrics"]["loss"])
    assert strip(memory.records[1:]) == strip(plain.records[1:])
    with pytest.raises(Diverged, match="test loss of the last epoch"):
        run([Overflows(epochs=(1,))], epochs=2)


def test_micro_batches_take_the_same_step_without_batch_norm() -> None:
    """2 × b with weights n/B is 2b: on a linear model, where no layer looks across samples."""

    class Linear(Trick):
        @hookimpl
        def build_model(self, num_classes: int) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, num_classes))

    whole, a = run([Linear(), Mixup()])
    parts, b = run([Linear(), Mixup()], micro_batches=3)
    for name, value in weights(whole).items():
        torch.testing.assert_close(value, weights(parts)[name], rtol=1e-4, atol=1e-6)
    assert a.records[-1]["metrics"]["top1"] == pytest.approx(
        b.records[-1]["metrics"]["top1"], abs=0.05
    )


def test_the_recipe_reaches_the_optimizer() -> None:
    trained, memory = run(momentum=0.5, weight_decay=0.01, nesterov=False, lr=0.02, epochs=1)
    [group] = trained.optimizer.param_groups
    assert (group["momentum"], group["weight_decay"], group["nesterov"]) == (0.5, 0.01, False)
    assert recipe().lr == 0.05
    assert memory.records[0]["images"] == 32
