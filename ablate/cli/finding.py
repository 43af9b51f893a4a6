"""One line of `ablate doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """fine: nothing to do; attention: something may be wanted; wrong: something must be done."""

    kind: Literal["fine", "attention", "wrong"]
    subject: str
    message: str
    todo: str = ""
