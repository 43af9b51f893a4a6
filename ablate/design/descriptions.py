"""What a row changes, in words, from the trials alone.

A trick describes itself against the baseline: "schedule: step → 2 epochs linear, then step". Under
a cosine the row above has no steps; what it has follows from the order in which the hook's chain
runs: "schedule: cosine → 2 epochs linear, then cosine".
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from ablate.core.trial import Trial, TrickSpec
from ablate.design.text import changes_in_words, differences
from ablate.design.tuning_grid import choices_in_words
from ablate.hookspecs import HOOKS
from ablate.tricks.hooks import Hooks
from ablate.tricks.parameters import made

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy, Row, Table
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
        recipes = [resolved.trials[key].recipe for key in row.keys]
        choice = choices_in_words(tuned, recipes, row.reasons)
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
    params = {spec.name: _params(spec) for spec in above.tricks}
    before = {spec.label: _made(spec, catalogue) for spec in above.tricks}
    now = {spec.label: _made(spec, catalogue) for spec in trial.tricks}
    added = [
        change_in_words(spec.label, before, now, counts or {})
        for spec in trial.tricks
        if params.get(spec.name) != _params(spec)
    ]
    there = {spec.name for spec in trial.tricks}
    removed = [spec.label for spec in above.tricks if spec.name not in there]
    settings = differences(above.recipe, trial.recipe)
    told = {key: pair for key, pair in settings.items() if key.partition(".")[0] not in skip}
    return changes_in_words(added, removed, told)


def _params(spec: TrickSpec) -> tuple[Mapping[str, Any], list[str]]:
    return spec.params, [spec.written(name) for name in spec.exact]


def _made(spec: TrickSpec, catalogue: Catalogue) -> Trick:
    return made(catalogue.load(spec.name).cls, spec.given())


_CHANGE = re.compile(r"([^:→]+): (.+?) → (.+)")  # "aspect: from → to"


def change_in_words(
    label: str,
    above: Mapping[str, Trick],
    now: Mapping[str, Trick],
    counts: Mapping[str, int],
) -> str:
    """What `label` adds to the row: its own description, or from what the tricks of the row
    above make of that aspect to what those of this row make of it.

    above, now: the rows' tricks by label. counts: how much each label was seen to change.
    """
    told = now[label].describe(changed=counts.get(label))
    said = _CHANGE.fullmatch(told)
    hook = _hook(now[label], said[1]) if said is not None else None
    if said is None or hook is None:
        return told
    aspect, start, _ = said.groups()
    before, after = (_value(hook, aspect, start, tricks, counts) for tricks in (above, now))
    return f"{aspect}: {before} → {after}" if before != after else told


def _hook(trick: Trick, aspect: str) -> str | None:
    """The replaceable hook of that aspect which the trick implements."""
    for hook, info in HOOKS.items():
        acts = hasattr(getattr(type(trick), hook, None), "ablate_impl")
        if acts and info.kind == "replaceable" and info.aspect == aspect:
            return hook
    return None


def _value(
    hook: str, aspect: str, start: str, tricks: Mapping[str, Trick], counts: Mapping[str, int]
) -> str:
    """What the hook's chain makes of `start`, in words, innermost first."""
    labels = {trick.name: label for label, trick in tricks.items()}
    value = start
    for name in Hooks(tuple(tricks.values())).acting[hook] if tricks else ():
        label = labels[name.removesuffix(" *")]
        said = _CHANGE.fullmatch(tricks[label].describe(changed=counts.get(label)))
        if said is not None and said[1] == aspect and said[2] == start:
            inner = value
            value = re.sub(rf"(?<!\w){re.escape(start)}(?!\w)", lambda _: inner, said[3])  # noqa: B023
    return value
