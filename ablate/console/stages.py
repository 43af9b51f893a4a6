"""What a stage of a run came to, and what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ablate.console.json_view import look
from ablate.util.text import count

if TYPE_CHECKING:
    from ablate.core.resolved_study import Row, Table, Tuning
    from ablate.report.model import ReportTable
    from ablate.session.session import Session


def stage_lines(session: Session, following: Session | None) -> list[str]:
    """For a person: the choices, or how many comparisons a look left open."""
    if session.stage.kind == "tune":
        return _choices(following) if following is not None else []
    if session.stage.kind != "look":
        return []
    tables = _tables(session)
    opened = _unresolved(tables)
    of = f"{count(opened, 'comparison')} unresolved"
    if following is not None and following.resolved.until is not None:
        return [f"{session.stage.words}: {of}, on to {following.resolved.until.seeds} seeds"]
    return [f"{session.stage.words}: {of}, {'the last look' if opened else 'nothing is open'}"]


def stage_event(session: Session, following: Session | None) -> dict[str, Any]:
    """For a program."""
    resolved = session.resolved
    event: dict[str, Any] = {
        "stage": session.stage.kind,
        "words": session.stage.words,
        "look": look(resolved),
        "more": following is not None,
    }
    if session.stage.kind == "tune" and following is not None:
        event["choices"] = [
            {
                "ablation": table.ablation,
                "dataset": table.dataset,
                "column": table.column,
                "row": row.label,
                "seed": seed,
                "chosen": chosen,
                "setting": None if chosen is None else table.tuning.options[chosen],
                "reason": reason,
            }
            for table in following.resolved.tables
            if table.tuning is not None
            for row in table.rows
            for seed, chosen, reason in _each_choice(table, table.tuning, row)
        ]
    if session.stage.kind == "look":
        event["unresolved"] = _unresolved(_tables(session))
    return event


def _each_choice(
    table: Table, tuning: Tuning, row: Row
) -> list[tuple[int | None, int | None, str]]:
    """(seed, option, why none) of each seed; one without a seed where the row chooses once."""
    found = list(zip(table.seeds, row.chosen, row.unchosen, strict=True))
    return [(None, *found[0][1:])] if tuning.once else list(found)


def _choices(following: Session) -> list[str]:
    from ablate.report.tables.notes import notes

    resolved = following.resolved
    tables = [table for table in resolved.tables if table.tuning is not None]
    several = len({table.ablation for table in resolved.tables}) > 1
    lines = []
    for table in tables:
        parts = (table.ablation if several else "", table.dataset, table.column)
        place = ", ".join(part for part in parts if part)
        lines += [f"{place}: {note}" for note in notes(resolved, table)]
    return lines


def _tables(session: Session) -> list[ReportTable]:
    from ablate.session.judged_tables import tables_of

    return tables_of(session.resolved, session.store)


def _unresolved(tables: list[ReportTable]) -> int:
    judged = [one for table in tables for one in table.judged]
    lines = [line for table in tables for block in table.blocks for line in block.lines]
    return sum(one.mark == "unresolved" for one in (*judged, *lines))
