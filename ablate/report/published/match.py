"""Which published table, column and row a measured one stands beside.

Rows are matched by the tricks they add, under whatever alias and in whatever bundle; columns by
model family, or by the rank of their batch size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ablate.core.recipe import Recipe
from ablate.core.resolved_study import ResolvedStudy, Row, Table
from ablate.report.published.data import Line, Publication, PublishedTable

Tricks = frozenset[str]

_NUMBERED = re.compile(r"table[ _-]?(\d+)$", re.IGNORECASE)


@dataclass(frozen=True)
class Whole:
    """A measured table that is a published one. cells: row of `published`, by measured row."""

    published: PublishedTable
    column: int
    cells: tuple[int | None, ...]


@dataclass(frozen=True)
class Step:
    """What a publication has on tricks alone: `row` of `published` against `against`.

    negated: the measured row leaves them out. reference: the measured row to compare with.
    """

    published: PublishedTable
    column: int
    row: int
    against: int
    negated: bool
    reference: int


def row_tricks(resolved: ResolvedStudy, row: Row) -> Tricks:
    """Names of the tricks in force: aliases resolved, bundles taken apart."""
    names = {spec.label: spec.name for spec in resolved.trials[row.keys[0]].tricks}
    return frozenset(names.get(label, label) for label in row.tricks)


def baseline_recipe(resolved: ResolvedStudy, table: Table) -> Recipe:
    """The recipe of the table's baseline."""
    return resolved.trials[table.rows[baseline_row(table)].keys[0]].recipe


def baseline_row(table: Table) -> int:
    """Index of the baseline."""
    return next((i for i, row in enumerate(table.rows) if row.role == "baseline"), 0)


def above(table: Table, row: int) -> int | None:
    """The row whose tricks this one adds to or takes from: control rows are passed over."""
    found = table.rows[row].above
    while found is not None and table.rows[found].role == "control":
        found = table.rows[found].above
    return found


def whole(publication: Publication, resolved: ResolvedStudy, table: Table) -> Whole | None:
    """The published table that this one is: by its name, else by its steps; None if none is."""
    for name in (table.ablation, resolved.name):
        numbered = _NUMBERED.search(name)
        published = publication.table(int(numbered[1])) if numbered else None
        if published and (found := _beside(resolved, table, published)):
            return found
    for published in publication.tables:
        found = _beside(resolved, table, published)
        if found and _same_steps(table, published, found) and _same_data(published, table):
            return found
    return None


def step(publication: Publication, resolved: ResolvedStudy, table: Table, row: int) -> Step | None:
    """The published step that adds what this row adds, or leaves out; None if there is none."""
    reference = above(table, row)
    if reference is None or table.rows[row].role == "control":
        return None
    here, there = (row_tricks(resolved, table.rows[i]) for i in (row, reference))
    if there <= here:
        tricks, negated = here - there, False
    elif here < there:
        tricks, negated = there - here, True
    else:
        return None
    label = _bare(table.rows[row].label)
    model = baseline_recipe(resolved, table).model
    # its own data set first; a stable sort keeps the tables' order
    for published in sorted(publication.tables, key=lambda t: t.dataset != table.dataset):
        if pair := _shortest(published, tricks, label):
            column = _column_for_a_trick(published, model)
            return Step(published, column, *pair, negated, reference)
    return None


def _beside(resolved: ResolvedStudy, table: Table, published: PublishedTable) -> Whole | None:
    """The cells of `published` beside the rows, None if no step is found there."""
    column = _column(resolved, table, published)
    if column is None:
        return None
    measured = _cumulative(resolved, table, published)
    known = {published.tricks(i): i for i in range(len(published.rows))}
    cells = tuple(None if tricks is None else known.get(tricks) for tricks in measured)
    if len(table.rows) > 1 and not any(cells):  # what stands first says nothing of the others
        return None
    return Whole(published, column, cells)


def _cumulative(
    resolved: ResolvedStudy, table: Table, published: PublishedTable
) -> list[Tricks | None]:
    """What each row has and the baseline has not, None for controls and for what takes away."""
    names = [row_tricks(resolved, row) for row in table.rows]
    found: list[Tricks | None] = []
    for i, row in enumerate(table.rows):
        if row.role == "baseline":
            found.append(frozenset())
            continue
        before = above(table, i)
        if row.role == "control" or before is None or not names[before] <= names[i]:
            found.append(None)
            continue
        added = names[i] - names[before]
        line = next((x for x in published.rows if _is_step(x, added, _bare(row.label))), None)
        added = line.adds if line else added
        base = found[before]
        found.append(base | added if base is not None and added else None)
    return found


def _is_step(line: Line, added: Tricks, label: str) -> bool:
    """The same tricks; or the same name where some do not apply to the model and were dropped."""
    return bool(line.adds) and (added == line.adds or (label == line.step and added <= line.adds))


def _bare(label: str) -> str:
    return label.removeprefix("+ ").removeprefix("without ").replace(" and ", " + ")


def _same_steps(table: Table, published: PublishedTable, found: Whole) -> bool:
    trunk = [found.cells[i] for i, row in enumerate(table.rows) if row.role == "step"]
    return table.kind == "cumulative" and trunk == list(published.trunk[1:]) and bool(trunk)


def _same_data(published: PublishedTable, table: Table) -> bool:
    """Tables of one data set, such as Places365, answer for that one only."""
    return published.dataset in ("imagenet", table.dataset)


def _column(resolved: ResolvedStudy, table: Table, published: PublishedTable) -> int | None:
    columns = published.columns
    recipe = baseline_recipe(resolved, table)
    if len({column.family for column in columns}) > 1:
        return next((i for i, c in enumerate(columns) if c.family in recipe.model), None)
    sizes = [column.batch_size for column in columns]
    if len(sizes) == 1:
        return 0
    together = [
        baseline_recipe(resolved, other).batch_size
        for other in resolved.tables
        if (other.ablation, other.dataset) == (table.ablation, table.dataset)
    ]
    # a column of which nothing is trained may be left out of the tables, its trials are not
    planned = [trial.recipe.batch_size for trial in resolved.trials.values()]
    for batches in (sorted(set(together)), sorted(set(planned))):
        if len(batches) == len(sizes) and recipe.batch_size in batches:
            return sizes.index(sorted(sizes)[batches.index(recipe.batch_size)])
    # one size only: the nearest, in powers of two
    return min(range(len(sizes)), key=lambda i: _apart(sizes[i], recipe.batch_size))


def _apart(a: int, b: int) -> float:
    return max(a, b) / min(a, b)


def _column_for_a_trick(published: PublishedTable, model: str) -> int:
    columns = published.columns
    if published.per_trick:
        return [column.label for column in columns].index(published.per_trick)
    return next((i for i, column in enumerate(columns) if column.family in model), 0)


def _shortest(published: PublishedTable, tricks: Tricks, label: str) -> tuple[int, int] | None:
    """(row, a trunk row above it) that these tricks lie between, the nearest such pair."""
    pairs: Sequence[tuple[int, int]] = [
        (row, before)
        for row in range(len(published.rows))
        for before in published.trunk
        if before < row
    ]
    for row, before in sorted(pairs, key=lambda pair: pair[0] - pair[1]):
        between = published.tricks(row) - published.tricks(before)
        named = label == published.rows[row].step and between == published.rows[row].adds
        if between == tricks or (named and tricks and tricks <= between):
            return row, before
    return None
