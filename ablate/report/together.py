"""Several tables in one report: which study each is of, and what must not be compared."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import groupby

from ablate.report import numbers, words
from ablate.report.model import ReportTable
from ablate.report.provenance import short_device

_NAMED = 4  # studies that a note names before it counts the others


def by_study(tables: Sequence[ReportTable]) -> list[list[ReportTable]]:
    """The tables of each study, in order."""
    return [list(group) for _, group in groupby(tables, key=lambda table: table.study)]


def title(table: ReportTable) -> str:
    """What a study's tables stand below: its name and its recipe."""
    return " · ".join(part for part in (table.study, table.provenance.headline) if part)


def notes(tables: Sequence[ReportTable]) -> list[str]:
    """What differs between studies and makes their rows no comparison, a sentence each.

    Between the tables of one study only the times can: they may come from different devices.
    """
    found = []
    if len(by_study(tables)) > 1:
        for what, value in _PROTOCOL:
            found += _differ(what, tables, value)
        for dataset in dict.fromkeys(table.dataset for table in tables):
            same = [table for table in tables if table.dataset == dataset]
            found += _differ(f"test images of {dataset}", same, _images)
        if found:
            found.append("compare rows within a study only: these are not trained or judged alike")
    timed = [table for table in tables if any(row.seconds is not None for row in table.rows)]
    return found + _differ("devices", timed, _devices, "times are not comparable: devices differ")


def _differ(
    what: str,
    tables: Sequence[ReportTable],
    value: Callable[[ReportTable], Hashable],
    said: str = "",
) -> list[str]:
    """ "margins differ: ±0.5 points in group1, ±1 points in group2"; nothing where all agree."""
    values = {str(found): None for table in tables if (found := value(table)) is not None}
    if len(values) < 2:
        return []
    each = []
    for text in values:
        having = [table for table in tables if str(value(table)) == text]
        each.append(f"{text} in {_named(having, tables)}")
    return [f"{said or f'{what} differ'}: {', '.join(each)}"]


def _named(having: Sequence[ReportTable], tables: Sequence[ReportTable]) -> str:
    """The studies, or where a study has both, its tables."""
    several = len(by_study(tables)) > 1
    names = []
    for table in having:
        whole = all(other in having for other in tables if other.study == table.study)
        place = [] if whole and several else [table.ablation, words.title(table)]
        names.append(" ".join(part for part in (table.study if several else "", *place) if part))
    names = list(dict.fromkeys(names))
    if len(names) > _NAMED:
        names = [*names[: _NAMED - 1], f"{len(names) - _NAMED + 1} others"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _setting(ending: str) -> Callable[[ReportTable], str | None]:
    def found(table: ReportTable) -> str | None:
        return next((s for s in table.provenance.settings if s.endswith(ending)), None)

    return found


def _metric(table: ReportTable) -> str:
    return table.metric.label


def _margin(table: ReportTable) -> str:
    return f"±{numbers.plain(table.margin)}{table.metric.points}" if table.margin else "none"


def _level(table: ReportTable) -> str:
    return numbers.level(table)


def _seeds(table: ReportTable) -> str:
    return numbers.span(table.seeds)


def _epochs(table: ReportTable) -> int | None:
    return table.provenance.epochs


def _images(table: ReportTable) -> str | None:
    return None if table.examples is None else f"{table.examples:,}"


def _devices(table: ReportTable) -> str | None:
    return ", ".join(short_device(name) for _, name in table.provenance.machines) or None


_PROTOCOL: tuple[tuple[str, Callable[[ReportTable], Hashable]], ...] = (
    ("metrics", _metric),
    ("margins", _margin),
    ("levels of the intervals", _level),
    ("seeds", _seeds),
    ("epochs", _epochs),
    ("image sizes", _setting(" px")),
    ("numerics", _setting(" numerics")),
)
