"""Tiny trials for tests: digits, a small model, the real engine, results kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ablate import Trick
from ablate.core.hook_types import Run
from ablate.core.recipe import Recipe
from ablate.core.trial import Numerics, Trial
from ablate.data.cache import ensure_cache
from ablate.data.catalogue import dataset_info
from ablate.data.loader import open_data
from ablate.engine.loop import train
from ablate.engine.recorder import Memory as Memory

CPU = torch.device("cpu")


def recipe(**settings: Any) -> Recipe:
    """A resolved recipe for digits at 8 pixels."""
    info = dataset_info("digits")
    size = settings.pop("image_size", 8)
    defaults: dict[str, Any] = {
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
    return Recipe(**(defaults | settings))


def trial(seed: int = 0, limit: int = 40, **settings: Any) -> Trial:
    """A trial without tricks in its key; tests hand the tricks to `run` themselves."""
    cached = ensure_cache("digits", None, 8).limited(limit)
    return Trial(
        recipe=recipe(**settings),
        dataset=cached.ref(limit),
        tricks=(),
        numerics=Numerics(),
        seed=seed,
    )


def run(
    tricks: Sequence[Trick] = (),
    memory: Memory | None = None,
    teacher: nn.Module | None = None,
    **settings: Any,
) -> tuple[Run, Memory]:
    """Train a tiny trial with these tricks in this process."""
    torch.set_num_threads(1)
    memory = memory or Memory()
    made = trial(**settings)
    cached = ensure_cache("digits", None, 8).limited(made.dataset.limit)
    result = train(
        made,
        tricks,
        lambda augmentations: open_data(cached, made.recipe, augmentations, made.seed, CPU),
        CPU,
        memory,
        teacher,
    )
    return result, memory


def weights(run: Run) -> dict[str, torch.Tensor]:
    """A copy of the trained weights and buffers."""
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
