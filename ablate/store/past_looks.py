"""The looks that a table had: from the store's ledger, or what an older store's saved runs say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise
from typing import TYPE_CHECKING

from ablate import stats
from ablate.core.table_looks import EarlierLook, identity
from ablate.store import ledger
from ablate.store.attempt_reader import FINAL
from ablate.store.ledger import KeptLook

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy, Table
    from ablate.store.store import Store


def title(table: Table) -> str:
    """What a table is called: "main imagenette batch_size 256"."""
    return " ".join(part for part in (table.ablation, table.dataset, table.column) if part)


def past_looks(resolved: ResolvedStudy, table: Table, store: Store) -> tuple[EarlierLook, ...]:
    """Oldest first. Raises AblateError for what a newer ablate wrote."""
    found = identity(resolved, table, resolved.metric)
    if found is None:
        return ()
    if ledger.is_begun(store.path):
        return ledger.history(ledger.looks(store.path, found))
    told = looks_of_runs(store, resolved.name)
    return ledger.history(look for look in told if look.table == found)


def looks_of_runs(
    store: Store, study: str, among: AbstractSet[str] | None = None
) -> Iterator[KeptLook]:
    """What a store without a ledger shows for sure, oldest first. among: times of saved runs.

    A run printed its table if all that it asked for had ended before the study was run again.
    Whatever it had, an older ablate judged it at 5%, or at the level of its look of `--until`.
    """
    every = store.dated_invocations(study)
    saved = [(at, run) for at, run in every if among is None or at in among][::-1]
    for (at, run), (again, _) in pairwise([*saved, ("9999", None)]):
        assert run is not None
        states = store.states(run.order)
        if any(s.status not in FINAL or s.finished > again for s in states.values()):
            continue
        for table in run.tables:
            if any(key not in states for row in table.rows for key in row.keys):
                continue  # it chose settings, and stopped there
            whole = [r for r in table.rows if all(states[k].status == "done" for k in r.keys)]
            kept = kept_look(run, table, _level(run), (), at)
            if kept is not None and len({row.keys for row in whole}) > 1 and kept.sound:
                yield kept


def kept_look(
    resolved: ResolvedStudy,
    table: Table,
    alpha: float,
    verdicts: Sequence[tuple[str, str]],
    at: str,
) -> KeptLook | None:
    """A look as the ledger has it; None where the table's rows are not known yet."""
    found = identity(resolved, table, resolved.metric)
    if found is None:
        return None
    return KeptLook(
        table=found,
        study=resolved.name,
        title=title(table),
        metric=resolved.metric,
        margin=resolved.margin,
        seeds=table.seeds,
        alpha=alpha,
        planned=resolved.until is not None,
        verdicts=tuple(verdicts),
        at=at,
    )


def begin(store: Store) -> None:
    """Make the ledger of a store that has none. Raises OSError where it cannot be written."""
    if not ledger.is_begun(store.path):
        told = (look for study in store.studies() for look in looks_of_runs(store, study))
        ledger.begin(store.path, told)


def _level(run: ResolvedStudy) -> float:
    return stats.level_of(1) if run.until is None else run.until.alpha
