"""Numbers as a reader sees them: rounded here only, with the sign of the unrounded number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ablate.report.model import Comparison, Diverged, ReportTable
from ablate.stats import Ratio, Wins

# Two fits give one difference as 2.75 and as 2.7499999999999996: digits beyond this one are
# floating point's, and must not decide how a reader sees it rounded.
_SOUND_DECIMALS = 9


def fixed(value: float, decimals: int) -> str:
    """A number that is no difference: "89.8", "1,234.5"."""
    return f"{round(value, _SOUND_DECIMALS):,.{decimals}f}".replace("-", "−")


def signed(value: float, decimals: int) -> str:
    """A difference: "+0.4", "−0.0" for −0.01, "0.0" for 0 up to floating point's error."""
    value = round(value, _SOUND_DECIMALS)
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return f"{sign}{abs(value):,.{decimals}f}"


def plain(value: float) -> str:
    """A declared number as short as it is: "0.5"."""
    return f"{value:g}"


def mean(value: float | None, table: ReportTable) -> str:
    """A row's mean in the table's decimals, empty if there is none."""
    return "" if value is None else fixed(value * table.metric.scale, table.decimals)


def delta(comparison: Comparison | None, table: ReportTable) -> str:
    """A difference in points, empty if there is none."""
    if comparison is None or comparison.delta is None:
        return ""
    return signed(comparison.delta * table.metric.scale, table.decimals)


def bounds(comparison: Comparison | None, table: ReportTable) -> tuple[str, str] | None:
    """The interval's ends in points."""
    effect = comparison.effect if comparison else None
    if effect is None or effect.low is None or effect.high is None:
        return None
    scale, decimals = table.metric.scale, table.decimals
    return signed(effect.low * scale, decimals), signed(effect.high * scale, decimals)


def secondary(value: float | None, table: ReportTable) -> str:
    """A mean of the table's other metric: one decimal if it is in percent."""
    if value is None or table.secondary is None:
        return ""
    return fixed(value * table.secondary.scale, 1 if table.secondary.percent else 3)


def wins(found: Wins | None) -> str:
    """How often a row wins: "97% [81, > 99]", empty if it is not known."""
    if found is None:
        return ""
    low, high = (_share(end) for end in (found.low, found.high))
    return f"{_share(found.share)}% [{low}, {high}]"


def _share(value: float) -> str:
    percent = round(100 * value)
    return "< 1" if percent < 1 else "> 99" if percent > 99 else f"{percent}"


def figures(value: float) -> str:
    """A positive number to three figures, whole numbers in full: "25.6", "4.09", "1,412"."""
    decimals = max(0, 2 - math.floor(math.log10(float(f"{value:.2e}"))))
    return fixed(value, decimals)


@dataclass(frozen=True)
class Clock:
    """The unit of one table's epoch times: "8.0 s", "13.3 min", "1 h 18"."""

    unit: Literal["s", "min", "h"]
    decimals: int = 0

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Clock:
        """The unit in which the shortest still has two figures."""
        shortest = min((value for value in values if value is not None), default=1.0)
        if shortest >= 120:
            return cls("h") if shortest >= 3600 else cls("min", 1)
        return cls(
            "s", 0 if shortest >= 100 else 1 if shortest >= 1 else 2 if shortest >= 0.1 else 4
        )

    def text(self, seconds: float) -> str:
        """A time of the table."""
        if self.unit == "h":
            hours, minutes = divmod(round(seconds / 60), 60)
            return f"{hours:,} h {minutes}" if minutes else f"{hours:,} h"
        return f"{fixed(seconds / (60 if self.unit == 'min' else 1), self.decimals)} {self.unit}"


def ratios(found: Sequence[Ratio | None], *, intervals: bool) -> list[str]:
    """ "×0.51", or "×0.51 [0.48, 0.54]", below each other; "" without one."""
    texts = ["" if ratio is None else f"×{fixed(ratio.ratio, 2)}" for ratio in found]
    return aligned(texts, [ratio_bounds(ratio) if intervals else None for ratio in found])


def ratio(found: Ratio | None) -> str:
    """ "×0.51 [0.48, 0.54]", "×0.51" where there is no interval."""
    return ratios([found], intervals=True)[0]


def ratio_bounds(found: Ratio | None) -> tuple[str, str] | None:
    """The interval's ends."""
    if found is None or found.low is None or found.high is None:
        return None
    return fixed(found.low, 2), fixed(found.high, 2)


def span(values: Sequence[int]) -> str:
    """ "0–2" for neighbours, else "0, 2, 5"."""
    if len(values) > 1 and list(values) == list(range(values[0], values[0] + len(values))):
        return f"{values[0]}–{values[-1]}"
    return ", ".join(str(v) for v in values)


def level(table: ReportTable) -> str:
    """ "95%": of the intervals."""
    return f"{100 * (1 - table.alpha):g}%"


def inner_level(table: ReportTable) -> str:
    """ "90%": of the interval that equivalence uses."""
    return f"{100 * (1 - 2 * table.alpha):g}%"


def degrees(table: ReportTable) -> str:
    """Degrees of freedom of the table's intervals: "6", or "5 to 6" where cells are missing."""
    return degrees_of(df for df in (table.df, table.df_most) if df is not None)


def degrees_of(values: Iterable[float]) -> str:
    """The smallest and the largest: "6", "5 to 6", "3.7 to 6"."""
    known = list(values)
    if not known:
        return "0"
    ends = dict.fromkeys(f"{round(value, 1):g}" for value in (min(known), max(known)))
    return " to ".join(ends)


def share(found: Diverged, alpha: float) -> str:
    """ "2 of 3, 95% interval 9–99%"."""
    ends = f"{100 * found.low:.0f}–{100 * found.high:.0f}%"
    return f"{found.count} of {found.of}, {100 * (1 - alpha):g}% interval {ends}"


def count(number: int, word: str) -> str:
    """ "1 comparison", "5 comparisons"."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def delta_texts(table: ReportTable, comparisons: Sequence[Comparison | None]) -> list[str]:
    """ "+0.4 [−0.2, +1.0]", "+2.1 on 2 seeds"; numbers stand below each other."""
    deltas = [delta(c, table) for c in comparisons]
    texts = aligned(deltas, [bounds(c, table) for c in comparisons])
    for i, comparison in enumerate(comparisons):
        if comparison is None or not deltas[i]:
            continue
        if comparison.shared < len(table.seeds) and comparison.effect is None:
            texts[i] += f" on {count(comparison.shared, 'seed')}"
    return texts


def aligned(values: Sequence[str], bounds: Sequence[tuple[str, str] | None]) -> list[str]:
    """Numbers and their intervals below each other: "+0.4 [−0.2, +1.0]"; "" stays empty."""
    width = max(map(len, values), default=0)
    low = max((len(b[0]) for b in bounds if b), default=0)
    high = max((len(b[1]) for b in bounds if b), default=0)
    return [
        (value and value.rjust(width))
        + (f" [{bound[0].rjust(low)}, {bound[1].rjust(high)}]" if value and bound else "")
        for value, bound in zip(values, bounds, strict=True)
    ]
