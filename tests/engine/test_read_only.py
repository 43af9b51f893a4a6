"""What hooks may only read: whoever writes to it is named, and honest tricks are not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from typing import Any, ClassVar

import pytest
import torch
from pydantic import PrivateAttr
from torch import Tensor, nn

from ablate import Batch, Factors, Mixer, Outputs, Run, Schedule, Trick, hookimpl
from ablate.core.recipe import Recipe
from ablate.engine import read_only
from ablate.errors import TrickError
from ablate.testing import ContractError, check_trick
from tests.helpers.support import Memory, recipe, run, same, weights

Act = Callable[..., Any]


def trick(hook: str, act: Act, wrapper: bool = False) -> type[Trick]:
    """One hook, which does this with its arguments."""

    def told(self: Trick, run: Run) -> None:
        act(run)

    def evaluated(self: Trick, run: Run, model: nn.Module) -> nn.Module:
        act(run)
        return model

    def evaluated_around(self: Trick, run: Run) -> Generator[None, nn.Module, nn.Module]:
        model = yield
        act(run)
        return model

    def measured(self: Trick, run: Run) -> dict[str, float]:
        act(run)
        return {}

    def gradients(self: Trick, run: Run, grads: list[Tensor]) -> list[Tensor]:
        act(run)
        return grads

    function: Any = {
        "eval_model": evaluated_around if wrapper else evaluated,
        "extra_metrics": measured,
        "extra_losses": measured,
        "transform_gradients": gradients,
    }.get(hook, told)
    function.__name__ = hook
    marked = hookimpl(wrapper=True)(function) if wrapper else hookimpl(function)
    return type("Writes", (Trick,), {hook: marked, "__module__": __name__})


TOLD = ("on_trial_start", "on_epoch_start", "on_step_end", "on_epoch_end")
READS = (*TOLD, "eval_model", "extra_metrics", "extra_losses", "transform_gradients")


def by_operation(run: Run) -> None:
    with torch.no_grad():
        for p in run.model.parameters():
            p.mul_(0.99)


def by_data(run: Run) -> None:
    for p in run.model.parameters():
        p.data.mul_(0.9)


def by_numpy(run: Run) -> None:
    next(run.model.parameters()).detach().numpy()[:] *= 0.5


def by_another_tensor(run: Run) -> None:
    p = next(run.model.parameters())
    p.data = p.data.flip(0)


def by_loading(run: Run) -> None:
    run.model.load_state_dict({k: v + 1 for k, v in run.model.state_dict().items()})


@pytest.mark.parametrize("hook", READS)
@pytest.mark.parametrize(
    "act",
    [by_operation, by_data, by_numpy, by_another_tensor, by_loading],
    ids=lambda a: a.__name__,
)
def test_whoever_writes_to_weights_is_named(hook: str, act: Act) -> None:
    with pytest.raises(TrickError, match="writes to weights of the model in training") as caught:
        run([trick(hook, act)()], epochs=1)
    assert (caught.value.trick, caught.value.hook) == ("writes", hook)
    assert "(test_read_only.py:" in caught.value.message


def test_a_wrapper_is_named_for_its_own_writes_and_not_for_those_inside() -> None:
    outer = trick("eval_model", lambda run: None, wrapper=True)
    outer.name = "honest"
    with pytest.raises(TrickError, match=r"'writes', eval_model: .*copy\.deepcopy\(model\)"):
        run([outer(), trick("eval_model", by_data)()], epochs=1)
    with pytest.raises(TrickError, match="'writes', eval_model: writes to weights"):
        run([trick("eval_model", by_data, wrapper=True)()], epochs=1)


def bounded(run: Run) -> None:
    with torch.no_grad():
        for p in run.model.parameters():
            p.clamp_(-1e6, 1e6)


def test_a_bound_that_nothing_has_reached_yet_is_a_write() -> None:
    with pytest.raises(TrickError, match="writes to weights"):
        run([trick("on_step_end", bounded)()], epochs=1)


def settings_of(name: str, value: Any) -> Act:
    def act(run: Run) -> None:
        run.optimizer.param_groups[0][name] = value

    return act


def another_group(run: Run) -> None:
    run.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})


def no_momentum(run: Run) -> None:
    run.optimizer.state.clear()


def in_evaluation_mode(run: Run) -> None:
    run.model.eval()


def statistics(run: Run) -> None:
    next(m for m in run.model.modules() if isinstance(m, nn.BatchNorm2d)).reset_running_stats()


def a_step_back(run: Run) -> None:
    run.step -= 1


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (settings_of("lr", 0.5), "sets lr of the optimizer; what build_schedule returns"),
        (settings_of("weight_decay", 0.5), "sets weight_decay of the optimizer.*optimizer_step"),
        (another_group, "sets .* of the optimizer"),
        (no_momentum, "writes to the optimizer's state"),
        (
            in_evaluation_mode,
            r"leaves layers .* in another mode; put it back with model\.train\(\)",
        ),
        (statistics, "writes to buffers of the model in training"),
        (a_step_back, r"sets run\.step; a run is only read"),
    ],
)
@pytest.mark.parametrize("hook", ["on_step_end", "on_epoch_end", "extra_metrics"])
def test_so_is_whoever_changes_the_rest_of_a_run(hook: str, act: Act, message: str) -> None:
    with pytest.raises(TrickError, match=f"'writes', {hook}: {message}"):
        run([trick(hook, act)()], epochs=1)


def mixing(apply: Act) -> type[Trick]:
    class Mixes(Trick):
        @hookimpl
        def batch_mixers(self) -> Mixer:
            return Mixer(self.name, apply)

    return Mixes


def half(images: Tensor, targets: Tensor, draws: Any) -> tuple[Tensor, Tensor]:
    return images.mul_(0.5), targets


def zeroed(images: Tensor, targets: Tensor, draws: Any) -> tuple[Tensor, Tensor]:
    targets.numpy()[0] = 0
    return images, targets


def now_and_then(images: Tensor, targets: Tensor, draws: Any) -> tuple[Tensor, Tensor]:
    if draws.number() < 0.2:
        images.mul_(0.5)
    return images, targets


@pytest.mark.parametrize(
    ("apply", "what"), [(half, "images"), (zeroed, "targets"), (now_and_then, "images")]
)
def test_a_mixer_that_writes_to_what_it_is_given_is_named(apply: Act, what: str) -> None:
    with pytest.raises(TrickError, match=f"'mixes', batch_mixers: its mixer writes to the {what}"):
        run([mixing(apply)()], epochs=12)


def given(hook: str, act: Act) -> type[Trick]:
    """A trick whose hook does this with the tensors it is given, by their names."""

    class Uses(Trick):
        name: ClassVar[str] = "uses"

    def encode_targets(self: Trick, labels: Tensor) -> Generator[None, Tensor, Tensor]:
        targets = yield
        act(labels=labels)
        return targets

    def forward(self: Trick, batch: Batch) -> Generator[None, Outputs, Outputs]:
        act(images=batch.images, targets=batch.targets)
        return (yield)

    def compute_loss(
        self: Trick, logits: Tensor, targets: Tensor
    ) -> Generator[None, Tensor, Tensor]:
        loss = yield
        act(logits=logits.detach(), targets=targets)
        return loss

    def extra_losses(self: Trick, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        act(labels=batch.labels, images=batch.images, logits=outputs.logits.detach())
        return {}

    def on_step_end(self: Trick, batch: Batch) -> None:
        act(images=batch.images, targets=batch.targets)

    function = locals()[hook]
    wraps = hook in ("encode_targets", "forward", "compute_loss")
    marked = hookimpl(wrapper=True)(function) if wraps else hookimpl(function)
    return type("Uses", (Trick,), {hook: marked, "__module__": __name__, "name": "uses"})


@pytest.mark.parametrize(
    ("hook", "what"),
    [
        ("encode_targets", "labels"),
        ("forward", "images"),
        ("forward", "targets"),
        ("compute_loss", "logits"),
        ("compute_loss", "targets"),
        ("extra_losses", "labels"),
        ("extra_losses", "logits"),
        ("on_step_end", "images"),
    ],
)
@pytest.mark.parametrize("parts", [1, 3])
def test_so_is_a_hook_that_writes_to_the_tensors_it_is_given(
    hook: str, what: str, parts: int
) -> None:
    def act(**tensors: Tensor) -> None:
        tensors[what].mul_(0)

    with pytest.raises(TrickError, match=f"'uses', {hook}: writes to .*{what}, which others read"):
        run([given(hook, act)()], micro_batches=parts, epochs=1)
    run([given(hook, lambda **tensors: None)()], micro_batches=parts, epochs=1)


class Metrics(Trick):
    """Writes to an epoch's metrics, in the epoch `at`."""

    at: int

    @hookimpl
    def on_epoch_end(self, epoch: int, metrics: Any) -> None:
        if epoch == self.at:
            metrics["top1"] = 1.0


@pytest.mark.parametrize("at", [0, 1])
def test_metrics_are_read_only_in_every_epoch(at: int) -> None:
    with pytest.raises(TrickError, match="'metrics', on_epoch_end: writes to metrics"):
        run([Metrics(at=at)])


def scheduled(answer: Callable[[int, list[int]], float]) -> Trick:
    class Scheduled(Trick):
        _asked: Any = PrivateAttr(default_factory=list)

        @hookimpl
        def build_schedule(self) -> Schedule:
            def schedule(step: int, start: int, total: int) -> Factors:
                self._asked.append(step)
                return Factors(lr=answer(step, self._asked))

            return schedule

    return Scheduled()


def test_a_schedule_that_counts_its_calls_is_named() -> None:
    with pytest.raises(TrickError, match="'scheduled', build_schedule: its schedule gives two"):
        run([scheduled(lambda step, asked: 1 / len(asked))], epochs=1)
    run([scheduled(lambda step, asked: 1 / (1 + step))], epochs=1)


def test_a_size_that_depends_on_what_was_asked_before_is_named() -> None:
    class Grows(Trick):
        _size: int = PrivateAttr(8)

        @hookimpl
        def train_size(self) -> int:
            self._size += 4
            return self._size

    with pytest.raises(TrickError, match=r"'grows', train_size: gives .* pixels for epoch"):
        run([Grows()], epochs=2)


class Honest(Trick):
    """Does much that looks like writing and is none, and changes weights where it may."""

    _shadow: Any = PrivateAttr(None)

    @hookimpl
    def on_epoch_start(self, run: Run) -> None:
        self._shadow = copy.deepcopy(run.model)

    @hookimpl
    def extra_losses(self, run: Run, batch: Batch) -> dict[str, Tensor]:
        again = run.model(batch.images)  # moves batch norm's statistics, as any forward does
        return {"again": 0.1 * again.square().mean()}

    @hookimpl(wrapper=True)
    def transform_gradients(self) -> Generator[None, list[Tensor], list[Tensor]]:
        grads = yield
        return [g.mul_(0.5) for g in grads]  # its own to change

    @hookimpl(wrapper=True)
    def optimizer_step(self, run: Run) -> Generator[None, None, None]:
        yield
        run.optimizer.param_groups[0]["weight_decay"] = 1e-3
        with torch.no_grad():
            for p in run.model.parameters():
                p.clamp_(-0.5, 0.5)

    @hookimpl
    def on_step_end(self, run: Run) -> None:
        with torch.no_grad():
            for shadow, p in zip(self._shadow.parameters(), run.model.parameters(), strict=True):
                shadow.lerp_(p, 0.1)

    @hookimpl
    def eval_model(self, run: Run, train_batches: Any) -> nn.Module:
        with torch.no_grad():
            for images in train_batches(1):
                self._shadow.train()(images)
        return self._shadow  # type: ignore[no-any-return]

    @hookimpl
    def extra_metrics(self, run: Run) -> dict[str, float]:
        first = next(run.model.parameters())
        kept = first.detach().clone()
        with torch.no_grad():
            first.add_(1)
            moved = float(first.sum())
            first.copy_(kept)
        return {"moved": moved}


def test_an_honest_trick_is_let_through() -> None:
    trained, memory = run([Honest()])
    assert max(float(p.detach().abs().max()) for p in trained.model.parameters()) <= 0.5
    assert {"moved", "train_loss/again"} <= memory.records[0]["metrics"].keys()


def test_looking_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at, with_it = run([Honest()])
    monkeypatch.setattr(read_only, "_HELD", frozenset())
    plain, without = run([Honest()])
    assert same(weights(looked_at), weights(plain))
    for a, b in zip(with_it.records, without.records, strict=True):
        assert a["metrics"] == b["metrics"]


def test_only_the_first_step_and_the_first_epochs_end_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[tuple[str, int, int]] = []
    original = read_only._Look.at

    def at(hook: str, impl: Any, of: Run | None, args: Any) -> Any:
        looks.append((hook, trained[0].step, trained[0].epoch) if trained else (hook, 0, 0))
        return original(hook, impl, of, args)

    trained: list[Run] = []

    class Look(Honest):
        @hookimpl
        def on_epoch_start(self, run: Run) -> None:
            super().on_epoch_start(run)
            trained[:] = [run]

    monkeypatch.setattr(read_only._Look, "at", at)
    run([Look()], epochs=2)
    in_step = [look for look in looks if look[0] in ("extra_losses", "transform_gradients")]
    assert {step for _, step, _ in in_step} == {0}
    assert {step for hook, step, _ in looks if hook == "on_step_end"} == {1}
    assert {epoch for _, _, epoch in looks} == {0}
    before, memory = len(looks), run([Look()], epochs=2)[1]
    looks.clear()
    run([Look()], Memory(saved=copy.deepcopy(memory.states[0])), epochs=2)
    assert (before > 0, looks) == (True, [])


class LaterOn(Trick):
    """Writes to the weights from the second epoch on."""

    @hookimpl
    def on_step_end(self, run: Run) -> None:
        if run.epoch:
            by_operation(run)


def test_the_kit_looks_at_every_step_and_says_so_as_a_contract_that_is_broken() -> None:
    run([LaterOn()])
    with pytest.raises(ContractError, match="trick 'later_on', on_step_end: writes to weights"):
        check_trick(LaterOn)
    with pytest.raises(ContractError, match="its mixer writes to the images"):
        check_trick(mixing(half))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.bool])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 3, 4, 5), (7, 3, 3, 3)])
def test_any_bit_changes_the_sum_of_bits_in_any_layout(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    made = torch.rand(shape, generator=torch.Generator().manual_seed(0)).gt(0.5).to(dtype)
    layouts = [made, made.clone().transpose(0, -1) if made.ndim else made]
    if made.ndim == 4:
        layouts += [made.to(memory_format=torch.channels_last), made[1:], made[:, 1:, ::2]]
    for tensor in layouts:
        [before] = read_only._sums([tensor])
        assert read_only._sums([tensor.clone()]) == [before]
        changed = tensor.clone()
        index = tuple(0 for _ in changed.shape)
        changed[index] = not changed[index] if dtype is torch.bool else changed[index] + 1
        assert read_only._sums([changed]) != [before]


def test_tensors_that_cannot_be_looked_into_end_nothing() -> None:
    with torch.inference_mode():
        untracked = torch.ones(3)
    meta, sparse = torch.ones(3, device="meta"), torch.eye(3).to_sparse()
    for tensor in (untracked, meta, sparse):
        assert read_only._marks({"x": tensor}, "on_step_end") == read_only._marks(
            {"x": tensor}, "on_step_end"
        )
    values = read_only._sums([torch.ones(3, dtype=torch.complex64), torch.ones(3) * 1j])
    assert values[0] != values[1]


def test_a_recipe_is_none_of_it() -> None:
    class Sets(Trick):
        @hookimpl
        def param_groups(self, model: nn.Module, recipe: Recipe) -> Any:
            recipe.lr = 3.0  # type: ignore[misc]

    with pytest.raises(TrickError, match=r"sets lr of the recipe, which is frozen; resolve_recipe"):
        run([Sets()], epochs=1)
    assert recipe().lr == 0.05
