"""What a row changes, in words, from the trials alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ablate.design.words import changes_in_words, differences
from ablate.study.configured import make_trick
from ablate.trial import Trial

if TYPE_CHECKING:
    from ablate.resolved import ResolvedStudy, Row, Table
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
    if row.above is None:
        return ""
    above = resolved.trials[table.rows[row.above].keys[0]]
    return changes_between(above, resolved.trials[row.keys[0]], catalogue, counts)


def changes_between(
    above: Trial, trial: Trial, catalogue: Catalogue, counts: Mapping[str, int] | None = None
) -> str:
    """What `trial` has that `above` has not: tricks as they describe themselves, then settings."""
    before = {spec.name: spec.params for spec in above.tricks}
    now = {spec.name for spec in trial.tricks}
    added = [
        (spec.label, make_trick(catalogue.load(spec.name).cls, spec.given()))
        for spec in trial.tricks
        if before.get(spec.name) != spec.params
    ]
    removed = [spec.label for spec in above.tricks if spec.name not in now]
    return changes_in_words(added, removed, differences(above.recipe, trial.recipe), counts)
