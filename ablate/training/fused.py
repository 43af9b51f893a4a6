"""torch's fused optimizers: one kernel a step where an optimizer has it."""

from __future__ import annotations

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer


def fuse(optimizer: Optimizer) -> bool:
    """Let torch's SGD, Adam or AdamW step in one kernel; False for any other optimizer.

    As if it had been constructed with `fused=True`, before its first step. Such a step takes
    `found_inf`, a tensor, and decides on the device whether it changes anything.
    """
    # Exactly these: a subclass may step in its own way.
    if type(optimizer) not in (SGD, Adam, AdamW):
        return False
    groups = optimizer.param_groups
    tensors = [p for group in groups for p in group["params"]]
    if any(
        g.get("differentiable") or g.get("dampening") or torch.is_tensor(g["lr"]) for g in groups
    ):
        return False
    if not all(p.is_floating_point() and not p.is_sparse for p in tensors):
        return False
    for group in (*groups, optimizer.defaults):
        group["fused"], group["foreach"] = True, False
    for group in groups:
        for p in group["params"]:
            if group.get("momentum"):
                # torch leaves the buffers of a first step that is skipped unset: they start from 0,
                # which without dampening is the same.
                optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
    optimizer._step_supports_amp_scaling = True  # type: ignore[attr-defined]
    optimizer._need_device_dtype_check_for_fused = True  # type: ignore[attr-defined]
    return True
