"""A trained model that another trial learns from: another trial's, or one from a local file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from ablate import spool
from ablate.errors import AblateError, brief
from ablate.spool import Attempt
from ablate.store import Store
from ablate.trial import DatasetRef, Numerics, Trial


def save(model: nn.Module, attempt: Attempt) -> None:
    """Keep the weights of the model that was evaluated."""
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    attempt.save_weights(lambda file: torch.save(state, file))


def load(store_path: Path, key: str, device: torch.device, numerics: Numerics) -> nn.Module:
    """The model of a finished trial, on the device, in evaluation mode, without gradients."""
    from ablate.training_process import construct
    from ablate.tricks.chains import Hooks

    trial = Store(store_path).trial(key)
    path = spool.weights(store_path, key)
    if trial is None or path is None:
        raise AblateError(f"the weights of the teacher {key[:8]} are not in {store_path}")
    idle = frozenset(t.name for t in trial.tricks if t.bundle)
    # What it was trained with may be gone by now; only its structure is needed.
    hooks = Hooks(construct(trial.tricks, check_files=False), may_idle=idle)
    model: nn.Module = hooks.build_model(trial.recipe, trial.dataset.num_classes)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return _placed(model, device, numerics)


def load_file(
    name: str, path: Path, data: DatasetRef, device: torch.device, numerics: Numerics
) -> nn.Module:
    """A model as recipes name it, with a file's weights, for the classes of `data`; as `load`.

    Raises AblateError if there is no such model or the file's weights are not its.
    """
    from ablate.models.build import build_model
    from ablate.weights import load_into

    try:
        model = build_model(name, data.num_classes)
        load_into(model, path, data.num_classes, data.name)
    except AblateError as error:
        raise AblateError(f"teacher {name}: {error.message}", hint=error.hint) from error
    return _placed(model, device, numerics)


def check_file(name: str, path: Path, trial: Trial) -> None:
    """Refuse a teacher from a file that `trial` cannot learn from: AblateError, in one line.

    It is loaded and shown one black image of the training's size, on the CPU.
    """
    about, size = path.stat(), trial.recipe.image_size
    assert size is not None, "a resolved recipe has a size"
    _check(name, path, (about.st_size, about.st_mtime_ns), trial.dataset, size)


@lru_cache(maxsize=64)
def _check(name: str, path: Path, marks: tuple[int, int], data: DatasetRef, size: int) -> None:
    """Once for all rows; `marks` tell one content of the file from another."""
    model = load_file(name, path, data, torch.device("cpu"), Numerics())
    try:
        with torch.no_grad():
            logits = model(torch.zeros(1, 3, size, size))
    except Exception as error:  # a model's own code raises anything
        raise AblateError(
            f"teacher {name} cannot see images of {size} pixels: {brief(error, 150)}",
            hint="it is shown the student's own images: set image_size, or take another teacher",
        ) from error
    shape = tuple(getattr(logits, "shape", ())) or type(logits).__name__
    if shape != (1, data.num_classes):
        raise AblateError(
            f"teacher {name} returned {shape} for one image, not logits (1, {data.num_classes})"
        )


def _placed(model: nn.Module, device: torch.device, numerics: Numerics) -> nn.Module:
    layout = torch.channels_last if numerics.channels_last else torch.contiguous_format
    model = model.to(device).to(memory_format=layout)
    return model.eval().requires_grad_(False)
