"""What to do next, with what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.errors import AblateError
from ablate.stats import LOOKS
from ablate.util import devices as machine
from ablate.util.text import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ablate.cli.selection import Selection
    from ablate.core.resolved_study import ResolvedStudy
    from ablate.report.model import ReportTable
    from ablate.session.session import Session

_STEPS = (3, 5, 10, 20)


def more_seeds(
    session: Session, selection: Selection, tables: Sequence[ReportTable]
) -> list[tuple[str, str, str]]:
    """More seeds, where rows are not settled or there is one seed only."""
    resolved = session.resolved
    declared = len(resolved.seeds)
    one = declared == 1
    open_rows = any(table.unresolved for table in tables)
    if open_rows and not one and _may_look(session):
        most = LOOKS[-1].seeds
        return [
            (
                "settle open rows",
                selection.suggestion("run", "--until", "resolved", seeds=False),
                f"at most {_cost(session, most - declared).removeprefix('about ')}",
            )
        ]
    wanted = next((n for n in _STEPS if n > declared), None)
    if resolved.until is not None or wanted is None or not (one or open_rows):
        return []
    why = "give it intervals" if one else "settle open rows"
    return [
        (
            why,
            selection.suggestion("run", "--seeds", str(wanted), seeds=False),
            _cost(session, wanted - declared),
        )
    ]


def _may_look(session: Session) -> bool:
    """Whether `--until resolved` would be taken: looks are planned before more seeds are there."""
    until = session.resolved.until
    if until is not None:  # one more look was left out by --max-seeds
        return until.most < LOOKS[-1].seeds
    return len(session.resolved.seeds) <= LOOKS[0].seeds and not _peeked(session)


def _peeked(session: Session) -> bool:
    from ablate.planning.looks import refuse_peeked, until_resolved
    from ablate.planning.tuning import chooser
    from ablate.session.session import resolve_here

    until = until_resolved(LOOKS)
    choose = chooser(session.store, session.study.metric)
    try:
        most = resolve_here(session.asked, until, choose, until.most)
        refuse_peeked(most, session.store, until.seeds)
    except AblateError:
        return True
    return False


def _cost(session: Session, seeds: int) -> str:
    """Time of so many more seeds of every row."""
    from ablate.planning.timing import Timings

    trials = session.resolved.trials
    rows = [row for table in session.resolved.tables for row in table.rows]
    first = {row.keys[0] for row in rows if not row.open}
    # the trials just trained are the best source
    timings = Timings(session.store, machine.device_names(session.devices))
    seconds = timings.total(
        ((trials[key], trials[key].recipe.epochs) for key in sorted(first) for _ in range(seeds)),
        machine.slots(session.devices),
    )
    return f"about +{duration(seconds)}" if seconds else f"{len(first) * seeds} new trials"


def order_matters(resolved: ResolvedStudy) -> list[tuple[str, str, str]]:
    """Leave-one-out beside a cumulative table: does a trick's effect depend on its place?

    Orderings and a factorial answer it too.
    """
    kinds = {table.kind for table in resolved.tables}
    if "cumulative" not in kinds or kinds & {"leave_one_out", "orderings", "factorial"}:
        return []
    new = 0
    for table in resolved.tables:
        steps = sum(row.role == "step" for row in table.rows)
        if steps < 3:
            return []
        new += (steps - 1) * len(table.seeds)  # without the last trick is the row above
    return [
        ("does the order matter?", 'add [[ablation]] kind = "leave_one_out"', f"{new} new trials")
    ]
