"""What the earlier looks at a table said, and whether this one is kept."""

from __future__ import annotations

from dataclasses import replace

from ablate.report.model import ReportTable
from ablate.util.text import count

_CLAIMS = ("gain", "loss", "equivalent")


def with_look(table: ReportTable, not_kept: str) -> ReportTable:
    """The table with notes on its look. not_kept: why the next one will not know of it."""
    if table.look is None:
        return table
    table = replace(table, look=replace(table.look, not_kept=not_kept))
    told = [*withdrawn(table), *([f"this look is not kept: {not_kept}"] if not_kept else [])]
    return replace(table, notes=(*told, *table.notes))


def withdrawn(table: ReportTable) -> list[str]:
    """Verdicts of earlier looks that no longer stand.

    "+ mixup: called gain at look 1 (3 seeds)".
    """
    if table.look is None:
        return []
    now = {name: _claim(verdict) for name, verdict in table.said}
    found: dict[str, list[str]] = {}
    for number, look in enumerate(table.look.earlier, 1):
        for name, verdict in look.verdicts:
            claim = _claim(verdict)
            if claim in _CLAIMS and name in now and now[name] != claim:
                seen = f"{verdict} at look {number} ({count(len(look.seeds), 'seed')})"
                found.setdefault(name, []).append(seen)
    return [f"{name}: called {', '.join(calls)}" for name, calls in found.items()]


def _claim(verdict: str) -> str:
    """ "gain, negligible" is a gain."""
    return verdict.partition(",")[0]
