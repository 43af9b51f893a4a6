"""A model by name with trained weights from a local file: no store, no other trial."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from ablate.core.trial import DatasetRef, Numerics, Trial
from ablate.engine.compiled import compile_forward
from ablate.errors import AblateError, brief
from ablate.models.build import build_model

_LOADED: list[nn.Module] = []  # by the trial that runs; it is asked how good they are


def load_teacher(
    name: str, path: Path, data: DatasetRef, device: torch.device, numerics: Numerics
) -> nn.Module:
    """A model as recipes name it, with a file's weights, for the classes of `data`.

    Raises AblateError if there is no such model or the file's weights are not its.
    """
    model = _load(name, path, data, device, numerics)
    _LOADED.append(model)
    return model


def loaded() -> list[nn.Module]:
    """The teachers that were loaded since `forget`."""
    return list(_LOADED)


def forget() -> None:
    """A trial begins, or has ended: its teachers' memory is free."""
    _LOADED.clear()


def _load(
    name: str, path: Path, data: DatasetRef, device: torch.device, numerics: Numerics
) -> nn.Module:
    from ablate.models.weights import load_into

    try:
        model = build_model(name, data.num_classes)
        load_into(model, path, data.num_classes, data.name)
    except AblateError as error:
        raise AblateError(f"teacher {name}: {error.message}", hint=error.hint) from error
    return placed(model, device, numerics)


def check_teacher(name: str, path: Path, trial: Trial) -> None:
    """Refuse a teacher from a file that `trial` cannot learn from: AblateError, in one line.

    It is loaded and shown one black image of the training's size, on the CPU.
    """
    about, size = path.stat(), trial.recipe.image_size
    assert size is not None, "a resolved recipe has a size"
    _check(name, path, (about.st_size, about.st_mtime_ns), trial.dataset, size)


@lru_cache(maxsize=64)
def _check(name: str, path: Path, marks: tuple[int, int], data: DatasetRef, size: int) -> None:
    """Once for all rows; `marks` tell one content of the file from another."""
    model = _load(name, path, data, torch.device("cpu"), Numerics())
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


def placed(model: nn.Module, device: torch.device, numerics: Numerics) -> nn.Module:
    """On the device, in evaluation mode, without gradients."""
    layout = torch.channels_last if numerics.channels_last else torch.contiguous_format
    model = model.to(device).to(memory_format=layout).eval().requires_grad_(False)
    if numerics.compiled:
        compile_forward(model, "the teacher")
    return model
