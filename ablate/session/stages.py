"""The stages of a run: train, ask whether there is more to do, and go on.

A study with `tune` first chooses settings, then trains with them; `--until resolved` looks at 3, 6
and 10 seeds and stops where nothing is open. Whether there is another stage, and of what, follows
from the study and the store alone, so that a run which was interrupted anywhere goes on there.

    session = open_session(study, ...)                  the first stage
    while train(session) and (more := following(session)):
        session = more
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate.errors import AblateError, signal_of
from ablate.planning.looks import open_rows

if TYPE_CHECKING:
    from ablate.execution.runner import Outcome
    from ablate.session.session import Session


@dataclass
class Ran:
    """A run over all its stages. session: of the last one; outcome: of every trial that it asks
    for; trained: whether anything was to be trained."""

    session: Session
    outcome: Outcome
    trained: bool


def run_stages(
    session: Session,
    train: Callable[[Session], Outcome],
    ended: Callable[[Session, Session | None], None],
) -> Ran:
    """Every stage from this one on, until there is no other or someone asks to stop.

    train: one stage that has something to train. ended: told of every stage of several that is
    over, and of the one that follows.
    """
    statuses: dict[str, str] = {}
    messages: dict[str, str] = {}
    trained, count = False, 0
    while True:
        todo = bool(session.work.to_train)
        if not todo:
            _define(session)
        outcome = train(session) if todo else as_stored(session)
        trained, count = trained or todo, count + outcome.trained
        # what this run tried and failed at stands in the store, and is not tried again
        statuses, messages = statuses | outcome.statuses, messages | outcome.messages
        more = None
        if outcome.signal is None:
            try:
                more = following(session)
            except KeyboardInterrupt as error:  # between two stages nothing is half done
                outcome.signal = signal_of(error)
        if outcome.signal is None and session.stage.words:
            ended(session, more)
        if more is None:
            break
        session = more
    if not todo:
        session.store.save_study(session.resolved)
    order = session.resolved.order
    outcome.trained = count
    outcome.statuses = {key: statuses[key] for key in order if key in statuses}
    outcome.messages = {key: messages.get(key, "") for key in order if key in statuses}
    outcome.incomplete = outcome.incomplete or any(True for _ in open_rows(session.resolved))
    return Ran(session, outcome, trained)


def _define(session: Session) -> None:
    """Write the definitions anew that the store has lost; who trains does it by itself."""
    from ablate.index import database

    store, resolved = session.store, session.resolved
    written = False
    for key in resolved.order:
        with contextlib.suppress(AblateError):  # a newer ablate's stays; nothing was to be written
            written |= store.register(resolved.trials[key], resolved.labels[key])
    if written:
        database.ingest(store.path)


def as_stored(session: Session) -> Outcome:
    """The outcome of a stage with nothing to train."""
    from ablate.execution.runner import Outcome

    states = session.work.states
    order = session.resolved.order
    return Outcome(
        statuses={key: states[key].status for key in order},
        messages={key: states[key].message for key in order},
        choosing=frozenset(session.resolved.tuning),
    )


def following(session: Session) -> Session | None:
    """The stage after this one, None after the last."""
    from ablate.session.judged_tables import tables_of
    from ablate.session.session import open_stage

    until = session.resolved.until
    tried = session.tried | set(session.resolved.order)
    if session.stage.kind == "tune":
        return open_stage(session.asked, session.store, until, tried)
    if until is None or (more := until.next()) is None:
        return None
    tables = tables_of(session.resolved, session.store)
    if not any(table.unresolved for table in tables):
        return None
    return open_stage(session.asked, session.store, more, tried)
