"""Weights and statistics that hide nothing, copied between models, and what both compute."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def scrambled(model: nn.Module) -> nn.Module:
    """In eval mode, with weights and statistics that hide nothing: no γ of 1, no mean of 0."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.ndim == 1 and tensor.is_floating_point():
            tensor.uniform_(-0.5, 1, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
    return model.eval()


def copied(ours: nn.Module, theirs: nn.Module) -> nn.Module:
    """Ours in eval mode with their weights: layer by layer in order, names aside."""
    mine, others = ours.state_dict(), theirs.state_dict()
    assert [t.shape for t in mine.values()] == [t.shape for t in others.values()]
    ends = [[name.rsplit(".", 1)[-1] for name in state] for state in (mine, others)]
    assert ends[0] == ends[1]
    ours.load_state_dict(dict(zip(mine, others.values(), strict=True)))
    return ours.eval()


@torch.no_grad()
def assert_same_logits(ours: nn.Module, theirs: nn.Module, size: int) -> None:
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size))
    a, b = ours(images), theirs(images)
    assert b.std() > 0.01
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))
