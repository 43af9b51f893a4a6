"""Settings and provenance: the recipe, what each row changes, where every trial comes from."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ablate.report import captions, numbers
from ablate.report.formats.html import markup
from ablate.report.formats.html.markup import Markup, name, tag
from ablate.report.formats.html.views import seed_value
from ablate.report.model import ReportTable, SeedValue
from ablate.util.files import moment

# "precision: fp32 → fp16", "lr 0.1 → 0.2"
_CHANGES = (re.compile(r"([^:→]+): (.+?) → (.+)"), re.compile(r"([^\s:→]+) (.+?) → (.+)"))


def _recipe(tables: Sequence[ReportTable]) -> Markup:
    first = tables[0]
    margin = f"±{numbers.plain(first.margin)}{first.metric.points}" if first.margin else ""
    shown = {
        "recipe": captions.recipe(tables),
        "numerics": ", ".join(
            dict.fromkeys(s for t in tables for s in t.provenance.settings if "numerics" in s)
        ),
        "data sets": ", ".join(dict.fromkeys(table.dataset for table in tables)),
        "test images": ", ".join(
            dict.fromkeys(f"{t.examples:,} ({t.dataset})" for t in tables if t.examples)
        ),
        "metric": f"{first.metric.label}, last epoch",
        "seeds": f"{numbers.span(first.seeds)} (n = {len(first.seeds)})",
        "margin": margin,
    }
    rows = [(tag("dt", what), tag("dd", text)) for what, text in shown.items() if text]
    return tag("dl", [part for row in rows for part in row])


def _changes(
    lines: Sequence[tuple[str, str]], tables: Sequence[ReportTable], several: bool
) -> Markup:
    """One line for each setting of each row; in words where it is no "from → to"."""
    reference = "row above" if tables[0].kind == "cumulative" else "compared with"
    rows = []
    for label, changes in lines:
        for i, part in enumerate(changes.split("; ")):
            head = tag("th", name(label) if i == 0 else "", scope="row")
            found = next((m for each in _CHANGES if (m := each.fullmatch(part))), None)
            cells = [tag("td", text) for text in found.groups()] if found else []
            rows.append(tag("tr", head, cells or tag("td", part, colspan=3)))
    heads = [tag("th", head, scope="col") for head in ("row", "setting", reference, "this row")]
    names = (" ".join(part for part in (t.ablation, captions.title(t)) if part) for t in tables)
    what = ", ".join(dict.fromkeys(names))
    inner = tag(
        "table",
        tag("caption", what) if several else None,
        tag("thead", tag("tr", heads)),
        tag("tbody", rows),
    )
    label = f"what each row changes: {what}"
    return tag("div", inner, class_="scroll words", tabindex=0, role="region", aria_label=label)


def render_settings(place: markup.Place, tables: Sequence[ReportTable]) -> Markup:
    """The section. tables: of one study."""
    groups: dict[tuple[tuple[str, str], ...], list[ReportTable]] = {}
    for table in tables:
        changes = tuple((row.label, row.changes) for row in table.rows if row.changes)
        if changes:
            groups.setdefault(changes, []).append(table)
    shown = [_changes(lines, held, len(groups) > 1) for lines, held in groups.items()]
    about = "what each row changes" if shown else "what every row shares"
    return markup.section(place, "Settings", about, _recipe(tables), shown)


def render_trials(place: markup.Place, tables: Sequence[ReportTable]) -> Markup:
    """The section. tables: of one study."""
    found = _rows(tables)
    command = tables[0].provenance.command
    return markup.section(
        place,
        "Provenance",
        "",
        tag("p", _method(tables), class_="text"),
        tag("p", captions.source(tables[0]), ". ", tag("code", command) if command else None),
        markup.folded(
            f"{numbers.count(len(found), 'trial')}: keys, machines, versions", _table(found)
        ),
    )


def _method(tables: Sequence[ReportTable]) -> list[Markup | str]:
    first = next((table for table in tables if table.df is not None), tables[0])
    metric = f"The {first.metric.label} is the last epoch's; no epoch is picked by its result."
    if first.one_seed:
        return [metric]
    margin = f"±{numbers.plain(first.margin)}{first.metric.points}"
    inner = {numbers.inner_level(table): None for table in tables}
    within = f": the {' or '.join(inner)} interval lies within {margin}. "
    level = " or ".join({f"{table.alpha:g}".lstrip("0"): None for table in tables})
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
        markup.Column("trial", [tag("code", cell.key[:12]) for cell in cells]),
        markup.Column("data", [captions.title(table) for table, _, _ in found]),
        markup.Column("row", [name(label) for _, label, _ in found]),
        markup.Column("seed", [str(cell.seed) for cell in cells], right=True),
        markup.Column(metric, values, right=True),
        markup.Column("minutes", [_minutes(cell) for cell in cells], right=True),
        markup.Column("status", status),
        markup.Column("machine", [_recorded(cell, "device_name") for cell in cells]),
        markup.Column("torch", [_recorded(cell, "torch") for cell in cells]),
        markup.Column("ablate", [_recorded(cell, "ablate") for cell in cells]),
        markup.Column("finished (UTC)", [_moment(cell.finished) for cell in cells]),
    ]
    return markup.table(columns, label="every trial")


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
