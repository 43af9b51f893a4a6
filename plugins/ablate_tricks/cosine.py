"""Cosine learning-rate decay: η_t = ½·(1 + cos(π·t/T))·η, T without the warmup's batches.

Loshchilov and Hutter, 2016, https://arxiv.org/abs/1608.03983; He et al., 2019,
https://arxiv.org/abs/1812.01187, section 5.1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from ablate import Factors, Trick, hookimpl

if TYPE_CHECKING:
    from ablate import Schedule


class Cosine(Trick):
    """The learning rate follows half a cosine, batch by batch, to 0 after the last one."""

    version: ClassVar[int] = 1
    slot: ClassVar[str] = "shape"

    @hookimpl
    def build_schedule(self) -> Schedule:
        def schedule(step: int, start: int, total: int) -> Factors:
            t = max(step - start, 0) / max(total - start, 1)
            return Factors(lr=0.5 * (1 + math.cos(math.pi * t)))

        return schedule

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return "schedule: step → cosine"
