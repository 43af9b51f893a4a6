"""Gradient clipping: shrink the gradient to a bound on its norm, g ← g·min(1, c/(‖g‖ + 10⁻⁶)).

‖g‖ is the L2 norm over all parameters together. Pascanu et al., 2012,
https://arxiv.org/abs/1211.5063.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import Trick, hookimpl

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor


class GradientClipping(Trick):
    """As torch's clip_grad_norm_: the direction stays, the length is at most `max_norm`.

    It acts on the whole batch's gradient, after FP16's loss scale is taken out of it and before
    weight decay and momentum. A gradient that is not finite stays so.
    """

    version: ClassVar[int] = 1
    slot: ClassVar[str] = "clip"

    max_norm: float = Field(1.0, gt=0, description="bound on the norm of the gradient")

    @hookimpl(wrapper=True)
    def transform_gradients(self) -> Generator[None, list[Tensor], list[Tensor]]:
        import torch
        from torch.nn.utils import get_total_norm

        grads = yield
        shrink = (self.max_norm / (get_total_norm(grads) + 1e-6)).clamp(max=1.0)
        return list(torch._foreach_mul(grads, shrink))

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return f"gradients: as they are → norm at most {self.max_norm:g}"
