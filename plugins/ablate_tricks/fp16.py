"""FP16 compute with FP32 master weights and a scaled loss.

Micikevicius et al., 2017, https://arxiv.org/abs/1710.03740; He et al., 2019,
https://arxiv.org/abs/1812.01187, section 3.2.
"""

from __future__ import annotations

from typing import ClassVar

from ablate import Precision, Trick, hookimpl


class Fp16(Trick):
    """Forward and backward in FP16 where torch's autocast deems it safe; weights stay FP32.

    The loss is multiplied by a power of two that halves whenever a gradient overflows (that step
    is skipped) and doubles after 2,000 steps without.
    """

    version: ClassVar[int] = 1
    provides: ClassVar[frozenset[str]] = frozenset({"number-format"})
    exclusive: ClassVar[frozenset[str]] = frozenset({"number-format"})

    @hookimpl
    def precision(self) -> Precision:
        return Precision(dtype="float16", scale=True)

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return "precision: fp32 → fp16"
