"""Intervals drawn in characters on one axis, zero in the middle."""

from __future__ import annotations

from ablate.report.model import Comparison, ReportTable
from ablate.report.numbers import plain

_HALF = 9  # cells on either side of zero


def axis(table: ReportTable) -> float | None:
    """The axis' end in points: the next round number beyond every interval.

    None without any interval, and where a number is beyond all that can be drawn.
    """
    effects = [row.delta.effect for row in table.judged if row.delta and row.delta.effect]
    ends = [abs(end) for e in effects for end in (e.low, e.high) if end is not None]
    if not ends:
        return None
    reach = max(ends) * table.metric.scale
    steps = (m * 10.0**e for e in range(-6, 300) for m in (1, 2, 3, 5))
    return next((step for step in steps if step >= reach), None)


def scale(end: float) -> str:
    """The axis' labels: "−3       0       +3"."""
    label = plain(end)
    left, right = f"−{label}", f"+{label}"
    return left + "0".rjust(_HALF + 1 - len(left)) + right.rjust(_HALF)


def line(table: ReportTable, end: float, comparison: Comparison | None) -> str:
    """One interval: "─┼●──"; empty for rows without one."""
    effect = comparison.effect if comparison else None
    if effect is None or effect.low is None or effect.high is None:
        return ""

    def at(value: float) -> int:
        return _HALF + round(value * table.metric.scale / end * _HALF)

    cells = [" "] * (2 * _HALF + 1)
    cells[_HALF] = "│"
    for i in range(at(effect.low), at(effect.high) + 1):
        cells[i] = "┼" if i == _HALF else "─"
    cells[at(effect.delta)] = "●"
    return "".join(cells).rstrip()
