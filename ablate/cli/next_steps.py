"""What to do next, with what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.planning.looks import next_seeds
from ablate.report.captions import level_in_words
from ablate.stats import LOOKS
from ablate.util import devices as machine
from ablate.util.text import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ablate.cli.selection import Selection
    from ablate.report.model import ReportTable
    from ablate.session.session import Session

_FEW = 3  # seeds that give a table its first intervals


def more_seeds(
    session: Session, selection: Selection, tables: Sequence[ReportTable]
) -> list[tuple[str, str, str]]:
    """More seeds, where rows are not settled or there is one seed only.

    More seeds are another look at the same tables, which is judged at its own level: planned looks
    (`--until resolved`) are offered only to who has begun with them.
    """
    resolved = session.resolved
    declared, until = len(resolved.seeds), resolved.until
    if declared == 1:
        command = selection.suggestion("run", "--seeds", str(_FEW), seeds=False)
        return [("give it intervals", command, _cost(session, _FEW - 1))]
    open_tables = [table for table in tables if table.unresolved]
    if not open_tables:
        return []
    if until is not None:
        most = LOOKS[-1].seeds
        if until.most == most:
            return []
        command = selection.suggestion("run", "--until", "resolved", seeds=False)
        cost = f"at most {_cost(session, most - declared).removeprefix('about ')}"
        return [("settle open rows", command, cost)]  # a look that --max-seeds left out
    wanted = next_seeds(declared)
    if wanted is None:
        return []
    looks = [table.look for table in open_tables if table.look is not None]
    why = "settle open rows"
    if looks:
        last = max(looks, key=lambda look: look.next_number)
        why = f"{why}: look {last.next_number}, judged at {level_in_words(last.next_alpha)}"
    command = selection.suggestion("run", "--seeds", str(wanted), seeds=False)
    return [(why, command, _cost(session, wanted - declared))]


def _cost(session: Session, seeds: int) -> str:
    """Time of so many more seeds of every row, with what each of them tries to choose settings."""
    from ablate.planning.timing import Timings

    trials = session.resolved.trials
    rows = [row for table in session.resolved.tables for row in table.rows]
    first = {row.trained[0] for row in rows if row.trained}
    tuned = [t for t in session.resolved.tables if t.tuning is not None and not t.tuning.once]
    first |= {key for table in tuned for row in table.rows for key in row.tuning[0]}
    # the trials just trained are the best source
    timings = Timings(session.store, machine.device_names(session.devices))
    seconds = timings.total(
        ((trials[key], trials[key].recipe.epochs) for key in sorted(first) for _ in range(seeds)),
        machine.slots(session.devices),
    )
    return f"about +{duration(seconds)}" if seconds else f"{len(first) * seeds} new trials"
