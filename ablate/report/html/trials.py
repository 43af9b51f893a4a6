"""Provenance: how the verdicts are made, and where every trial comes from."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.files import moment
from ablate.report import numbers, words
from ablate.report.html import parts
from ablate.report.html.markup import Markup, name, tag
from ablate.report.html.views import seed_value
from ablate.report.model import ReportTable, SeedValue


def render(place: parts.Place, tables: Sequence[ReportTable]) -> Markup:
    """The section. tables: of one study."""
    found = _rows(tables)
    command = tables[0].provenance.command
    return parts.section(
        place,
        "Provenance",
        "",
        tag("p", _method(tables), class_="text"),
        tag("p", words.source(tables[0]), ". ", tag("code", command) if command else None),
        parts.folded(
            f"{numbers.count(len(found), 'trial')}: keys, machines, versions", _table(found)
        ),
    )


def _method(tables: Sequence[ReportTable]) -> list[Markup | str]:
    first = next((table for table in tables if table.df is not None), tables[0])
    metric = f"The {first.metric.label} is the last epoch's; no epoch is picked by its result."
    if first.one_seed:
        return [metric]
    margin = f"±{numbers.plain(first.margin)}{first.metric.points}"
    within = f": the {numbers.inner_level(first)} interval lies within {margin}. "
    level = f"{first.alpha:g}".lstrip("0")
    return [
        "± is the standard deviation over seeds. ",
        *(tag("b", "Gain"), " and ", tag("b", "loss"), f": Holm-corrected p < {level}. "),
        *((tag("b", "Equivalent"), within) if first.margin else ()),
        *(tag("b", "Unresolved"), ": neither; more seeds may tell. "),
        metric,
    ]


def _rows(tables: Sequence[ReportTable]) -> list[tuple[ReportTable, str, SeedValue]]:
    """Each trial once, where it is first used."""
    found: dict[str, tuple[ReportTable, str, SeedValue]] = {}
    for table in tables:
        for row in table.rows:
            for cell in row.seeds:
                found.setdefault(cell.key, (table, row.label, cell))
    return list(found.values())


def _table(found: Sequence[tuple[ReportTable, str, SeedValue]]) -> Markup:
    metric = found[0][0].metric.heading if found else ""
    values = []
    for table, _, cell in found:
        value = seed_value(cell, table)
        values.append("–" if value is None else numbers.fixed(value, table.decimals + 1))
    cells = [cell for _, _, cell in found]
    said = [cell.status.replace("_", " ") for cell in cells]
    status = [f"{s}: {c.message}" if c.message else s for s, c in zip(said, cells, strict=True)]
    columns = [
        parts.Column("trial", [tag("code", cell.key[:12]) for cell in cells]),
        parts.Column("data", [words.title(table) for table, _, _ in found]),
        parts.Column("row", [name(label) for _, label, _ in found]),
        parts.Column("seed", [str(cell.seed) for cell in cells], right=True),
        parts.Column(metric, values, right=True),
        parts.Column("minutes", [_minutes(cell) for cell in cells], right=True),
        parts.Column("status", status),
        parts.Column("machine", [_recorded(cell, "device_name") for cell in cells]),
        parts.Column("torch", [_recorded(cell, "torch") for cell in cells]),
        parts.Column("ablate", [_recorded(cell, "ablate") for cell in cells]),
        parts.Column("finished (UTC)", [_moment(cell.finished) for cell in cells]),
    ]
    return parts.table(columns, label="every trial")


def _recorded(cell: SeedValue, what: str) -> str:
    return " ".join(str(cell.environment.get(what, "")).split())


def _minutes(cell: SeedValue) -> str:
    """From the attempt's start to its end."""
    start, end = moment(cell.started), moment(cell.finished)
    if start is None or end is None or end < start:
        return "–"
    return numbers.fixed((end - start).total_seconds() / 60, 2)


def _moment(text: str) -> str:
    found = moment(text)
    return found.strftime("%Y-%m-%d %H:%M") if found else ""
