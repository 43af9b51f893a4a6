"""One cycle: the learning rate rises to the recipe's and falls far below, momentum the other way.

Over the first `pct_start` of the training from η/`div_factor` up to η, and then down to
η/(`div_factor`·`final_div_factor`); momentum from `max_momentum` down to `base_momentum` and back.
Smith and Topin, 2017, https://arxiv.org/abs/1708.07120; Smith, 2018,
https://arxiv.org/abs/1803.09820.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ablate import Factors, Trick, hookimpl

if TYPE_CHECKING:
    from ablate import Recipe, Schedule


class OneCycle(Trick):
    """torch's OneCycleLR, stepped per batch, with its parameters and defaults.

    The recipe's lr is the peak. `base_momentum` and `max_momentum` are SGD's values: the recipe's
    momentum is multiplied so as to reach them, and Adam's β₁ by the same factors. Without momentum
    in the recipe, only the learning rate cycles. After a warmup the cycle spans what is left.
    """

    version: ClassVar[int] = 1
    slot: ClassVar[str] = "shape"

    pct_start: float = Field(0.3, ge=0, lt=1, description="share of the training that rises")
    div_factor: float = Field(25.0, ge=1, description="first lr = recipe's lr / div_factor")
    final_div_factor: float = Field(1e4, ge=1, description="last lr = first lr / final_div_factor")
    base_momentum: float = Field(0.85, ge=0, lt=1, description="momentum where the lr peaks")
    max_momentum: float = Field(0.95, ge=0, lt=1, description="momentum at both ends")
    anneal_strategy: Literal["cos", "linear"] = Field("cos", description="half cosines or lines")

    @hookimpl
    def build_schedule(self, recipe: Recipe) -> Schedule:
        anneal = _ANNEAL[self.anneal_strategy]
        first = 1 / self.div_factor
        last = first / self.final_div_factor
        low, high = (
            (self.base_momentum / recipe.momentum, self.max_momentum / recipe.momentum)
            if recipe.momentum
            else (1.0, 1.0)
        )

        def schedule(step: int, start: int, total: int) -> Factors:
            t, length = max(step - start, 0), total - start
            # The last batch of the rise is at the peak, that of the training at the end.
            peak, end = self.pct_start * length - 1, max(length - 1, 1)
            if peak > 0 and t <= peak:
                share = t / peak
                return Factors(anneal(first, 1.0, share), anneal(high, low, share))
            share = min((t - peak) / (end - peak), 1.0)
            return Factors(anneal(1.0, last, share), anneal(low, high, share))

        return schedule

    def warnings(self, recipe: Recipe) -> list[str]:
        """A recipe without momentum has none to cycle."""
        if recipe.momentum:
            return []
        return ["one_cycle: the recipe's momentum is 0, so only the learning rate cycles"]

    def step_warnings(self, recipe: Recipe, steps_per_epoch: int) -> list[str]:
        """A cycle that only falls."""
        rise = self.pct_start * recipe.epochs * steps_per_epoch
        if not self.pct_start or rise > 1:
            return []
        return [
            f"one_cycle does not rise: {self.pct_start:.0%} of the training is "
            f"{rise:.2g} of its {recipe.epochs * steps_per_epoch:,} steps"
        ]

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return (
            f"schedule: step → one cycle, up for {self.pct_start:.0%}, "
            f"momentum {self.max_momentum:g} → {self.base_momentum:g} → {self.max_momentum:g}"
        )


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _line(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


_ANNEAL: dict[str, Callable[[float, float, float], float]] = {"cos": _cosine, "linear": _line}
