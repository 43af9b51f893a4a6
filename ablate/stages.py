"""The stages of a run: train, ask whether there is more to do, and go on.

A study with `tune` first chooses settings, then trains with them; `--until resolved` looks at 3, 6
and 10 seeds and stops where nothing is open. Whether there is another stage, and of what, follows
from the study and the store alone, so that a run which was interrupted anywhere goes on there.

    session = open_session(study, ...)                  the first stage
    while train(session) and (more := following(session)):
        session = more
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ablate.errors import AblateError

if TYPE_CHECKING:
    from ablate.resolved import ResolvedStudy, Row, Table, Until
    from ablate.runner import Outcome
    from ablate.session import Session
    from ablate.stats import Look
    from ablate.store import Store
    from ablate.study.values import Study

Kind = Literal["tune", "look", "train"]


@dataclass(frozen=True)
class Stage:
    """kind: choosing settings, one look of `--until`, or all there is to train. words: what a
    person is told of it, "" of a run with no other stage."""

    kind: Kind = "train"
    words: str = ""


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
        outcome = train(session) if todo else as_stored(session)
        trained, count = trained or todo, count + outcome.trained
        # what this run tried and failed at stands in the store, and is not tried again
        statuses, messages = statuses | outcome.statuses, messages | outcome.messages
        more = None
        if outcome.signal is None:
            try:
                more = following(session)
            except KeyboardInterrupt:  # between two stages nothing is half done
                outcome.signal = signal.SIGINT
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


def as_stored(session: Session) -> Outcome:
    """The outcome of a stage with nothing to train."""
    from ablate.runner import Outcome

    states = session.work.states
    order = session.resolved.order
    return Outcome(
        statuses={key: states[key].status for key in order},
        messages={key: states[key].message for key in order},
        choosing=frozenset(session.resolved.tuning),
    )


def following(session: Session) -> Session | None:
    """The stage after this one, None after the last."""
    from ablate.lookup import tables_of
    from ablate.session import open_stage

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


def until_resolved(looks: tuple[Look, ...]) -> Until:
    """The first look."""
    from ablate.resolved import Until

    return Until(looks=tuple((look.seeds, look.alpha) for look in looks))


def looks_of(until: str | None, max_seeds: int | None, seeds: int | None) -> tuple[Look, ...]:
    """The looks of `--until resolved --max-seeds N`, none without it. seeds: as `--seeds` has them.

    Raises AblateError for what does not fit together.
    """
    from ablate.stats import LOOKS, looks_until

    if until is None:
        if max_seeds is not None:
            raise AblateError(
                "--max-seeds belongs to --until resolved", hint="--seeds N decides them beforehand"
            )
        return ()
    if until != "resolved":
        raise AblateError(f"--until '{until}': known: resolved", hint="--until resolved")
    if seeds is not None:
        raise AblateError(
            "--until resolved decides the seeds itself; --seeds cannot be given with it",
            hint="--max-seeds 6 drops the last look",
        )
    try:
        return looks_until(max_seeds if max_seeds is not None else LOOKS[-1].seeds)
    except ValueError as error:
        raise AblateError(
            f"--max-seeds: {error}; looks are planned, not chosen",
            hint=f"--max-seeds {LOOKS[-1].seeds}",
        ) from error


def with_seeds(study: Study, seeds: int) -> Study:
    """The study with so many seeds, whatever it declares."""
    return replace(study, seeds=tuple(range(seeds)))


def open_rows(resolved: ResolvedStudy) -> Iterator[tuple[Table, Row]]:
    """Rows that chose no setting, and so have no trials."""
    for table in resolved.tables:
        for row in table.rows:
            if row.open:
                yield table, row


def open_trials(resolved: ResolvedStudy) -> tuple[str, ...]:
    """Keys that stand for the trials of such rows: as many as there will be."""
    return tuple(dict.fromkeys(key for _, row in open_rows(resolved) for key in row.keys))


def stage_of(resolved: ResolvedStudy, to_tune: int) -> Stage:
    """What the study is to train next; `to_tune`: trials missing that settings are chosen by."""
    if to_tune:
        tunings = [table.tuning for table in resolved.tables if table.tuning]
        names = dict.fromkeys(name for tuning in tunings for name in tuning.settings)
        words = f"choosing {' and '.join(names)} on a held-out tenth of train, seed 0"
        return Stage("tune", words)
    if resolved.until is not None:
        return Stage("look", str(resolved.until))
    return Stage("train", "training with what was chosen" if resolved.tuning else "")


def tuning_only(resolved: ResolvedStudy) -> ResolvedStudy:
    """With the trials alone that settings are chosen by, and those that they learn from."""
    wanted = set(resolved.tuning)
    wanted |= {resolved.trials[key].teacher or "" for key in wanted}
    return resolved.model_copy(
        update={"order": tuple(key for key in resolved.order if key in wanted)}
    )


def refuse_peeked(resolved: ResolvedStudy, store: Store, first: int) -> None:
    """Refuse looks that were not planned: `resolved` has all seeds of the last look.

    A comparison of more than `first` seeds could have been seen where two rows of a table have such
    a seed and some of it is from no `--until` run of this study. Raises AblateError.
    """
    from ablate.planning.work import FINAL

    planned: set[str] | None = None
    for table in resolved.tables:
        rows = [row for row in table.rows if not row.open]
        for place, seed in enumerate(table.seeds):
            if seed < first:
                continue
            keys = {row.keys[place] for row in rows}
            there = {key for key in keys if store.state(key).status in FINAL}
            if len(there) < 2:
                continue
            if planned is None:
                earlier = store.invocations(resolved.name)
                planned = {key for one in earlier if one.until is not None for key in one.order}
            if not there <= planned:
                raise AblateError(
                    f"--until resolved: more than {first} seeds of {resolved.name} are there "
                    f"already (seed {seed} of {table.dataset}); looks are planned before that",
                    hint=f"ablate report {resolved.file} --seeds {seed + 1} shows them · "
                    "--store DIR begins anew",
                )
