"""Transposed ablations: one line per column of `over` (such as the model), rows side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ablate.report import captions, numbers
from ablate.report.captions import short_device
from ablate.report.formats import columns as parts
from ablate.report.formats.escape import visible
from ablate.report.formats.grid import Cell, Column
from ablate.report.model import Comparison, ReportRow, ReportTable, Total


def groups(tables: Sequence[ReportTable]) -> list[list[ReportTable]]:
    """Tables to print together: the columns of a transposed ablation on one data set, else one."""
    keyed = enumerate(tables)
    same = groupby(
        keyed,
        key=lambda it: (it[1].study, it[1].ablation, it[1].dataset) if it[1].transpose else it[0],
    )
    return [[table for _, table in group] for _, group in same]


def headings(group: Sequence[ReportTable]) -> list[str]:
    """Labels of the rows, which are columns here: those of the table that has most of them."""
    return [row.label for row in max(group, key=lambda t: len(t.rows)).rows]


def answer(table: ReportTable) -> ReportRow | Total | None:
    """What a line's Δ and verdict are about: the total, or the only trick."""
    if table.total:
        return table.total
    compared = [row for row in table.rows if row.delta or row.verdict]
    return compared[-1] if compared else None


def question(group: Sequence[ReportTable]) -> str:
    """Heading of the Δ: "Δ all 4 tricks", "Δ + efficient"."""
    found = next((a for table in group if (a := answer(table))), None)
    return f"Δ {found.label}" if found else "Δ"


def mean_of(table: ReportTable, i: int) -> str:
    """The mean of row i, empty where this table has no such row."""
    if i >= len(table.rows):
        return ""
    return parts.mean_text(table.rows[i], table, with_sd=True)


def delta_of(table: ReportTable) -> Comparison | None:
    """The comparison that a line prints."""
    found = answer(table)
    return found.delta if found else None


def verdict_of(table: ReportTable) -> str:
    """The verdict that a line prints, or the band of one seed."""
    found = answer(table)
    if found is None:
        return ""
    if table.one_seed and isinstance(found, ReportRow):
        return parts.band_text(found, table)
    return parts.verdict_text(found)


def judged(group: Sequence[ReportTable]) -> bool:
    """Whether any line compares something, or has a verdict for want of a result."""
    return any(t.compares or any(row.verdict for row in t.rows) for t in group)


def columns(group: Sequence[ReportTable]) -> list[Column]:
    """The columns of the terminal table."""
    first = group[0]
    names = tuple(Cell(visible(table.column or "–")) for table in group)
    found = [Column("", (visible(first.dataset), ""), names)]
    unit = first.metric.heading + ("" if first.one_seed else " ±sd")
    for i, label in enumerate(headings(group)):
        cells = tuple(Cell(mean_of(table, i)) for table in group)
        found.append(Column("", (visible(label), unit), cells, right=True))
    if not judged(group):
        return found
    deltas = tuple(Cell(numbers.delta_texts(table, [delta_of(table)])[0]) for table in group)
    interval = f"[{numbers.level(first)} interval]"
    found.append(Column("", (visible(question(group)), "" if first.one_seed else interval), deltas))
    verdicts = tuple(Cell(verdict_of(table)) for table in group)
    heads = (
        ("re-run noise", f"({numbers.level(first)} band)") if first.one_seed else ("", "verdict")
    )
    return [*found, Column("", heads, verdicts)]


def caption(group: Sequence[ReportTable]) -> str:
    """Facts of all lines, each of which is a family of its own."""
    first = group[0]
    if first.one_seed:
        return max((captions.one_seed(table) for table in group), key=len)
    facts = [f"± sd over n = {numbers.count(len(first.seeds), 'seed')}"]
    if any(table.df is not None for table in group):
        over = max((captions.over_seeds(table) for table in group), key=len)
        facts.append(f"Δ {over}, moderated interval of each line")
        facts.append(f"verdicts Holm-corrected within each line, {captions.equivalent(first)}")
    devices = dict.fromkeys(name for table in group for _, name in table.provenance.machines)
    return " · ".join([*facts, "last epoch", *map(short_device, devices)])
