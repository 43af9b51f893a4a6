"""EMA: evaluate an exponential moving average of the weights, w̄ ← d·w̄ + (1 − d)·w at each step.

Polyak and Juditsky, 1992, https://doi.org/10.1137/0330046; Szegedy et al., 2016,
https://arxiv.org/abs/1512.00567, section 8; Tarvainen and Valpola, 2017,
https://arxiv.org/abs/1703.01780.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PrivateAttr

from ablate import Trick, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ablate import Recipe, Run


_MOST_INITIAL = 0.01  # share of the initial weights in the last average that needs no word


class Ema(Trick):
    """The training itself stays as it is; what is evaluated is the average.

    It starts at the initial weights and takes in batch norm's running statistics like the weights,
    so that nothing has to be recalibrated. It reaches back about 1/(1 − d) steps, which should be a
    small part of the training: 0.99 for some thousand steps, 0.999 and more for longer ones.
    """

    version: ClassVar[int] = 1

    decay: float = Field(0.99, ge=0, lt=1, description="share d of the average that a step keeps")

    _average: Any = PrivateAttr(None)  # state_dict's names and shapes
    _trained: Any = PrivateAttr(None)  # the model's own tensors, in the same order

    @hookimpl
    def on_trial_start(self, run: Run) -> None:
        self._average = {name: value.clone() for name, value in run.model.state_dict().items()}

    @hookimpl
    def on_epoch_start(self, run: Run) -> None:
        self._trained = run.model.state_dict()
        for name, value in self._trained.items():
            self._average[name] = self._average[name].to(value.device)  # a checkpoint's is the CPU

    @hookimpl
    def on_step_end(self) -> None:
        import torch

        averages: list[Tensor] = []
        values: list[Tensor] = []
        for name, value in self._trained.items():
            if value.is_floating_point():
                averages.append(self._average[name])
                values.append(value)
            else:  # batch norm's count of batches
                self._average[name].copy_(value)
        torch._foreach_lerp_(averages, values, 1 - self.decay)

    @hookimpl
    def eval_model(self, model: nn.Module) -> nn.Module:
        averaged = copy.deepcopy(model)
        averaged.load_state_dict(self._average)
        return averaged

    def warnings(self, recipe: Recipe) -> list[str]:
        """An average of nothing but the last weights."""
        return [] if self.decay else ["ema: decay 0 evaluates the last weights, as without it"]

    def step_warnings(self, recipe: Recipe, steps_per_epoch: int) -> list[str]:
        """An average that is still in good part what it started from."""
        steps = recipe.epochs * steps_per_epoch
        if (initial := self.decay**steps) <= _MOST_INITIAL:
            return []
        share = f"{initial:.1%}" if initial < 0.9995 else "over 99.9%"
        return [
            f"{share} of the average that is evaluated is the initial weights: decay "
            f"{self.decay:g} over {steps:,} steps; {_MOST_INITIAL ** (1 / steps):.3g} would leave "
            f"{_MOST_INITIAL:.0%}"
        ]

    def state_dict(self) -> dict[str, Any]:
        """The average."""
        return {} if self._average is None else {"average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._average = dict(state["average"])

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return f"evaluation: last weights → their moving average, decay {self.decay:g}"
