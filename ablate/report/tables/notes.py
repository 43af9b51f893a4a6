"""What the rows of a tuned table chose, what was known of rows before they were trained, and a row
whose noise stands out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ablate.core.resolved_study import ResolvedStudy, Row, Table, Tuning, unchosen_in_words
from ablate.report.tables.compare import Judged


def notes(resolved: ResolvedStudy, table: Table) -> list[str]:
    """What was chosen of what and on which images, by which row; rows at an end of the choice, and
    rows that chose nothing."""
    tuning = table.tuning
    if tuning is None:
        return []
    tenth = "tenth" if tuning.held_out == 10 else f"{tuning.held_out}th"
    said = f"{tuning.words} on a held-out {tenth} of train, seed {tuning.seed}"
    chosen = [
        f"{row.label} {value}"
        for row in table.rows
        if (value := chosen_values(resolved, tuning, row))
    ]
    found = [f"{said}{': ' if chosen else ''}{', '.join(chosen)}"]
    for way in ("smallest", "largest"):
        rows = [row.label for row in table.rows if way in _ends(tuning, row)]
        if rows:
            name = tuning.settings[0] if len(tuning.settings) == 1 else "value of a setting"
            found.append(
                f"{', '.join(rows)}: the {way} {name} there was to choose; a better one may lie "
                "beyond"
            )
    reasons: dict[str, list[str]] = {}
    for row in table.rows:
        if row.open:
            reasons.setdefault(row.unchosen, []).append(row.label)
    found += [
        f"{', '.join(labels)}: {unchosen_in_words(tuning.settings, reason)}"
        for reason, labels in reasons.items()
    ]
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


def chosen_values(resolved: ResolvedStudy, tuning: Tuning, row: Row) -> str:
    """ "0.3" of one setting, "lr 0.3 weight_decay 0.0005" of several; "" where none is chosen."""
    if row.chosen is None:
        return ""
    values = resolved.trials[row.keys[0]].recipe.model_dump(mode="json")
    if len(tuning.settings) == 1:
        return _shown(values[tuning.settings[0]])
    return " ".join(f"{key} {_shown(values[key])}" for key in tuning.settings)


def _ends(tuning: Tuning, row: Row) -> set[str]:
    """Whether the choice is at an end of some setting's values: "smallest", "largest"."""
    if row.chosen is None:
        return set()
    found = set()
    for key in tuning.settings:
        values = [_number(option[key]) for option in tuning.options]
        mine = values[row.chosen]
        known = [value for value in values if value is not None]
        if mine is None or len(set(known)) < 2:
            continue
        if mine == min(known):
            found.add("smallest")
        elif mine == max(known):
            found.add("largest")
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
