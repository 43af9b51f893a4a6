"""BF16 compute with FP32 master weights; its exponent is FP32's, so the loss needs no scale.

Kalamkar et al., 2019, https://arxiv.org/abs/1905.12322.
"""

from __future__ import annotations

from typing import ClassVar

from ablate import Precision, Trick, hookimpl


class Bf16(Trick):
    """Forward and backward in BF16 where torch's autocast deems it safe; weights stay FP32."""

    version: ClassVar[int] = 1
    provides: ClassVar[frozenset[str]] = frozenset({"number-format"})
    exclusive: ClassVar[frozenset[str]] = frozenset({"number-format"})

    @hookimpl
    def precision(self) -> Precision:
        return Precision(dtype="bfloat16")

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return "precision: fp32 → bf16"
