"""Whether the targets of a row tell one class from another, seen on a few labels.

Encoding, mixing and loss are settings of different tricks, and together they may leave nothing: a
threshold above every smoothed target makes all of them 0. Asked of the loss itself: where its
gradient is the same in every class, no class is learned from that image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.core.resolved_study import ResolvedStudy
from ablate.core.rng import Draws
from ablate.core.trial import Trial
from ablate.errors import AblateError
from ablate.tricks.construct import construct
from ablate.tricks.guard import contained
from ablate.tricks.hooks import Hooks

if TYPE_CHECKING:
    from torch import Tensor

_HOOKS = ("encode_targets", "batch_mixers", "compute_loss")
_BATCHES = 400  # that each mixer is tried on
_SIDE = 32  # pixels of the images that it mixes
_WORTH_SAYING = 0.01  # share of batches without anything to learn


def check_targets(resolved: ResolvedStudy, *, bundled_only: bool = False) -> list[str]:
    """Refuse rows whose loss is the same whatever the label; returns notes on rows where it is in
    some batches."""
    notes: dict[str, None] = {}
    seen: set[tuple[Any, ...]] = set()
    for key, trial in resolved.trials.items():
        tricks = construct(trial.tricks, bundled_only=bundled_only, check_files=False)
        hooks = Hooks(tricks, may_idle=frozenset(t.name for t in tricks))
        if not hooks.acting["encode_targets"] and not hooks.acting["compute_loss"]:
            continue
        concerned = {name.removesuffix(" *") for hook in _HOOKS for name in hooks.acting[hook]}
        specs = tuple(spec for spec in trial.tricks if spec.name in concerned)
        own = trial.model_copy(update={"tricks": specs})
        same = (trial.dataset.num_classes, own.tricks_key())
        if same in seen:
            continue
        seen.add(same)
        found = _answer(hooks, trial, resolved.labels[key])
        if found is None:
            continue
        names = _in_words(trial, hooks)
        if found.problem:
            raise AblateError(
                f"{resolved.name}: {resolved.labels[key]}: with {names} {found.problem}",
                where=resolved.file,
            )
        for mixer, share in found.mixed.items():
            if share >= _WORTH_SAYING:
                text = f"in about {share:.0%} of the batches that {mixer} mixes, no label"
                notes[f"with {names} {text} can be told from another"] = None
    return list(notes)


@dataclass(frozen=True)
class _Answer:
    """problem: what makes the row worth no training, "" where nothing does. mixed: share of the
    batches, by mixer, in which no label can be told once they are mixed."""

    problem: str
    mixed: Mapping[str, float]


def _answer(hooks: Hooks, trial: Trial, label: str) -> _Answer | None:
    """None of tricks that cannot be asked without their training, which will tell."""
    try:
        with contained(f"targets of {label}"):
            return _asked(hooks, trial)
    except Exception:  # noqa: BLE001 - a trick's own code raises anything
        return None


def _asked(hooks: Hooks, trial: Trial) -> _Answer:
    import torch

    classes = trial.dataset.num_classes
    labels = torch.arange(min(classes, 8))
    targets = hooks.encode_targets(labels, classes)
    pull = -_gradient(hooks, targets)
    own = pull.gather(1, labels[:, None])[:, 0]
    if bool(_flat(pull).all()):
        return _Answer("no label can be told from another: every class has the same target", {})
    if bool((own < pull.amax(1) - 1e-6).all()):
        return _Answer("another class than the true one has the largest target", {})
    mixed: dict[str, float] = {}
    if hooks.acting["compute_loss"]:  # under cross-entropy, mixed targets always tell something
        images = torch.zeros(len(labels), 3, _SIDE, _SIDE)
        for mixer in hooks.batch_mixers(trial.recipe):
            found = 0
            for number in range(_BATCHES):
                draws = Draws("targets, before training", mixer.name, number)
                after = mixer.apply(images.clone(), targets.clone(), draws)[1]
                found += bool(_flat(_gradient(hooks, after)).all())
            mixed[mixer.name] = found / _BATCHES
    return _Answer("", mixed)


def _gradient(hooks: Hooks, targets: Tensor) -> Tensor:
    import torch

    logits = torch.zeros_like(targets, requires_grad=True)
    (found,) = torch.autograd.grad(hooks.compute_loss(logits, targets), logits)
    return found * len(targets)


def _flat(gradient: Tensor) -> Tensor:
    """bool [B]: whether it is the same in every class."""
    return gradient.amax(1) - gradient.amin(1) <= 1e-6 * gradient.abs().amax().clamp(min=1e-6)


def _in_words(trial: Trial, hooks: Hooks) -> str:
    """ "label_smoothing.epsilon 0.1 and bce_loss.threshold 0.95"."""
    acting = {
        name.removesuffix(" *")
        for hook in ("encode_targets", "compute_loss")
        for name in hooks.acting[hook]
    }
    found = []
    for spec in trial.tricks:
        if spec.name in acting:
            numbers = [
                f"{spec.label}.{name} {value:g}"
                for name, value in spec.params.items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            ]
            found += numbers or [spec.label]
    return " and ".join(found)
