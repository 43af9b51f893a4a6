"""The hooks, in the order in which a trial calls them.

    recipe = resolve_recipe(recipe)                                   when planning; enters the key
    model = init_model(build_model(recipe, num_classes), seed)
    optimizer = build_optimizer(param_groups(model, recipe), recipe)
    schedule, number_format = build_schedule(recipe), precision()
    pipeline, mixers = augmentations(recipe), batch_mixers(recipe)
    on_trial_start(run)
    for epoch in range(epochs):
        on_epoch_start(run, epoch)
        for batch in data(epoch, train_size(recipe, epoch), pipeline):
            batch.targets = encode_targets(labels, num_classes)
            batch = one of mixers(batch)
            optimizer.lr, optimizer.momentum = recipe's × schedule(step, 0, total)
            def compute_gradients():
                for micro_batch in batch:
                    outputs = forward(model, micro_batch)             in the number format
                    loss = Σ weight · compute_loss(logits, targets) + Σ extra_losses(run, …)
                    loss.backward()
                unscale
            def apply_gradients():
                grads = transform_gradients(run, grads)
                optimizer.step()                                      skipped if FP16 overflowed
            optimizer_step(run, compute_gradients, apply_gradients)
            on_step_end(run, batch)
        metrics = evaluate(eval_model(run, model, train_batches)) + extra_metrics(run)
        on_epoch_end(run, epoch, metrics)
        save model, optimizer, loss scale and every trick's state_dict()

Four kinds. *Replaceable* hooks return a value and have a default in `ablate.baseline`; a plain
implementation replaces it (two in one row are refused), and a wrapper (`hookimpl(wrapper=True)`)
changes what the inner ones return. *Collected* hooks each return their own contribution.
*Notifications* return nothing. An implementation may name only the arguments that it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pluggy

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ablate.core.hook_types import (
        Augmentation,
        Batch,
        Mixer,
        Outputs,
        Precision,
        Run,
        Schedule,
        TrainBatches,
    )
    from ablate.core.recipe import Recipe


__all__ = [
    "HOOKS",
    "SLOTS",
    "HookInfo",
    "HookSpecs",
    "hookimpl",
    "hookspec",
]

hookspec = pluggy.HookspecMarker("ablate")
hookimpl = pluggy.HookimplMarker("ablate")


class HookSpecs:
    """Bare specifications; `ablate.baseline.Baseline` has what happens with no trick."""

    @hookspec(firstresult=True)
    def resolve_recipe(self, recipe: Recipe) -> Recipe:  # type: ignore[empty-body]
        """Return the recipe to train by; runs when planning, without torch, and enters the key."""

    @hookspec(firstresult=True)
    def build_model(self, recipe: Recipe, num_classes: int) -> nn.Module:  # type: ignore[empty-body]
        """Return the model, of any weights; wrappers do surgery on what the inner ones built."""

    @hookspec(firstresult=True)
    def init_model(self, model: nn.Module, seed: int) -> nn.Module:  # type: ignore[empty-body]
        """Return the model with its initial weights; after all surgery."""

    @hookspec(firstresult=True)
    def param_groups(self, model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:  # type: ignore[empty-body]
        """Return the optimizer's parameter groups, every trainable parameter in exactly one."""

    @hookspec(firstresult=True)
    def build_optimizer(  # type: ignore[empty-body]
        self, groups: list[dict[str, Any]], recipe: Recipe
    ) -> torch.optim.Optimizer:
        """Return the optimizer over these groups."""

    @hookspec(firstresult=True)
    def build_schedule(self, recipe: Recipe) -> Schedule:  # type: ignore[empty-body]
        """Return f(step, start, total) -> Factors, pure; `start` is where its shape begins."""

    @hookspec(firstresult=True)
    def precision(self) -> Precision:  # type: ignore[empty-body]
        """Return the number format of forward and backward."""

    @hookspec
    def augmentations(self, recipe: Recipe) -> list[Augmentation]:  # type: ignore[empty-body]
        """Return augmentations to add to the training images' pipeline."""

    @hookspec
    def batch_mixers(self, recipe: Recipe) -> Mixer:  # type: ignore[empty-body]
        """Return a mixer; of several, the engine picks one per batch with equal probability."""

    @hookspec
    def on_trial_start(self, run: Run) -> None:
        """Start your state here; not called again when a trial is resumed."""

    @hookspec
    def on_epoch_start(self, run: Run, epoch: int) -> None:
        """Epoch `epoch` (from 0) is about to begin."""

    @hookspec(firstresult=True)
    def train_size(self, recipe: Recipe, epoch: int) -> int:  # type: ignore[empty-body]
        """Return the side in pixels of this epoch's training images; pure."""

    @hookspec(firstresult=True)
    def encode_targets(self, labels: Tensor, num_classes: int) -> Tensor:  # type: ignore[empty-body]
        """Return dense float32 targets [B, K] for int64 labels [B]."""

    @hookspec(firstresult=True)
    def forward(self, model: nn.Module, batch: Batch) -> Outputs:  # type: ignore[empty-body]
        """Return the model's outputs for `batch.images`; runs under autocast."""

    @hookspec(firstresult=True)
    def compute_loss(self, logits: Tensor, targets: Tensor) -> Tensor:  # type: ignore[empty-body]
        """Return the scalar mean loss of one head's logits [B, K] against targets [B, K]."""

    @hookspec
    def extra_losses(self, run: Run, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:  # type: ignore[empty-body]
        """Return named scalars to add to the loss; they are logged apart."""

    @hookspec(firstresult=True)
    def transform_gradients(self, run: Run, grads: list[Tensor]) -> list[Tensor]:  # type: ignore[empty-body]
        """Return the gradients to apply, in the order of the trainable parameters; unscaled."""

    @hookspec(firstresult=True)
    def optimizer_step(
        self,
        run: Run,
        compute_gradients: Callable[[], None],
        apply_gradients: Callable[[], None],
    ) -> None:
        """Take one step; `compute_gradients` may be called twice, with identical noise."""

    @hookspec
    def on_step_end(self, run: Run, batch: Batch) -> None:
        """A step was taken; `run.step` counts it already."""

    @hookspec(firstresult=True)
    def eval_model(self, run: Run, model: nn.Module, train_batches: TrainBatches) -> nn.Module:  # type: ignore[empty-body]
        """Return the model to evaluate; the one in training must stay as it is."""

    @hookspec
    def extra_metrics(self, run: Run) -> dict[str, float]:  # type: ignore[empty-body]
        """Return named numbers to log with this epoch."""

    @hookspec
    def on_epoch_end(self, run: Run, epoch: int, metrics: Mapping[str, float]) -> None:
        """Epoch `epoch` was evaluated, with these metrics."""


@dataclass(frozen=True)
class HookInfo:
    """What kind a hook is, when it is called, its arguments, and what it decides, in a word."""

    kind: Literal["replaceable", "collected", "notification"]
    stage: Literal["plan", "build", "epoch", "step", "eval"]
    aspect: str
    arguments: tuple[str, ...]


def _info(hook: str, kind: Any, stage: Any, aspect: str) -> HookInfo:
    code = getattr(HookSpecs, hook).__code__
    return HookInfo(kind, stage, aspect, code.co_varnames[1 : code.co_argcount])


HOOKS: dict[str, HookInfo] = {
    hook: _info(hook, kind, stage, aspect)
    for hook, kind, stage, aspect in (
        ("resolve_recipe", "replaceable", "plan", "recipe"),
        ("build_model", "replaceable", "build", "model"),
        ("init_model", "replaceable", "build", "init"),
        ("param_groups", "replaceable", "build", "groups"),
        ("build_optimizer", "replaceable", "build", "optimizer"),
        ("build_schedule", "replaceable", "build", "schedule"),
        ("precision", "replaceable", "build", "precision"),
        ("augmentations", "collected", "build", "images"),
        ("batch_mixers", "collected", "build", "batches"),
        ("on_trial_start", "notification", "build", "trial"),
        ("on_epoch_start", "notification", "epoch", "epoch"),
        ("train_size", "replaceable", "epoch", "size"),
        ("encode_targets", "replaceable", "step", "targets"),
        ("forward", "replaceable", "step", "forward"),
        ("compute_loss", "replaceable", "step", "loss"),
        ("extra_losses", "collected", "step", "loss"),
        ("transform_gradients", "replaceable", "step", "gradients"),
        ("optimizer_step", "replaceable", "step", "step"),
        ("on_step_end", "notification", "step", "step"),
        ("eval_model", "replaceable", "eval", "evaluation"),
        ("extra_metrics", "collected", "eval", "metrics"),
        ("on_epoch_end", "notification", "eval", "epoch"),
    )
}

# Which slots a hook's wrappers stand in, innermost first. An implementation without a slot stands
# in the hook's last; one slot's implementations are ordered by tags, then by name.
SLOTS: dict[str, tuple[str, ...]] = {
    "resolve_recipe": ("length", "batch", "lr", "eval"),
    "build_model": ("block", "stem", "shortcut", "downsample", "branch", "regularise", "head"),
    "init_model": ("scheme", "override"),
    "param_groups": ("decay", "lr"),
    "build_schedule": ("shape", "warmup"),
    "encode_targets": ("smooth", "threshold"),
    "transform_gradients": ("centralise", "clip"),
}
