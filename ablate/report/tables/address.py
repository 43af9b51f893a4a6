"""Addresses of rows and trials: "group1:mixup", "group1:3", "group1:mixup/imagewoof/1"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ablate.core.resolved_study import ResolvedStudy, Row, Table
from ablate.errors import AblateError, did_you_mean


class Place(NamedTuple):
    """A row of one table that an address names, and the trials of it, by seed."""

    table: Table
    row: Row
    keys: dict[int, str]


def row_address(resolved: ResolvedStudy, address: str) -> tuple[str, ...]:
    """Keys of the trials that an address names, in the order of tables and seeds.

    As `addressed`, of which these are the keys.
    """
    places = addressed(resolved, address)
    return tuple(dict.fromkeys(key for place in places for key in place.keys.values()))


def addressed(resolved: ResolvedStudy, address: str) -> list[Place]:
    """The rows, one for each table, that an address names.

    STUDY:ROW is every trial of a row, STUDY:ROW/DATASET those on one data set, and
    STUDY:ROW/DATASET/SEED one trial. ROW is a label ("+ mixup"), a label without its sign
    ("mixup") or a number from 0 (the baseline); STUDY:ABLATION:ROW says which ablation where
    several have such a row that is not the same trials. Raises AblateError for what does not exist
    or is ambiguous.
    """
    study, colon, rest = address.partition(":")
    if not colon or study != resolved.name:
        raise AblateError(
            f"'{address}' is no row of {resolved.name}",
            hint=f"{resolved.name}:ROW, {resolved.name}:ROW/DATASET/SEED, or a key's first letters",
        )
    tables: Sequence[Table] = resolved.tables
    names = {table.ablation for table in tables}
    ablation, colon, named = rest.partition(":")
    if colon and ablation in names:
        tables, rest = [table for table in tables if table.ablation == ablation], named
    name, _, where = rest.partition("/")
    found = _named(tables, name)
    if not found:
        labels = list(dict.fromkeys(_bare(row) for table in tables for row in table.rows))
        raise AblateError(f"{resolved.name} has no row '{name}'{did_you_mean(name, labels)}")
    first = found[0][0].ablation
    if _trials_agree(found):
        found = [(table, row) for table, row in found if table.ablation == first]
    if len({table.ablation for table, _ in found}) > 1:
        second = next(table.ablation for table, _ in found if table.ablation != first)
        raise AblateError(
            f"'{address}' is a row of both {first} and {second}",
            hint=f"{study}:{first}:{rest} or {study}:{second}:{rest}",
        )
    return _trials(found, where, address)


def _named(tables: Sequence[Table], name: str) -> list[tuple[Table, Row]]:
    """The row of each table that `name` fits best: its label, else what it leaves out, else its
    number. A worse fit in one table counts for nothing beside a better one in another."""
    fits: tuple[Callable[[Row, int], bool], ...] = (
        lambda row, _: name in (row.label, row.label.removeprefix("+ ")),
        lambda row, _: name == _bare(row),
        lambda _, number: name.isdecimal() and int(name) == number,
    )
    for fit in fits:
        found = [
            (table, next(row for number, row in enumerate(table.rows) if fit(row, number)))
            for table in tables
            if any(fit(row, number) for number, row in enumerate(table.rows))
        ]
        if found:
            return found
    return []


def _trials_agree(found: Sequence[tuple[Table, Row]]) -> bool:
    """Whether the rows are the same trials in every ablation, so that any of them is meant."""
    trials: dict[str, dict[tuple[str, str], tuple[str, ...]]] = {}
    for table, row in found:
        trials.setdefault(table.ablation, {})[table.dataset, table.column] = row.keys
    first, *others = trials.values()
    return all(other == first for other in others)


def _bare(row: Row) -> str:
    return row.label.removeprefix("+ ").removeprefix("without ")


def _trials(found: Sequence[tuple[Table, Row]], where: str, address: str) -> list[Place]:
    """The rows on the data set, and of the seed, that `where` names."""
    if where:
        datasets = list(dict.fromkeys(table.dataset for table, _ in found))
        # a data set may be "imagefolder:some/path"
        dataset = next((d for d in datasets if where == d or where.startswith(f"{d}/")), None)
        if dataset is None:
            asked = where.split("/")[0]
            raise AblateError(f"'{address}': no such data set{did_you_mean(asked, datasets)}")
        found = [(table, row) for table, row in found if table.dataset == dataset]
        where = where[len(dataset) + 1 :]
    places = [
        Place(table, row, {s: k for s, k in pairs if not where or where == str(s)})
        for table, row in found
        if (pairs := list(zip(table.seeds, row.keys, strict=True)))
    ]
    places = [place for place in places if place.keys]
    if not places:
        seeds = ", ".join(str(seed) for seed in found[0][0].seeds)
        raise AblateError(f"'{address}': no seed '{where}'; the study has {seeds}")
    return places
