"""Addresses of rows and trials: "group1:mixup", "group1:3", "group1:mixup/imagewoof/1".

An address that different rows answer to is refused. Study files may not have such names any more;
studies that were stored before do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ablate.core.resolved_study import ResolvedStudy, Row, Table
from ablate.errors import AblateError, did_you_mean
from ablate.util.text import name_key, one_line


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
    ("mixup") or a number from 0 (the baseline), also written "@0"; STUDY:ABLATION:ROW says which
    ablation where several have such a row that is not the same trials. Raises AblateError for what
    does not exist or is ambiguous.
    """
    study, colon, rest = address.partition(":")
    if not colon or name_key(study) != name_key(resolved.name):
        raise AblateError(
            f"'{address}' is no row of {resolved.name}",
            hint=f"{resolved.name}:ROW, {resolved.name}:ROW/DATASET/SEED, or a key's first letters",
        )
    tables: Sequence[Table] = resolved.tables
    ablation, colon, named = rest.partition(":")
    prefix = f"{study}:"
    if colon and (of := [t for t in tables if name_key(t.ablation) == name_key(ablation)]):
        tables, rest, prefix = of, named, f"{study}:{ablation}:"
    name, where, found = _named(tables, rest)
    if not found:
        labels = list(dict.fromkeys(bare(row) for table in tables for row in table.rows))
        raise AblateError(f"{resolved.name} has no row '{name}'{did_you_mean(name, labels)}")
    tail = f"/{where}" if where else ""
    rows = [
        (table, table.rows[_only(table, numbers, f"'{address}'", prefix, tail)])
        for table, numbers in found
    ]
    first = rows[0][0].ablation
    if _trials_agree(rows):
        rows = [(table, row) for table, row in rows if table.ablation == first]
    if len({table.ablation for table, _ in rows}) > 1:
        second = next(table.ablation for table, _ in rows if table.ablation != first)
        raise AblateError(
            f"'{address}' is a row of both {first} and {second}",
            hint=f"{study}:{first}:{rest} or {study}:{second}:{rest}",
        )
    return _trials(rows, where, address)


def row_number(table: Table, name: str, option: str) -> int | None:
    """The row of a table that a label or number names, None without one.

    option: that it was typed after, as "--baseline". Raises AblateError if several rows answer.
    """
    fit = _fit(table.rows, name)
    return None if fit is None else _only(table, fit[1], f"{option} '{name}'", f"{option} ", "")


def bare(row: Row) -> str:
    """A label without its sign: "mixup" of "+ mixup" and of "without mixup"."""
    return row.label.removeprefix("+ ").removeprefix("without ")


# ------------------------------------------------------------------------------------ finding


def _named(tables: Sequence[Table], rest: str) -> tuple[str, str, list[tuple[Table, list[int]]]]:
    """(name, where, of each table the rows that the name fits) of "mixup/imagewoof/1".

    A worse fit in one table counts for nothing beside a better one in another.
    """
    name, where = rest, ""
    for name, where in _splits(rest):
        fits = [(table, fit) for table in tables if (fit := _fit(table.rows, name)) is not None]
        if fits:
            best = min(quality for _, (quality, _) in fits)
            found = [(table, rows) for table, (quality, rows) in fits if quality == best]
            return name, where, found
    return name, where, []


def _splits(rest: str) -> Iterator[tuple[str, str]]:
    """("mixup", "imagewoof/1"), the longest name first: settings in a label may have slashes."""
    parts = rest.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join(parts[:count]), "/".join(parts[count:])


def _fit(rows: Sequence[Row], name: str) -> tuple[int, list[int]] | None:
    """(how well, which rows) `name` fits: 0 by label, 1 by what is left out, 2 by number alone.

    A label that is a number fits the row of that number as well. Rows of the same trials are one.
    """
    wanted, numbers = name_key(name), _numbers(rows, name)
    by_label = [i for i, row in enumerate(rows) if wanted in row.answers_to]
    by_rest = [i for i, row in enumerate(rows) if wanted == name_key(bare(row))]
    for quality, found in enumerate((by_label, by_rest, _numbers(rows, name.removeprefix("@")))):
        if found:
            distinct = {rows[i].keys: i for i in reversed([*found, *numbers])}
            return quality, sorted(distinct.values())
    return None


def _numbers(rows: Sequence[Row], name: str) -> list[int]:
    numbered = name.isdecimal() and len(name) < 9 and int(name) < len(rows)
    return [int(name)] if numbered else []


def _only(table: Table, numbers: Sequence[int], asked: str, before: str, after: str) -> int:
    """The one row. Raises AblateError if there are several, with an address for each."""
    if len(numbers) == 1:
        return numbers[0]
    mark = "@" if any(bare(row).isdecimal() for row in table.rows) else ""
    rows = " and ".join(f"row {i} ({one_line(table.rows[i].label)})" for i in numbers)
    raise AblateError(
        f"{asked} is more than one row of {table.ablation}: {rows}",
        hint=" or ".join(f"{before}{mark}{i}{after}" for i in numbers),
    )


def _trials_agree(found: Sequence[tuple[Table, Row]]) -> bool:
    """Whether the rows are the same trials in every ablation, so that any of them is meant."""
    trials: dict[str, dict[tuple[str, str], tuple[str, ...]]] = {}
    for table, row in found:
        trials.setdefault(table.ablation, {})[table.dataset, table.column] = row.keys
    first, *others = trials.values()
    return all(other == first for other in others)


def _trials(found: Sequence[tuple[Table, Row]], where: str, address: str) -> list[Place]:
    """The rows on the data set, and of the seed, that `where` names."""
    seed = ""
    if where:
        dataset, seed = _dataset(found, where, address)
        found = [(table, row) for table, row in found if table.dataset == dataset]
    places = [
        Place(table, row, {s: k for s, k in pairs if not seed or seed == str(s)})
        for table, row in found
        if (pairs := _seeds(table, row))
    ]
    places = [place for place in places if place.keys]
    if not places:
        seeds = ", ".join(str(seed) for seed in found[0][0].seeds)
        raise AblateError(f"'{address}': no seed '{seed}'; the study has {seeds}")
    return places


def _seeds(table: Table, row: Row) -> list[tuple[int, str]]:
    """(seed, key), without the seeds that could not choose their settings where others could."""
    pairs = list(zip(table.seeds, row.keys, strict=True))
    return [(seed, key) for seed, key in pairs if key in row.trained] or pairs


def _dataset(found: Sequence[tuple[Table, Row]], where: str, address: str) -> tuple[str, str]:
    """(data set, seed or "") of "imagewoof/1". It may be "imagefolder:a/b", beside another one
    that is "imagefolder:a"."""
    datasets = list(dict.fromkeys(table.dataset for table, _ in found))
    fits = [
        (dataset, seed)
        for named, seed in _splits(where)
        for dataset in datasets
        if name_key(dataset) == name_key(named)
    ]
    if not fits:
        asked = where.split("/")[0]
        raise AblateError(f"'{address}': no such data set{did_you_mean(asked, datasets)}")
    seeds = {str(seed) for table, _ in found for seed in table.seeds}
    sound = [(dataset, seed) for dataset, seed in fits if not seed or seed in seeds]
    if len(sound) > 1:
        words = " and ".join(f"seed {s} of {d}" if s else f"all of {d}" for d, s in sound)
        raise AblateError(f"'{address}' is both {words}", hint="name a trial by its key's letters")
    return (sound or fits)[0]
