"""Every hook, called by the real engine, with an effect that can be worked out by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import PrivateAttr
from torch import Tensor, nn

from ablate import Augmentation, Factors, Mixer, Outputs, Precision, Trick, hookimpl
from ablate.core.hook_types import Batch, Run, Schedule
from ablate.core.recipe import Recipe
from ablate.errors import TrickError
from ablate.tricks.hooks import Hooks, resolve_recipe
from tests.helpers.support import Memory, recipe, run, same, weights

STEPS = 2  # of an epoch: 40 images, batch 16


class Linear(Trick):
    """The smallest model, so that steps can be checked by hand."""

    @hookimpl
    def build_model(self, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, num_classes))


@pytest.mark.hook("resolve_recipe")
def test_resolve_recipe() -> None:
    class Twice(Trick):
        @hookimpl(wrapper=True)
        def resolve_recipe(self) -> Generator[None, Recipe, Recipe]:
            recipe = yield
            return recipe.model_copy(update={"epochs": 2 * recipe.epochs})

    assert resolve_recipe([Twice()], recipe(epochs=3)).epochs == 6


@pytest.mark.hook("build_model")
def test_build_model() -> None:
    assert isinstance(run([Linear()])[0].model[1], nn.Linear)  # type: ignore[index]


@pytest.mark.hook("init_model")
def test_init_model() -> None:
    class Zero(Trick):
        @hookimpl
        def init_model(self, model: nn.Module, seed: int) -> nn.Module:
            assert seed == 3
            for p in model.parameters():
                nn.init.zeros_(p)
            return model

    _, memory = run([Linear(), Zero()], seed=3, lr=1e-9, epochs=1)
    # equal logits: the loss is log K
    assert memory.records[0]["metrics"]["train_loss"] == pytest.approx(np.log(10), rel=1e-5)


@pytest.mark.hook("param_groups")
def test_param_groups() -> None:
    class FreezeBias(Trick):
        @hookimpl
        def param_groups(self, model: nn.Module) -> list[dict[str, Any]]:
            weight, bias = model.parameters()
            return [{"params": [weight]}, {"params": [bias], "lr": 0.0}]

    start = Hooks([Linear()]).init_model(Hooks([Linear()]).build_model(recipe(), 10), 0)
    trained = weights(run([Linear(), FreezeBias()])[0])
    assert torch.equal(trained["1.bias"], start[1].bias)
    assert not torch.equal(trained["1.weight"], start[1].weight)


@pytest.mark.hook("build_optimizer")
def test_build_optimizer() -> None:
    class Adam(Trick):
        @hookimpl
        def build_optimizer(
            self, groups: list[dict[str, Any]], recipe: Recipe
        ) -> torch.optim.Optimizer:
            return torch.optim.Adam(groups, lr=recipe.lr)

    assert type(run([Linear(), Adam()])[0].optimizer) is torch.optim.Adam


@pytest.mark.hook("build_schedule")
def test_build_schedule() -> None:
    class Rising(Trick):
        @hookimpl
        def build_schedule(self, recipe: Recipe) -> Schedule:
            return lambda step, start, total: Factors(lr=(step + 1) / total, momentum=0.5)

    trained, memory = run([Linear(), Rising()], lr=0.1, epochs=3)
    assert [r["metrics"]["lr"] for r in memory.records] == pytest.approx(
        [0.1 * 2 / 6, 0.1 * 4 / 6, 0.1]
    )
    assert trained.optimizer.param_groups[0]["momentum"] == 0.45


@pytest.mark.hook("precision")
def test_precision() -> None:
    seen = []

    class Half(Trick):
        @hookimpl
        def precision(self) -> Precision:
            return Precision("bfloat16")

        @hookimpl(wrapper=True)
        def forward(self) -> Generator[None, Outputs, Outputs]:
            out = yield
            seen.append(out.logits.dtype)
            return out

    run([Linear(), Half()], epochs=1)
    assert set(seen) == {torch.bfloat16}


@pytest.mark.hook("augmentations")
def test_augmentations_stand_in_their_slot_with_their_own_draws() -> None:
    seen: list[tuple[torch.dtype, tuple[int, ...], Any]] = []

    class Invert(Trick):
        @hookimpl
        def augmentations(self) -> list[Augmentation]:
            def apply(images: Tensor, u: Any, size: int) -> Tensor:
                seen.append((images.dtype, tuple(images.shape), u))
                return 255 - images

            return [Augmentation("colour", "invert", 2, apply)]

    class Look(Trick):
        @hookimpl
        def on_step_end(self, batch: Batch) -> None:
            images.append(batch.images.clone())

    images: list[Tensor] = []
    run([Linear(), Invert(), Look()], epochs=1)
    inverted = list(images)
    images.clear()
    run([Linear(), Look()], epochs=1)
    dtype, shape, u = seen[0]
    assert (dtype, shape, u.shape) == (torch.uint8, (16, 3, 8, 8), (16, 2))
    assert len(np.unique(u)) == 32
    mean, std = (torch.tensor(v)[:, None, None] for v in (recipe().mean, recipe().std))
    for changed, plain in zip(inverted, images, strict=True):
        torch.testing.assert_close(
            changed * std + mean, 255 - (plain * std + mean), atol=1e-3, rtol=0
        )


@pytest.mark.hook("batch_mixers")
def test_batch_mixers_are_picked_one_per_batch() -> None:
    def named(name: str) -> type[Trick]:
        class Named(Trick):
            @hookimpl
            def batch_mixers(self) -> Mixer:
                return Mixer(self.name, lambda images, targets, draws: (images, targets))

        Named.name = name
        return Named

    picked: list[str | None] = []

    class Look(Trick):
        @hookimpl
        def on_step_end(self, batch: Batch) -> None:
            picked.append(batch.mixed_by)

    run([Linear(), named("one")(), named("two")(), Look()], epochs=30)
    assert set(picked) == {"one", "two"}
    assert 15 <= picked.count("one") <= 45  # 60 fair draws: outside with p < 1e-4


@pytest.mark.hook("on_trial_start")
@pytest.mark.hook("on_epoch_start")
@pytest.mark.hook("on_step_end")
@pytest.mark.hook("on_epoch_end")
def test_notifications_come_in_loop_order_and_a_resumed_trial_does_not_start_again() -> None:
    calls: list[Any] = []

    class Follow(Trick):
        @hookimpl
        def on_trial_start(self, run: Run) -> None:
            calls.append("trial")

        @hookimpl
        def on_epoch_start(self, run: Run, epoch: int) -> None:
            calls.append(("epoch", epoch))

        @hookimpl
        def on_step_end(self, run: Run, batch: Batch) -> None:
            calls.append(("step", run.step, batch.step))

        @hookimpl
        def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None:
            calls.append(("end", epoch, sorted(metrics)))

    _, memory = run([Linear(), Follow()])
    names = ["loss", "lr", "top1", "top5", "train_loss"]
    second = [("epoch", 1), ("step", 3, 2), ("step", 4, 3), ("end", 1, names)]
    first = ["trial", ("epoch", 0), ("step", 1, 0), ("step", 2, 1), ("end", 0, names)]
    assert calls == first + second
    calls.clear()
    run([Linear(), Follow()], Memory(saved=copy.deepcopy(memory.states[0])))
    assert calls == second


@pytest.mark.hook("train_size")
def test_train_size() -> None:
    sizes = []

    class Grow(Trick):
        @hookimpl(wrapper=True)
        def train_size(self, epoch: int) -> Generator[None, int, int]:
            size = yield
            return size + 4 * epoch

        @hookimpl
        def on_step_end(self, batch: Batch) -> None:
            sizes.append(tuple(batch.images.shape[2:]))

    run([Grow()])
    assert sizes == [(8, 8)] * STEPS + [(12, 12)] * STEPS


@pytest.mark.hook("encode_targets")
@pytest.mark.hook("compute_loss")
def test_targets_and_loss() -> None:
    seen = []

    class Flat(Trick):
        @hookimpl(wrapper=True)
        def encode_targets(self) -> Generator[None, Tensor, Tensor]:
            targets = yield
            return torch.full_like(targets, 1 / targets.shape[1])

        @hookimpl
        def compute_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
            seen.append(targets)
            return -(targets * logits.log_softmax(1)).sum(1).mean() + 7

    _, memory = run([Linear(), Flat()], epochs=1, lr=1e-9)
    assert torch.equal(seen[0], torch.full((16, 10), 0.1))
    assert memory.records[0]["metrics"]["train_loss"] > 7 + np.log(10)


@pytest.mark.hook("forward")
def test_forward_and_auxiliary_heads() -> None:
    class Heads(Trick):
        @hookimpl
        def forward(self, model: nn.Module, batch: Batch) -> Outputs:
            logits = model(batch.images)
            return Outputs(logits, ((0.5, logits), (0.25, logits)))

    _, plain = run([Linear()], lr=1e-12, epochs=1)
    _, heads = run([Linear(), Heads()], lr=1e-12, epochs=1)
    assert heads.records[0]["metrics"]["train_loss"] == pytest.approx(
        1.75 * plain.records[0]["metrics"]["train_loss"], rel=1e-6
    )
    assert heads.records[0]["metrics"]["loss"] == plain.records[0]["metrics"]["loss"]


@pytest.mark.hook("extra_losses")
def test_extra_losses_are_added_and_logged_apart() -> None:
    class Decay(Trick):
        @hookimpl
        def extra_losses(self, run: Run) -> dict[str, Tensor]:
            return {"decay": 5e-3 * sum((p**2).sum() for p in run.model.parameters())}  # type: ignore[dict-item]

    # a penalty of d/2·|w|² is a weight decay of d
    penalised, memory = run([Linear(), Decay()], weight_decay=0.0, epochs=1)
    decayed, _ = run([Linear()], weight_decay=0.01, epochs=1)
    for name, value in weights(penalised).items():
        torch.testing.assert_close(value, weights(decayed)[name], rtol=1e-4, atol=1e-7)
    metrics = memory.records[0]["metrics"]
    assert 0 < metrics["train_loss/decay"] < metrics["train_loss"]


@pytest.mark.hook("transform_gradients")
def test_transform_gradients_against_clip_grad_norm() -> None:
    norms = []

    class Clip(Trick):
        @hookimpl(wrapper=True)
        def transform_gradients(self) -> Generator[None, list[Tensor], list[Tensor]]:
            grads = yield
            clones = [nn.Parameter(g.clone()) for g in grads]
            for p, g in zip(clones, grads, strict=True):
                p.grad = g.clone()
            norms.append(float(nn.utils.clip_grad_norm_(clones, 0.1)))
            return [p.grad for p in clones if p.grad is not None]

    # plain SGD moves by lr · gradient: the first step's length is lr · the clipped norm
    start = Hooks([Linear()]).init_model(Hooks([Linear()]).build_model(recipe(), 10), 0)
    settings = {"momentum": 0.0, "weight_decay": 0.0, "epochs": 1, "batch_size": 40, "lr": 0.5}
    trained, _ = run([Linear(), Clip()], **settings)
    moved = torch.cat(
        [(value - start.state_dict()[name]).flatten() for name, value in weights(trained).items()]
    )
    assert norms[0] > 0.1
    assert float(moved.norm()) == pytest.approx(0.5 * 0.1, rel=1e-3)


@pytest.mark.hook("optimizer_step")
def test_a_second_gradient_sees_the_same_noise_and_leaves_buffers_alone() -> None:
    class Noisy(Trick):
        @hookimpl
        def build_model(self, num_classes: int) -> nn.Module:
            return nn.Sequential(
                nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, num_classes)
            )

    gradients: list[list[Tensor]] = []

    class Twice(Trick):
        @hookimpl
        def optimizer_step(
            self,
            run: Run,
            compute_gradients: Callable[[], None],
            apply_gradients: Callable[[], None],
        ) -> None:
            for _ in range(2):
                compute_gradients()
                gradients.append([p.grad.clone() for p in run.model.parameters()])  # type: ignore[union-attr]
            apply_gradients()

    once, one = run([Noisy()])
    twice, two = run([Noisy(), Twice()])
    assert all(torch.equal(a, b) for a, b in zip(gradients[0], gradients[1], strict=True))
    assert not torch.equal(gradients[0][2], gradients[2][2])
    assert same(weights(once), weights(twice)), "weights and batch-norm statistics"
    assert one.records[-1]["metrics"] == two.records[-1]["metrics"]


@pytest.mark.hook("optimizer_step")
def test_a_step_without_a_gradient_is_refused() -> None:
    class Lazy(Trick):
        @hookimpl
        def optimizer_step(self) -> None:
            return None

    with pytest.raises(TrickError, match="'lazy', optimizer_step: never called compute_gradients"):
        run([Linear(), Lazy()])


@pytest.mark.hook("eval_model")
def test_eval_model_is_evaluated_and_training_goes_on_with_its_own() -> None:
    class Average(Trick):
        _average: Any = PrivateAttr(None)

        @hookimpl(wrapper=True)
        def eval_model(self, train_batches: Any) -> Generator[None, nn.Module, nn.Module]:
            model = copy.deepcopy((yield))
            assert [tuple(b.shape) for b in train_batches(2)] == [(16, 3, 8, 8)] * 2
            for p in model.parameters():
                nn.init.zeros_(p)
            return model

    plain, _ = run([Linear()])
    other, memory = run([Linear(), Average()])
    assert same(weights(plain), weights(other))
    assert memory.records[-1]["metrics"]["loss"] == pytest.approx(np.log(10), rel=1e-6)


@pytest.mark.hook("extra_metrics")
def test_extra_metrics() -> None:
    class Count(Trick):
        @hookimpl
        def extra_metrics(self, run: Run) -> dict[str, float]:
            return {"parameters": sum(p.numel() for p in run.model.parameters())}

    assert run([Linear(), Count()])[1].records[0]["metrics"]["parameters"] == 192 * 10 + 10
