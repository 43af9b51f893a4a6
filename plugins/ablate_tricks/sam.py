"""SAM, sharpness-aware minimisation: step by the gradient at the worst point near the weights.

ŵ = w + ρ·g(w)/‖g(w)‖, then w moves by the optimizer's rule with g(ŵ). Foret et al., 2020,
https://arxiv.org/abs/2010.01412.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import Trick, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from ablate import Recipe, Run


class Sam(Trick):
    """Two gradients a step on the same batch with the same noise, so about twice the time.

    The norm is over all parameters together and the gradient is that of the whole batch, without
    weight decay. Batch norm's running statistics are those of the first pass, at the weights
    themselves. Any optimizer steps; clipping acts on the second gradient.
    """

    version: ClassVar[int] = 1

    rho: float = Field(0.05, ge=0, le=100, description="distance ρ at which the gradient is taken")

    @hookimpl
    def optimizer_step(
        self,
        run: Run,
        compute_gradients: Callable[[], None],
        apply_gradients: Callable[[], None],
    ) -> None:
        import torch
        from torch.nn.utils import get_total_norm

        compute_gradients()
        params = [p for group in run.optimizer.param_groups for p in group["params"]]
        params = [p for p in params if p.grad is not None]
        grads = [p.grad for p in params]
        before = [p.detach().clone() for p in params]
        try:
            with torch.no_grad():
                length = self.rho / (get_total_norm(grads) + 1e-12)
                torch._foreach_add_(params, torch._foreach_mul(grads, length))
            compute_gradients()
        finally:  # to the bit: adding and subtracting again would round
            with torch.no_grad():
                torch._foreach_copy_(params, before)
        apply_gradients()

    def warnings(self, recipe: Recipe) -> list[str]:
        """A distance of nothing."""
        return [] if self.rho else ["sam: ρ 0 takes the gradient at the weights, as without it"]

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return f"step: gradient at the weights → at the worst point within ρ {self.rho:g}"
