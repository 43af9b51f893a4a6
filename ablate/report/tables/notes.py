"""What the rows of a tuned table chose, what was known before they were trained, a row whose noise
stands out, and rows that the test set cannot tell apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ablate.core.metrics import Metric
from ablate.core.resolved_study import (
    ResolvedStudy,
    Row,
    Table,
    Tuning,
    by_seeds,
    unchosen_in_words,
)
from ablate.report import captions
from ablate.report.tables.compare import Judged
from ablate.report.tables.contrasts import Answers


def notes(resolved: ResolvedStudy, table: Table) -> list[str]:
    """What was chosen of what and on which images, by which row; what a choice that was made once
    leaves out; rows at an end of the choice, and rows that chose nothing."""
    tuning = table.tuning
    if tuning is None:
        return []
    tenth = "tenth" if tuning.held_out == 10 else f"{tuning.held_out}th"
    said = (
        f"{tuning.words} on a held-out {tenth} of train, seed {tuning.seed}"
        if tuning.once
        else f"{tuning.words} by each seed on a held-out {tenth} of train of its own"
    )
    values = [f"{label} {value}" for label, value in chosen(resolved, table)]
    apart = "; " if any(", " in value for value in values) else ", "
    found = [f"{said}{': ' if values else ''}{apart.join(values)}"]
    if tuning.once:
        found.append(captions.CHOSEN_ONCE)
    for way in ("smallest", "largest"):
        ends = {row.label: _ends(tuning, row, way) for row in table.rows}
        rows = [
            f"{label} ({sum(which)} of {len(which)} seeds)" if False in which else label
            for label, which in ends.items()
            if True in which
        ]
        if rows:
            name = tuning.settings[0] if len(tuning.settings) == 1 else "value of a setting"
            found.append(
                f"{', '.join(rows)}: the {way} {name} there was to choose; a better one may lie "
                "beyond"
            )
    unchosen: dict[str, list[str]] = {}
    for row in table.rows:
        if any(row.open):
            said = unchosen_in_words(tuning.settings, row.reasons)
            unchosen.setdefault(said, []).append(row.label)
    found += [f"{', '.join(labels)}: {said}" for said, labels in unchosen.items()]
    return found


def known_before(resolved: ResolvedStudy, table: Table) -> list[str]:
    """Warnings of the plan that are about this table: of its rows, or of a trick that they have."""
    found: dict[str, None] = {}
    specs = [spec for row in table.rows for spec in resolved.trials[row.keys[0]].tricks]
    names = {name for spec in specs for name in (spec.name, spec.label)}
    every = {_place(other, row): row for other in resolved.tables for row in other.rows}
    for warning in resolved.warnings:
        place = next((p for p in every if warning.startswith(f"{p}: ")), None)
        if place is None:
            if names & set(re.findall(r"[\w-]+", warning)):
                found[warning] = None
        elif any(_place(table, row) == place for row in table.rows):
            found[f"{every[place].label}: {warning.removeprefix(f'{place}: ')}"] = None
    return list(found)


def _place(table: Table, row: Row) -> str:
    """As the planner's warnings begin."""
    return " · ".join(part for part in (table.dataset, table.column, row.label) if part)


def chosen(resolved: ResolvedStudy, table: Table) -> tuple[tuple[str, str], ...]:
    """(row, what its seeds chose), of the rows that chose something."""
    if table.tuning is None:
        return ()
    found = ((row.label, _chosen_values(resolved, table.tuning, row)) for row in table.rows)
    return tuple((label, values) for label, values in found if values)


def _chosen_values(resolved: ResolvedStudy, tuning: Tuning, row: Row) -> str:
    """ "0.3" of one setting, "lr 0.3 weight_decay 0.0005" of several, "0.3 (2 of 3 seeds), 0.1 (1
    of 3)" where seeds differ; "" where none is chosen."""
    return by_seeds(
        None if is_open else _values(tuning, resolved.trials[key].recipe.model_dump(mode="json"))
        for key, is_open in zip(row.keys, row.open, strict=True)
    )


def _values(tuning: Tuning, recipe: Mapping[str, Any]) -> str:
    if len(tuning.settings) == 1:
        return _shown(recipe[tuning.settings[0]])
    return " ".join(f"{key} {_shown(recipe[key])}" for key in tuning.settings)


def _ends(tuning: Tuning, row: Row, way: str) -> list[bool]:
    """Of each seed whether its choice is the "smallest" or "largest" of some setting's values."""
    end = min if way == "smallest" else max
    found = []
    for chosen in row.chosen:
        at_end = False
        for key in tuning.settings:
            values = [_number(option[key]) for option in tuning.options]
            known = [value for value in values if value is not None]
            mine = None if chosen is None else values[chosen]
            at_end |= mine is not None and len(set(known)) > 1 and mine == end(known)
        found.append(at_end)
    return found


def _number(value: Any) -> float | None:
    if isinstance(value, Mapping):
        value = value.get("factor")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def uneven(table: Table, judged: Judged) -> str | None:
    """The row whose seeds differ more than those of the others, where one stands out."""
    found = judged.fitted.fit.uneven()
    if found is None:
        return None
    row = table.rows[judged.fitted.place.index(found.row)]
    times = f"{found.ratio**0.5:.2g} times as much as"
    return (
        f"{row.label}: its seeds differ {times} those of the other rows; what is compared with it "
        "is less certain than the rest"
    )


def at_a_limit(
    resolved: ResolvedStudy,
    table: Table,
    judged: Judged,
    answers: Answers,
    metric: Metric,
    examples: int | None,
) -> list[str]:
    """What "equivalent" means where rows are right on all images, or no better than chance.

    No better than chance: within 1.96 standard deviations of that many guesses.
    """
    if not (metric.of_examples and examples and len(table.rows) > 1):
        return []
    means = [
        float(np.mean(metric.right(line[np.isfinite(line)]))) if np.isfinite(line).any() else np.nan
        for line in judged.fitted.values
    ]
    if all(mean >= 1 - 1 / examples - 1e-12 for mean in means):
        return ["all rows are within one image of 100%: the test set cannot tell them apart"]
    classes = resolved.trials[table.rows[0].keys[0]].dataset.num_classes
    chance = (metric.among or 1) / classes
    if metric.among is None or chance >= 1:
        return []
    guessing = 1.96 * (chance * (1 - chance) / examples) ** 0.5
    lost = {i for i, mean in enumerate(means) if abs(mean - chance) <= guessing}
    pairs = [
        (i, reference)
        for i, reference in enumerate(judged.references)
        if reference is not None and judged.verdicts[i].mark == "equivalent"
    ]
    if judged.total is not None and judged.total.mark == "equivalent":
        pairs.append(judged.ends)
    told = dict.fromkeys(i for pair in pairs if lost.issuperset(pair) for i in sorted(pair))
    if any(effect.verdict == "equivalent" for effect in answers.effects):
        told |= dict.fromkeys(sorted(lost)) if len(lost) == len(table.rows) else {}
    if not told:
        return []
    labels = ", ".join(table.rows[i].label for i in told)
    return [
        f"{labels}: no better than chance ({100 * chance:.3g}%): equivalent says there that "
        "neither has learned, not that a trick does nothing"
    ]
