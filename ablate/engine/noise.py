"""Randomness inside the model (dropout, stochastic depth) and batch-norm buffers, held still.

Layers draw from torch's default generator; it is reseeded before each forward from (seed, epoch,
step, micro-batch), so that a second gradient in the same step sees the same noise and a resumed
training the same as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import StochasticDepth

from ablate.core import rng


def uses_noise(model: nn.Module) -> bool:
    """Whether a layer draws random numbers in training (`uses_noise = True` marks others)."""
    return any(
        isinstance(module, _DropoutNd | StochasticDepth) or getattr(module, "uses_noise", False)
        for module in model.modules()
    )


def reseed(device: torch.device, *parts: int | str) -> None:
    """Seed the default generators by this key."""
    key = rng.stream_key("forward", *parts) % 2**63
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(key)


@contextmanager
def buffers_kept(model: nn.Module, keep: bool) -> Iterator[None]:
    """Put the buffers (batch-norm statistics) back afterwards, if `keep`."""
    saved = [buffer.clone() for buffer in model.buffers()] if keep else []
    try:
        yield
    finally:
        for buffer, value in zip(model.buffers(), saved, strict=False):
            buffer.copy_(value)
