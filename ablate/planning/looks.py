"""The looks of `--until resolved`, and seeds whose settings are not chosen yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ablate.core.table_looks import left_for
from ablate.errors import AblateError
from ablate.planning.work import FINAL
from ablate.stats import level_of
from ablate.store.past_looks import past_looks, title
from ablate.util.text import listed

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy, Row, Table, Until
    from ablate.stats import Look
    from ablate.store.store import Store
    from ablate.study.model import Study


def until_resolved(looks: tuple[Look, ...]) -> Until:
    """The first look."""
    from ablate.core.resolved_study import Until

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
    """Rows some seed of which chose no setting, and so has no trial."""
    for table in resolved.tables:
        for row in table.rows:
            if any(row.open):
                yield table, row


def open_trials(resolved: ResolvedStudy) -> tuple[str, ...]:
    """Keys that stand for the trials of such seeds: as many as there will be."""
    found = (
        key
        for _, row in open_rows(resolved)
        for key, is_open in zip(row.keys, row.open, strict=True)
        if is_open
    )
    return tuple(dict.fromkeys(found))


def refuse_peeked(resolved: ResolvedStudy, store: Store, until: Until) -> None:
    """Refuse looks that were not planned: `resolved` has all seeds of the last look.

    Tables that were judged at more than what the planned looks leave are refused. So are seeds that
    nobody judged in this table and that could have been seen: those after the first look's that two
    rows have, unless all of them are from `--until` runs of this study. Raises AblateError.
    """
    for table in resolved.tables:
        before = past_looks(resolved, table, store)
        if left_for(before, until.looks):
            continue
        seen = listed([str(len(look.seeds)) for look in before])
        following = next_seeds(max(len(look.seeds) for look in before))
        more = "" if following is None else f"ablate run {resolved.file} --seeds {following}"
        number = len(before) + 1
        raise AblateError(
            f"--until resolved: {resolved.name} was judged at {seen} seeds before "
            f"({title(table)}); looks are planned before the first",
            hint=f"{more}: look {number}, judged at {level_of(number):g}" if more else None,
        )
    _refuse_seen(resolved, store, until.seeds)


def next_seeds(seeds: int) -> int | None:
    """How many seeds the next look should have, where `seeds` left rows open; None after 20.

    Each look is judged at half the level of the one before: a few seeds more would find less.
    """
    return next((n for n in (10, 20) if n > seeds), None)


def _refuse_seen(resolved: ResolvedStudy, store: Store, first: int) -> None:
    planned: set[str] | None = None
    for table in resolved.tables:
        for place, seed in enumerate(table.seeds):
            if seed < first:
                continue
            keys = {row.keys[place] for row in table.rows if not row.open[place]}
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
