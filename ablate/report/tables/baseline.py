"""Every row against one that a reader names, instead of the study's own references."""

from __future__ import annotations

from ablate.core.resolved_study import ResolvedStudy, Table
from ablate.errors import AblateError, did_you_mean
from ablate.report.tables.address import bare, row_number

_ROWS_JUDGED = ("cumulative", "leave_one_out", "one_at_a_time")


def against(resolved: ResolvedStudy, name: str) -> ResolvedStudy:
    """The study with every row compared with the one that `name` names, and no total.

    name: a label ("+ mixup"), a label without its sign ("mixup") or a number from 0, also
    written "@0". A table without such a row stays as it is. Raises AblateError if no table has one,
    or if different rows of one answer to the name.
    """
    found = [place(table, name) for table in resolved.tables]
    if all(row is None for row in found):
        labels = list(dict.fromkeys(bare(row) for table in resolved.tables for row in table.rows))
        longest = max(len(table.rows) for table in resolved.tables)
        hint = f"or its number, 0 to {longest - 1}"
        raise AblateError(f"--baseline: no row '{name}'{did_you_mean(name, labels)}", hint=hint)
    tables = [
        table if row is None else _against(table, row)
        for table, row in zip(resolved.tables, found, strict=True)
    ]
    return resolved.model_copy(update={"tables": tuple(tables)})


def two_references() -> AblateError:
    """The refusal of published figures beside rows that are compared otherwise."""
    return AblateError(
        "--compare and --baseline do not go together: what is published has steps of its own",
        hint="leave one of them out",
    )


def place(table: Table, name: str) -> int | None:
    """The row that a label or number names, None without one. Raises AblateError for several."""
    return row_number(table, name, "--baseline")


def _against(table: Table, chosen: int) -> Table:
    rows = (
        row.model_copy(update={"above": None if i == chosen else chosen})
        for i, row in enumerate(table.rows)
    )
    # of factorials and orderings the rows would be asked together, not each
    kind = table.kind if table.kind in _ROWS_JUDGED else "one_at_a_time"
    changed = {"rows": tuple(rows), "reference": "baseline", "total": False, "kind": kind}
    return table.model_copy(update=changed)
