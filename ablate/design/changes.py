"""What a row changes, in words, from the trials alone."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

from ablate.design.chained import change_in_words
from ablate.design.tuning import Choice, choice_in_words
from ablate.design.words import changes_in_words, differences
from ablate.study.configured import make_trick
from ablate.trial import Trial, TrickSpec

if TYPE_CHECKING:
    from ablate.resolved import ResolvedStudy, Row, Table
    from ablate.tricks.base import Trick
    from ablate.tricks.discovery import Catalogue


def row_changes(
    resolved: ResolvedStudy,
    table: Table,
    row: Row,
    catalogue: Catalogue,
    counts: Mapping[str, int] | None = None,
) -> str:
    """`Row.changes` with numbers in it: `counts` says how many modules, parameters or groups each
    trick, by its label, was seen to change on this row's model."""
    trial, tuned = resolved.trials[row.keys[0]], table.tuning.settings if table.tuning else ()
    changes = ""
    if row.above is not None:
        above = resolved.trials[table.rows[row.above].keys[0]]
        changes = changes_between(above, trial, catalogue, counts, skip=tuned)
    if row.tuning:
        choice = choice_in_words(tuned, trial.recipe, Choice(row.chosen, row.unchosen))
        changes = "; ".join(part for part in (changes, choice) if part)
    return changes


def changes_between(
    above: Trial,
    trial: Trial,
    catalogue: Catalogue,
    counts: Mapping[str, int] | None = None,
    *,
    skip: Container[str] = (),
) -> str:
    """What `trial` has that `above` has not: tricks as they describe themselves, then settings.

    skip: settings that are told elsewhere.
    """
    params = {spec.name: spec.params for spec in above.tricks}
    before = {spec.label: _made(spec, catalogue) for spec in above.tricks}
    now = {spec.label: _made(spec, catalogue) for spec in trial.tricks}
    added = [
        change_in_words(spec.label, before, now, counts or {})
        for spec in trial.tricks
        if params.get(spec.name) != spec.params
    ]
    there = {spec.name for spec in trial.tricks}
    removed = [spec.label for spec in above.tricks if spec.name not in there]
    settings = differences(above.recipe, trial.recipe)
    told = {key: pair for key, pair in settings.items() if key.partition(".")[0] not in skip}
    return changes_in_words(added, removed, told)


def _made(spec: TrickSpec, catalogue: Catalogue) -> Trick:
    return make_trick(catalogue.load(spec.name).cls, spec.given())
