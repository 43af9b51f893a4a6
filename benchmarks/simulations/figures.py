"""One simulated percentage, its Monte-Carlo error and its bar."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Figure:
    """A percentage of `tables` simulated tables.

    setting: what was simulated, in words. seeds: per row. what: that is counted. error: standard
    error of the percentage by simulation alone, in points. low, high: the bar, None without one.
    """

    setting: str
    seeds: str
    what: str
    percent: float
    error: float
    tables: int
    low: float | None = None
    high: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the percentage lies within the bar; None without one."""
        if self.low is None and self.high is None:
            return None
        return (self.low is None or self.percent >= self.low) and (
            self.high is None or self.percent <= self.high
        )

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "met": self.met}


def share(
    setting: str,
    seeds: object,
    what: str,
    hits: npt.NDArray[Any],
    bar: tuple[float | None, float | None] = (None, None),
) -> Figure:
    """`hits` [tables] or [tables, comparisons], of which a table's mean counts: they share rows."""
    each = np.asarray(hits, dtype=float).reshape(len(hits), -1).mean(axis=1)
    # 3/T where nothing or everything was hit: the 95% bound, and not an error of 0
    error = max(float(each.std(ddof=1)) / len(each) ** 0.5, 1.5 / len(each))
    return Figure(
        setting,
        str(seeds),
        what,
        round(100 * float(each.mean()), 4),
        round(100 * error, 4),
        len(each),
        *bar,
    )
