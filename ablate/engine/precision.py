"""The number format of forward and backward, the loss scale that FP16 needs, fused optimizers.

The scaler is ours because torch's GradScaler allows one `unscale_` per update, and an optimizer
step may take two gradients (SAM). Constants and behaviour are GradScaler's, and tested against it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from ablate.core.hook_types import Precision


class NumberFormat:
    """autocast and loss scale of one trial."""

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self.dtype: torch.dtype = getattr(torch, precision.dtype)
        self.device = device
        self.scales = precision.scale
        self.scale = _INITIAL if precision.scale else 1.0
        self._good_steps = 0
        self._finite = True

    def autocast(self) -> AbstractContextManager[Any]:
        """A fresh context for one forward pass; weights' casts are not kept between passes."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def backward(self, loss: Tensor) -> None:
        """Backward through the scaled loss."""
        (loss * self.scale if self.scales else loss).backward()  # type: ignore[no-untyped-call]

    def unscale(self, params: list[Tensor]) -> None:
        """Divide the gradients by the scale, and note whether all are finite."""
        if not self.scales:
            return
        grads = [p.grad for p in params if p.grad is not None]
        torch._foreach_mul_(grads, 1.0 / self.scale)
        largest = torch.stack(torch._foreach_norm(grads, float("inf"))).amax()
        self._finite = self._finite and bool(torch.isfinite(largest))

    def step(self, optimizer: torch.optim.Optimizer) -> bool | None:
        """Step unless a gradient of this step overflowed; update the scale.

        True if it stepped, None where only the device knows.
        """
        finite, self._finite = self._finite, True
        if finite:
            optimizer.step()
        if self.scales:
            self._good_steps = self._good_steps + 1 if finite else 0
            if not finite:
                self.scale *= _BACKOFF
            elif self._good_steps == _INTERVAL:
                self.scale, self._good_steps = self.scale * _GROWTH, 0
        return finite

    def state_dict(self) -> dict[str, Any]:
        """Scale and steps since it last changed."""
        return {"scale": self.scale, "good_steps": self._good_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.scale, self._good_steps = state["scale"], state["good_steps"]


class ScaledOnDevice(NumberFormat):
    """The same for a fused optimizer: nothing waits to learn whether a gradient overflowed.

    Scale and verdict are tensors; such an optimizer reads the verdict itself.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        super().__init__(precision, device)
        self._scale = torch.full((), self.scale, device=device)
        self._good = torch.zeros((), dtype=torch.int32, device=device)
        self._overflow = torch.zeros((), device=device)

    def backward(self, loss: Tensor) -> None:
        """Backward through the scaled loss."""
        (loss * self._scale).backward()  # type: ignore[no-untyped-call]

    def unscale(self, params: list[Tensor]) -> None:
        """Divide the gradients by the scale, and let the device note whether all are finite."""
        alike: dict[torch.dtype, list[Tensor]] = {}
        for p in params:
            if p.grad is not None:
                alike.setdefault(p.grad.dtype, []).append(p.grad)
        inverse = self._scale.double().reciprocal().float()
        for grads in alike.values():
            torch._amp_foreach_non_finite_check_and_unscale_(grads, self._overflow, inverse)

    def step(self, optimizer: torch.optim.Optimizer) -> bool | None:
        """As above; always None."""
        optimizer.found_inf = self._overflow  # type: ignore[attr-defined]
        optimizer.step()
        torch._amp_update_scale_(
            self._scale, self._good, self._overflow, _GROWTH, _BACKOFF, _INTERVAL
        )
        self._overflow.zero_()
        return None

    def state_dict(self) -> dict[str, Any]:
        """Scale and steps since it last changed; waits for the device."""
        return {"scale": self._scale.item(), "good_steps": int(self._good.item())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._scale.fill_(state["scale"])
        self._good.fill_(state["good_steps"])


def number_format(precision: Precision, device: torch.device, fused: bool) -> NumberFormat:
    """The number format of a trial; `fused`: whether its optimizer is."""
    return (ScaledOnDevice if fused and precision.scale else NumberFormat)(precision, device)


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


_GROWTH, _BACKOFF, _INTERVAL, _INITIAL = 2.0, 0.5, 2000, 2.0**16
