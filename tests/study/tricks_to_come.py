"""Tricks that the reference studies name and that are not written yet, with their real hooks.

A loose plugin file: the studies that need them load it as anyone's.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ablate import Trick, hookimpl


class Sam(Trick):
    version: ClassVar[int] = 1
    rho: float = Field(0.05, gt=0)

    @hookimpl
    def optimizer_step(self, run, compute_gradients, apply_gradients):
        raise NotImplementedError
