"""The training loop: every hook call of a trial, on one screen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ablate.core.hook_types import Augmentation, Batch, Factors, Mixer, Run
from ablate.core.rng import Draws
from ablate.core.trial import Trial
from ablate.data.loader import TrialData
from ablate.engine import checkpoint
from ablate.engine.compiled import compile_forward
from ablate.engine.evaluate import Meter, evaluate
from ablate.engine.noise import buffers_kept, reseed, uses_noise
from ablate.engine.precision import fuse, number_format
from ablate.engine.read_only import Given, ReadOnly, check_pure
from ablate.errors import Diverged, TrickError
from ablate.models.build import isolated_rng
from ablate.tricks.base import Trick
from ablate.tricks.hooks import Hooks, blaming
from ablate.util import heartbeat

if TYPE_CHECKING:
    from ablate.engine.profiler import Watch
    from ablate.engine.recorder import Recorder

OpenData = Callable[[Sequence[Augmentation]], TrialData]


def train(
    trial: Trial,
    tricks: Sequence[Trick],
    open_data: OpenData,
    device: torch.device,
    to: Recorder,
    teacher: nn.Module | None = None,
    watch: Watch | None = None,
    always_held: bool = False,
) -> Run:
    """Train one trial to its last epoch, from `to`'s checkpoint if there is one.

    teacher: the trained model of `trial.teacher`, on the device and in evaluation mode.
    watch: times the hooks and the number format (`ablate run --profile`).
    always_held: look in every step whether hooks change what they may only read, not in the first.
    Raises `Diverged` when a training loss or the last test loss is not finite, `Interrupted` when
    asked to stop.
    """
    recipe, seed, classes = trial.recipe, trial.seed, trial.dataset.num_classes
    layout = torch.channels_last if trial.numerics.channels_last else torch.contiguous_format
    may_idle = frozenset(t.name for t in trial.tricks if t.bundle)
    held = ReadOnly(always_held)
    around = held.around(watch.around if watch else None)
    hooks = Hooks(tricks, may_idle=may_idle, around=around)
    with isolated_rng():  # a trick that builds a layer may not move the global generator
        model = hooks.init_model(hooks.build_model(recipe, classes), seed)
    model = model.to(device=device, memory_format=layout).train()
    if trial.numerics.compiled:
        compile_forward(model, recipe.model)
    optimizer = hooks.build_optimizer(hooks.param_groups(model, recipe), recipe)
    schedule, precision = hooks.build_schedule(recipe), hooks.precision()
    fused = trial.numerics.profile == "fast" and device.type == "cuda" and fuse(optimizer)
    format_ = number_format(precision, device, fused)
    if watch is not None:
        watch.attach(hooks, format_)
    data = open_data([a for each in hooks.augmentations(recipe) for a in each])
    mixers, noisy = hooks.batch_mixers(recipe), uses_noise(model)
    shaping, averaging = hooks.behind("build_schedule"), hooks.behind("eval_model")
    base = [dict(group) for group in optimizer.param_groups]
    params = [p for group in optimizer.param_groups for p in group["params"]]
    total = data.steps_per_epoch * recipe.epochs
    check_pure(hooks, schedule, recipe, total)
    run = held.run = Run(
        trial, recipe, seed, classes, device, model, optimizer, data.steps_per_epoch, total,
        precision=precision, teacher=teacher,
    )  # fmt: skip
    history: list[dict[str, Any]] = []
    tested, evaluated = None, model
    if (saved := to.resume()) is not None:
        hooks.resumed = True
        history = checkpoint.restore(saved, run, format_, tricks)
    else:
        hooks.on_trial_start(run)

    for epoch in range(run.epoch, recipe.epochs):
        heartbeat.here.epoch(epoch + 1)
        hooks.on_epoch_start(run, epoch)
        meter, began, used = Meter(), time.perf_counter(), time.process_time()
        for raw in data.train_batches(epoch, hooks.train_size(recipe, epoch)):
            targets = hooks.encode_targets(raw.labels, classes)
            batch = Batch(raw.ids, raw.images, raw.labels, targets, seed, epoch, run.step)
            mix(batch, mixers)
            with blaming(shaping, "build_schedule"):
                set_factors(optimizer, base, schedule(run.step, 0, total))
            gradients = 0  # computed so far in this step

            def compute_gradients(batch: Batch = batch) -> None:
                nonlocal gradients
                for p in params:
                    p.grad = None
                with buffers_kept(model, keep=gradients > 0):
                    for number, part in enumerate(split(batch, recipe.micro_batches)):
                        if noisy:
                            reseed(device, seed, batch.epoch, batch.step, number)
                        with format_.autocast():
                            out = hooks.forward(model, part)
                        loss = hooks.compute_loss(out.logits, part.targets)
                        for weight, logits in out.aux:
                            loss = loss + weight * hooks.compute_loss(logits, part.targets)
                        images = len(part.labels)
                        share = images / len(batch.labels)
                        for extra in hooks.extra_losses(run, part, out):
                            for name, value in extra.items():
                                loss = loss + value
                                if gradients == 0:
                                    meter.add(f"train_loss/{name}", value, images)
                        format_.backward(loss if share == 1 else loss * share)
                        if gradients == 0:
                            meter.add("train_loss", loss, images)
                format_.unscale(params)
                gradients += 1

            def apply_gradients() -> None:
                if hooks.acting["transform_gradients"]:
                    trained = [p for p in params if p.grad is not None]
                    changed = hooks.transform_gradients(run, [p.grad for p in trained])
                    for p, grad in zip(trained, changed, strict=True):
                        p.grad = grad
                format_.step(optimizer)

            hooks.optimizer_step(run, compute_gradients, apply_gradients)
            if gradients == 0:
                stepping = hooks.behind("optimizer_step")
                raise TrickError(stepping, "optimizer_step", "never called compute_gradients()")
            run.step += 1
            hooks.on_step_end(run, batch)
            to.check(run)

        metrics = meter.means()  # waits for the device: the epoch's time ends here
        seconds, processor = time.perf_counter() - began, time.process_time() - used
        evaluated = hooks.eval_model(run, model, data.clean_batches)
        with blaming(averaging if evaluated is not model else "", "eval_model"):
            tested = evaluate(evaluated, data.eval_batches(), format_, classes)
        metrics |= {**tested.metrics, "lr": max(group["lr"] for group in optimizer.param_groups)}
        metrics |= {k: float(v) for each in hooks.extra_metrics(run) for k, v in each.items()}
        hooks.on_epoch_end(run, epoch, metrics)
        run.epoch = epoch + 1
        record = {
            "epoch": run.epoch,
            "metrics": metrics,
            "seconds": seconds,
            "processor_seconds": processor,
            "eval_seconds": time.perf_counter() - began - seconds,
            "images": data.steps_per_epoch * recipe.batch_size,
            "steps": run.step,
        }
        history.append(record)
        to.epoch(record, lambda: checkpoint.capture(run, format_, tricks, history))
        if not math.isfinite(metrics["train_loss"]):
            raise Diverged(f"the training loss is no longer finite in epoch {run.epoch}")
        if run.epoch == recipe.epochs and not math.isfinite(metrics["loss"]):
            # Earlier, half precision may overflow on norms' statistics that have not settled.
            raise Diverged("the test loss of the last epoch is not finite")
    if tested is None:  # stopped after the last epoch, before its scores were written
        evaluated = hooks.eval_model(run, model, data.clean_batches)
        tested = evaluate(evaluated, data.eval_batches(), format_, classes)
    to.finished(run, tested, evaluated)
    return run


def mix(batch: Batch, mixers: Sequence[Mixer]) -> None:
    """Let one of the mixers act on the batch, each with the same probability."""
    if not mixers:
        return
    mixer = mixers[0]
    if len(mixers) > 1:
        ordered = sorted(mixers, key=lambda m: m.name)
        choice = Draws(batch.seed, "mixer", batch.epoch, batch.step).integer(len(ordered))
        mixer = ordered[choice]
    draws = Draws(batch.seed, "trick", mixer.name, "mix", batch.epoch, batch.step)
    shapes = batch.images.shape, batch.targets.shape
    given = Given(batch, in_full=batch.step == 0)
    with blaming(mixer.name, "batch_mixers"):
        batch.images, batch.targets = mixer.apply(batch.images, batch.targets, draws)
        if (batch.images.shape, batch.targets.shape) != shapes:
            raise ValueError(
                f"the mixer made images {list(batch.images.shape)} and targets "
                f"{list(batch.targets.shape)} of {list(shapes[0])} and {list(shapes[1])}"
            )
    given.check(mixer)
    batch.mixed_by = mixer.name


def set_factors(
    optimizer: torch.optim.Optimizer, base: Sequence[dict[str, Any]], factors: Factors
) -> None:
    """Each group's own learning rate and momentum, multiplied."""
    for group, own in zip(optimizer.param_groups, base, strict=True):
        group["lr"] = own["lr"] * factors.lr
        if "momentum" in own:
            group["momentum"] = _momentum(own["momentum"], factors.momentum)
        elif "betas" in own:
            group["betas"] = (_momentum(own["betas"][0], factors.momentum), *own["betas"][1:])


def _momentum(own: float, factor: float) -> float:
    """Their product. Raises ValueError from 1 up, where old gradients would never fade."""
    if own * factor >= 1:
        raise ValueError(f"momentum {own:g} times {factor:g} is {own * factor:g}, not below 1")
    return own * factor


def split(batch: Batch, parts: int) -> list[Batch]:
    """The batch in `parts` near-equal pieces, in order; mixing has happened already."""
    if parts == 1:
        return [batch]
    pieces = []
    for where in np.array_split(np.arange(len(batch.labels)), min(parts, len(batch.labels))):
        piece = slice(int(where[0]), int(where[-1]) + 1)
        pieces.append(
            replace(
                batch,
                ids=batch.ids[piece],
                images=batch.images[piece],
                labels=batch.labels[piece],
                targets=batch.targets[piece],
            )
        )
    return pieces
