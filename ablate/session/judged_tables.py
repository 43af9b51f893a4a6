"""Tables at the level of their look, and the look kept in the store's ledger.

Whoever prints verdicts has looked: `run`, `report`, `export`, `query` of effects, Results. Views of
a run and `status` print none.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ablate.core.table_looks import look_at
from ablate.errors import AblateError
from ablate.report.tables.looks import with_look
from ablate.store import ledger
from ablate.store.past_looks import begin, kept_look, past_looks
from ablate.util import files

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy, Table
    from ablate.core.table_looks import TableLook
    from ablate.report.model import ReportTable
    from ablate.report.options import Asked
    from ablate.store.ledger import KeptLook
    from ablate.store.store import Store

Place = tuple[str, str, str]  # ablation, data set, column


def tables_of(
    resolved: ResolvedStudy, store: Store, asked: Asked | None = None, *, printed: bool = True
) -> list[ReportTable]:
    """The report's tables, from what is stored now. Predictions are read only for what is `asked`.

    printed: whether a reader sees them, so that they are a look. What a reader asks for that the
    study does not declare is exploratory, and spends nothing.

    Raises AblateError for a metric or row that there is not, and for damaged predictions.
    """
    from ablate.report import build_tables

    if asked is not None and asked.metric == resolved.metric:
        asked = replace(asked, metric=None)  # no other question than the study's
    states = store.states(resolved.order)
    results = store.results(states)

    def made(looks: Mapping[Place, TableLook]) -> list[ReportTable]:
        if asked is None:
            return build_tables(resolved, results, states, looks=looks)
        from ablate.report.tables.build import answer

        return answer(asked, resolved, results, states, store.path, looks)

    tables = _Tables(resolved, store, made)
    if asked is not None and asked.exploratory:
        return tables.shown("it is exploratory")
    return tables.kept() if printed else tables.shown()


class _Tables:
    def __init__(
        self,
        resolved: ResolvedStudy,
        store: Store,
        made: Callable[[Mapping[Place, TableLook]], list[ReportTable]],
    ) -> None:
        self.resolved, self.store, self.made = resolved, store, made
        self.tables: list[ReportTable] = []
        self.judge()

    def judge(self) -> None:
        """At the levels that the ledger has now."""
        resolved = self.resolved
        looks = {}
        for table in resolved.tables:
            before = past_looks(resolved, table, self.store)
            looks[_place(table)] = look_at(before, table.seeds, resolved.until)
        self.tables = self.made(looks)

    def shown(self, not_kept: str = "") -> list[ReportTable]:
        """The tables; not_kept: why the ledger will not know of this look."""
        return [with_look(table, not_kept if table.said else "") for table in self.tables]

    def kept(self) -> list[ReportTable]:
        """The tables, their looks kept in the ledger, or why they are not."""
        if not self._new():
            return self.shown()
        try:
            with files.locked(self.store.path / ledger.LOCK):
                begin(self.store)
                self.judge()  # others may have looked meanwhile
                for look in self._new():
                    ledger.keep(self.store.path, look)
        except (OSError, AblateError) as error:
            return self.shown(_refused(error))
        return self.shown()

    def _new(self) -> list[KeptLook]:
        """Looks that the ledger does not have."""
        found = []
        for table, judged in zip(self.resolved.tables, self.tables, strict=True):
            if judged.said:
                now = files.utc_now()
                look = kept_look(self.resolved, table, judged.alpha, judged.said, now)
                if look is not None and ledger.read(ledger.place(self.store.path, look)) is None:
                    found.append(look)
        return found


def _refused(error: OSError | AblateError) -> str:
    if isinstance(error, AblateError):
        return error.message
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "the store is read-only"
    return f"the store cannot be written: {(error.strerror or str(error)).lower()}"


def _place(table: Table) -> Place:
    return table.ablation, table.dataset, table.column
