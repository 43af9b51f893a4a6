"""Settings: the recipe that every row shares, and what each row changes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ablate.report import numbers, words
from ablate.report.html import parts
from ablate.report.html.markup import Markup, name, tag
from ablate.report.model import ReportTable

# "precision: fp32 → fp16", "lr 0.1 → 0.2"
_CHANGES = (re.compile(r"([^:→]+): (.+?) → (.+)"), re.compile(r"([^\s:→]+) (.+?) → (.+)"))


def render(place: parts.Place, tables: Sequence[ReportTable]) -> Markup:
    """The section. tables: of one study."""
    groups: dict[tuple[tuple[str, str], ...], list[ReportTable]] = {}
    for table in tables:
        changes = tuple((row.label, row.changes) for row in table.rows if row.changes)
        if changes:
            groups.setdefault(changes, []).append(table)
    shown = [_changes(lines, held, len(groups) > 1) for lines, held in groups.items()]
    about = "what each row changes" if shown else "what every row shares"
    return parts.section(place, "Settings", about, _recipe(tables), shown)


def _recipe(tables: Sequence[ReportTable]) -> Markup:
    first = tables[0]
    margin = f"±{numbers.plain(first.margin)}{first.metric.points}" if first.margin else ""
    shown = {
        "recipe": first.provenance.headline,
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
    names = (" ".join(part for part in (t.ablation, words.title(t)) if part) for t in tables)
    what = ", ".join(dict.fromkeys(names))
    inner = tag(
        "table",
        tag("caption", what) if several else None,
        tag("thead", tag("tr", heads)),
        tag("tbody", rows),
    )
    label = f"what each row changes: {what}"
    return tag("div", inner, class_="scroll words", tabindex=0, role="region", aria_label=label)
