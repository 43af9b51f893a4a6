"""What the charts draw: one panel for a table, or for the tables of a transposed ablation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ablate.report import captions, numbers
from ablate.report.formats import transposed
from ablate.report.model import Comparison, ReportRow, ReportTable, SeedValue, Total

# Epochs of a trial by its key, as `ablate.store.store.Store.epochs`; empty where there are none.
Epochs = Callable[[str], Sequence[Mapping[str, float]]]


@dataclass(frozen=True)
class Line:
    """One compared row.

    label: as printed. row: index of the row in `table`; asked: the row, or the table's total.
    """

    label: str
    table: ReportTable
    row: int
    asked: ReportRow | Total

    @property
    def comparison(self) -> Comparison | None:
        """What its Δ, interval and verdict are about."""
        return self.asked.delta

    @property
    def is_total(self) -> bool:
        """Whether it is the last row against the baseline."""
        return isinstance(self.asked, Total)

    @property
    def name(self) -> str:
        """The label in a sentence: without the sign of a step."""
        return self.label.removeprefix("+ ")

    @property
    def delta(self) -> float | None:
        """Δ in the unit printed."""
        return scaled(self.comparison.delta if self.comparison else None, self.table)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of Δ in the unit printed."""
        return self._interval("low", "high")

    @property
    def inner(self) -> tuple[float, float] | None:
        """The shorter one that equivalence uses."""
        return self._interval("low_inner", "high_inner")

    @property
    def band(self) -> float | None:
        """Half-width of one seed's re-run noise in the unit printed."""
        return scaled(self.comparison.band if self.comparison else None, self.table)

    @property
    def seeds(self) -> dict[int, float]:
        """Δ of each seed that both rows have, in the unit printed."""
        if self.comparison is None:
            return {}
        return seed_differences(self.table, self.row, self.comparison.reference)

    def _interval(self, low: str, high: str) -> tuple[float, float] | None:
        effect = self.comparison.effect if self.comparison else None
        ends = [scaled(getattr(effect, end), self.table) for end in (low, high)] if effect else []
        found = [end for end in ends if end is not None]
        return (found[0], found[1]) if len(found) == 2 else None


@dataclass(frozen=True)
class Panel:
    """One data set of an ablation, and what was compared on it. tables: several if transposed."""

    title: str
    tables: tuple[ReportTable, ...]
    lines: tuple[Line, ...]

    @property
    def first(self) -> ReportTable:
        """Whose metric, margin and seeds hold for the panel."""
        return self.tables[0]

    @property
    def transposed(self) -> bool:
        """Whether each line is a table of its own."""
        return self.first.transpose


def panels(tables: Sequence[ReportTable]) -> list[Panel]:
    """One for each group of tables that is printed together."""
    found = []
    for group in transposed.groups(tables):
        first = group[0]
        lines = (
            [line for table in group if (line := _answer(table))]
            if first.transpose
            else _lines(first)
        )
        title = first.dataset if first.transpose else captions.title(first)
        found.append(Panel(title, tuple(group), tuple(lines)))
    return found


def studies(tables: Sequence[ReportTable]) -> list[list[ReportTable]]:
    """Tables of each study, in the order given."""
    found: dict[str, list[ReportTable]] = {}
    for table in tables:
        found.setdefault(table.study, []).append(table)
    return list(found.values())


def ablations(tables: Sequence[ReportTable]) -> list[list[ReportTable]]:
    """Tables of each ablation of one study."""
    return [list(group) for _, group in groupby(tables, key=lambda t: (t.ablation, t.kind))]


def scaled(value: float | None, table: ReportTable) -> float | None:
    """In the unit printed: percent and points for accuracies."""
    return None if value is None or not math.isfinite(value) else value * table.metric.scale


def seed_value(cell: SeedValue, table: ReportTable) -> float | None:
    """The metric of a trial in the unit printed; None where it has none."""
    return scaled(cell.values.get(table.metric.name), table)


def seed_differences(table: ReportTable, row: int, reference: int) -> dict[int, float]:
    """Row minus reference for every seed that both have, in the unit printed."""
    theirs = {cell.seed: seed_value(cell, table) for cell in table.rows[reference].seeds}
    found = {}
    for cell in table.rows[row].seeds:
        mine, other = seed_value(cell, table), theirs.get(cell.seed)
        if mine is not None and other is not None:
            found[cell.seed] = mine - other
    return found


def unit(table: ReportTable) -> str:
    """What a Δ is in: "points of top-1", "loss"."""
    return table.metric.difference


def signed(value: float, table: ReportTable) -> str:
    """A Δ in the table's decimals."""
    return numbers.signed(value, table.decimals)


def interval_text(ends: tuple[float, float] | None, table: ReportTable) -> str:
    """ "[−0.2, +1.0]", empty without one."""
    return "" if ends is None else f"[{signed(ends[0], table)}, {signed(ends[1], table)}]"


def listed(words_: Iterable[str]) -> str:
    """ "8", "8 and 6", "8, 6 and 4"."""
    found = list(words_)
    return " and ".join(part for part in (", ".join(found[:-1]), *found[-1:]) if part)


def _lines(table: ReportTable) -> list[Line]:
    found = [
        Line(row.label, table, i, row)
        for i, row in enumerate(table.rows)
        if row.delta is not None or row.verdict
    ]
    if table.total:
        found.append(Line(table.total.label, table, _last_step(table), table.total))
    return found


def _answer(table: ReportTable) -> Line | None:
    found = transposed.answer(table)
    if found is None:
        return None
    row = _last_step(table) if isinstance(found, Total) else table.rows.index(found)
    return Line(table.column or found.label, table, row, found)


def _last_step(table: ReportTable) -> int:
    return max((i for i, row in enumerate(table.rows) if row.role == "step"), default=0)
