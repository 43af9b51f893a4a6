"""The contract test kit for authors of tricks.

    from ablate.testing import check_trick
    from my_tricks import LabelNoise

    def test_contract() -> None:
        changed = check_trick(LabelNoise, share=0.3)
        assert "weights" in changed

`check_trick` trains a tiny network on the packaged digits with the real engine, on the CPU, a few
times over (about a second), and raises `ContractError`, an `AssertionError`, that says which part
of the contract does not hold. What the trick is *meant* to do is for the author's own tests:
`Hooks([trick]).encode_targets(labels, 10)` calls one hook as the engine does, `tiny_batch` is a
batch for hooks that take one, and `train_tiny` the same small training, whose `run` is one.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import new_class
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from ablate.core.hook_types import Batch, Run
from ablate.core.recipe import Recipe
from ablate.core.trial import Numerics, Trial
from ablate.data.cache import ensure_cache
from ablate.data.catalogue import dataset_info
from ablate.data.loader import open_data
from ablate.engine import checkpoint
from ablate.engine.evaluate import Tested
from ablate.engine.loop import train
from ablate.engine.noise import uses_noise
from ablate.engine.recorder import Memory
from ablate.errors import Forbidden, Interrupted
from ablate.execution.state_guard import Sentinel
from ablate.hookspecs import HOOKS, hookimpl
from ablate.tricks.base import Trick
from ablate.tricks.hooks import Hooks, resolve_recipe
from ablate.tricks.ordering import register, stack_problems

__all__ = [
    "ContractError",
    "Hooks",
    "TinyTraining",
    "check_trick",
    "tiny_batch",
    "tiny_recipe",
    "train_tiny",
]

_LIMIT = 40  # images a split: two batches of 16, the rest is dropped


class ContractError(AssertionError):
    """A trick does not keep the contract; the message says where."""


@dataclass
class TinyTraining:
    """What a tiny training left: the run, a record and a checkpoint per epoch, the test scores."""

    run: Run
    records: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    tested: Tested | None = None

    @property
    def weights(self) -> dict[str, Tensor]:
        """The trained model's parameters and buffers."""
        return dict(self.run.model.state_dict())

    @property
    def metrics(self) -> list[dict[str, float]]:
        """The metrics of every epoch."""
        return [record["metrics"] for record in self.records]


def tiny_recipe(**settings: Any) -> Recipe:
    """A resolved recipe for digits at 8 × 8 pixels: resnet8, 2 epochs, batch 16."""
    info = dataset_info("digits")
    size = settings.get("image_size", 8)
    defaults = {
        "model": "resnet8",
        "epochs": 2,
        "batch_size": 16,
        "lr": 0.05,
        "image_size": size,
        "eval_size": size,
        "eval_resize": round(size * 256 / 224),
        "crop": info.crop,
        "flip": info.flip,
        "mean": info.mean,
        "std": info.std,
    }
    return Recipe.model_validate(defaults | settings)


def tiny_batch(*, seed: int = 0, **settings: Any) -> Batch:
    """The first batch of `train_tiny`'s training without tricks: 16 digits, targets one-hot.

    settings: of the recipe, over `tiny_recipe`'s.
    """
    recipe, hooks = tiny_recipe(**settings), Hooks([])
    cached = ensure_cache("digits", None, 8).limited(_LIMIT)
    augmentations = [a for each in hooks.augmentations(recipe) for a in each]
    data = open_data(cached, recipe, augmentations, seed, torch.device("cpu"))
    with _one_thread():
        raw = next(data.train_batches(0, hooks.train_size(recipe, 0)))
    data.close()
    targets = hooks.encode_targets(raw.labels, data.num_classes)
    return Batch(raw.ids, raw.images, raw.labels, targets, seed, epoch=0, step=0)


def train_tiny(
    tricks: Sequence[Trick] = (),
    *,
    seed: int = 0,
    resume: dict[str, Any] | None = None,
    **settings: Any,
) -> TinyTraining:
    """Train on 40 digits with these tricks, in this process, by the real engine.

    settings: of the recipe, over `tiny_recipe`'s. resume: one of the `checkpoints` of another
    training; give fresh tricks with it. Two epochs of two batches take about 0.1 s. In every step,
    not in the first alone, a hook that changes what it may only read is refused.
    """
    recipe = resolve_recipe(tricks, tiny_recipe(**settings))
    cached = ensure_cache("digits", None, 8).limited(_LIMIT)
    trial = Trial(
        recipe=recipe, dataset=cached.ref(_LIMIT), tricks=(), numerics=Numerics(), seed=seed
    )
    device = torch.device("cpu")
    recorder = Memory(resume)
    with _one_thread():
        run = train(
            trial,
            tricks,
            lambda augmentations: open_data(cached, recipe, augmentations, seed, device),
            device,
            recorder,
            always_held=True,
        )
    return TinyTraining(run, recorder.records, recorder.states, recorder.tested)


def check_trick(
    trick: type[Trick],
    /,
    *,
    beside: Sequence[Callable[[], Trick]] = (),
    recipe: Mapping[str, Any] | None = None,
    **params: Any,
) -> frozenset[str]:
    """Hold a trick against its contract; returns what it changes.

    The result is a subset of {"recipe", "weights", "metrics", "scores"}, compared with the same
    training without the trick, and never empty. beside: classes (or functions) that make other
    tricks to train with, for a trick that `requires` one. recipe: settings over `tiny_recipe`'s,
    such as {"model": "resnet18"} for a trick that has nothing to act on in resnet8. params: the
    trick's parameters.

    Raises ContractError if the trick

    - takes unknown parameters, has parameters that can be assigned to or that have no description,
      or parameters that do not survive being written to JSON and read again;
    - implements no hook, one that does not exist, or cannot stand beside the others;
    - gives another result when run again, or when the global random generators differ;
    - moves a global random generator, or leaves torch's settings, the environment, the working
      directory or signal handlers changed;
    - changes its own parameters while training;
    - changes what its hook may only read: the model in training, the optimizer, the batch, the run;
    - has a schedule or a size that answers differently when asked again;
    - gives another result when a training is resumed at the end of an epoch;
    - swallows an error that is raised inside what it wraps, or leaves something behind then;
    - changes nothing.

    Anything the trick raises by itself passes through as `ablate.errors.TrickError`.
    """
    checking = _Check(trick, params, tuple(beside), dict(recipe or {}))
    checking.parameters()
    checking.registration()
    plain = checking.train(checking.others())
    whole, again = checking.twice()
    checking.resumes(whole)
    checking.unwinds()
    _require(
        _same(plain, checking.train(checking.others())),
        f"{trick.name}: after it, a training without it gives another result; "
        "something it changed was not put back",
    )
    _require(_same(whole, again), f"{trick.name}: the same training twice gives two results")
    changed = _changed(plain, whole)
    _require(bool(changed), f"{trick.name}: changes nothing with {params or 'its defaults'}")
    return frozenset(changed)


@dataclass(frozen=True)
class _Check:
    """The steps of `check_trick`."""

    trick: type[Trick]
    params: dict[str, Any]
    beside: tuple[Callable[[], Trick], ...]
    settings: dict[str, Any]

    def others(self) -> list[Trick]:
        return [make() for make in self.beside]

    def stack(self) -> list[Trick]:
        # Constructed afresh for every training, as trials do.
        return [*self.others(), self.trick(**self.params)]

    def train(self, tricks: list[Trick], resume: dict[str, Any] | None = None) -> TinyTraining:
        try:
            return train_tiny(tricks, resume=resume, **self.settings)
        except Forbidden as error:
            raise ContractError(error.message) from error

    def parameters(self) -> None:
        name, made = self.trick.name, self.trick(**self.params)
        fields = self.trick.model_fields
        for parameter, value in made.model_dump().items():
            _require(
                bool(fields[parameter].description),
                f"{name}.{parameter} has no description: Field(…, description=…) "
                "is what `ablate tricks show` prints",
            )
            try:
                setattr(made, parameter, value)
            except ValidationError:
                continue
            raise ContractError(f"{name}.{parameter} can be assigned to; keep the model frozen")
        try:
            self.trick(**{**self.params, "no_such_parameter": 1})
        except ValidationError:
            pass
        else:
            raise ContractError(f"{name} takes parameters that it does not have")
        written = made.model_dump(mode="json")
        _require(
            self.trick(**written).model_dump(mode="json") == written,
            f"{name}: its parameters differ after being written to JSON and read again",
        )

    def registration(self) -> None:
        register(self.stack())
        problems = stack_problems(self.stack())
        _require(not problems, f"{self.trick.name}: {'; '.join(problems)}")

    def twice(self) -> tuple[TinyTraining, TinyTraining]:
        trainings = []
        for number in (1, 2):
            tricks = self.stack()
            before = [trick.model_dump() for trick in tricks]
            with _watched(self.trick.name, number) as training:
                training.append(self.train(tricks))
            trainings += training
            _require(
                [trick.model_dump() for trick in tricks] == before,
                f"{self.trick.name}: its parameters changed while it trained; "
                "keep state in private attributes",
            )
        return trainings[0], trainings[1]

    def resumes(self, whole: TinyTraining) -> None:
        for saved in whole.checkpoints[:-1]:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "checkpoint.pt")
                with path.open("wb") as file:
                    checkpoint.write(saved, file)
                read = checkpoint.read(path)
            resumed = self.train(self.stack(), read)
            _require(
                _same_weights(whole.weights, resumed.weights)
                and whole.metrics[saved["epoch"] :] == resumed.metrics,
                f"{self.trick.name}: a training resumed after epoch {saved['epoch']} differs from "
                "an uninterrupted one; what it keeps from step to step belongs in state_dict()",
            )

    def unwinds(self) -> None:
        """Raise inside every hook that the trick wraps."""
        probe = self.trick(**self.params)
        for hook in HOOKS:
            options = getattr(getattr(type(probe), hook, None), "ablate_impl", None)
            if options is None or not options["wrapper"]:
                continue
            tricks = [*self.stack(), _failing(hook)]
            if stack_problems(tricks):
                continue  # one of the others replaces this hook already
            with _watched(self.trick.name, 3):
                try:
                    self.train(tricks)
                except Interrupted:
                    continue
            raise ContractError(
                f"{self.trick.name}: {hook} swallows errors raised inside what it wraps"
            )


def _failing(hook: str) -> Trick:
    """A trick that replaces `hook` and raises in it."""

    def fail(self: Trick) -> None:
        raise Interrupted

    fail.__name__ = hook
    contents = {hook: hookimpl(fail), "__module__": __name__}
    trick: Trick = new_class("Failing", (Trick,), exec_body=lambda body: body.update(contents))()
    return trick


@contextmanager
def _watched(name: str, number: int) -> Iterator[list[TinyTraining]]:
    """Global generators start from `number`, must stay there, and are put back; so must all else
    that a trial could leave behind in its process."""
    with torch.random.fork_rng(devices=[]), _generators():
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)
        sentinel, generator = Sentinel("cpu"), torch.get_rng_state()
        trainings: list[TinyTraining] = []
        yield trainings
        left = sentinel.differences()
        # Layers such as dropout draw from torch's generator, which the engine seeds for them.
        noisy = any(uses_noise(training.run.model) for training in trainings) or not trainings
        if not noisy and not torch.equal(generator, torch.get_rng_state()):
            left.append("torch generator")
        drawn = any("generator" in what for what in left)
        advice = "; random numbers come from batch.draws(self)" if drawn else ""
        _require(not left, f"{name}: leaves {', '.join(left)} changed{advice}")


@contextmanager
def _generators() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # thread counts change the sums
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ContractError(message)


def _same_weights(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _same(a: TinyTraining, b: TinyTraining) -> bool:
    return not _changed(a, b)


def _changed(a: TinyTraining, b: TinyTraining) -> set[str]:
    assert a.tested is not None
    assert b.tested is not None
    same = {
        "recipe": a.run.recipe == b.run.recipe,
        "weights": _same_weights(a.weights, b.weights),
        "metrics": a.metrics == b.metrics,
        "scores": np.array_equal(a.tested.scores, b.tested.scores),
    }
    return {name for name, is_same in same.items() if not is_same}
