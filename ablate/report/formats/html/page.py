"""The page: one file, no script, no request; and what of it a notebook shows."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from ablate.report import captions, numbers
from ablate.report.formats.html import (
    cost,
    curves,
    effects,
    markup,
    number_tables,
    provenance,
    verdict,
    waterfall,
)
from ablate.report.formats.html.markup import Markup, join, spaced, tag
from ablate.report.formats.html.style import NOTEBOOK, STYLE
from ablate.report.formats.html.views import Epochs, ablations, panels, studies
from ablate.report.model import ReportTable
from ablate.util.files import moment


def render_notebook(tables: Sequence[ReportTable]) -> str:
    """A fragment with its own style, which touches nothing outside it."""
    found: list[Markup] = []
    for group in studies(tables):
        for ablation in ablations(group):
            first = ablation[0]
            name = " · ".join(part for part in (first.study, first.ablation) if part)
            about = tag("span", captions.recipe(ablation), class_="about")
            found.append(tag("h3", name, " ", about, class_="ablation"))
            digest = blake2b(name.encode("utf-8", "backslashreplace"), digest_size=4)
            place = markup.Place(4, f"ablate-{digest.hexdigest()}-")
            shown = panels(ablation)
            caveat = verdict.order_caveat(ablation)
            sections = [
                verdict.render(place, shown, advice=caveat),
                effects.render(place, shown),
                number_tables.render(place, shown),
            ]
            found += [section for section in sections if section is not None]
    style = tag("style", Markup(NOTEBOOK))
    return tag("div", join(style, *found), class_="ablate notebook")


_SECTIONS = (
    *("Verdict", "Effects", "Waterfall", "Curves", "Cost"),
    *("Numbers", "Settings", "Provenance"),
)


def render_page(tables: Sequence[ReportTable], epochs: Epochs) -> str:
    """The whole document; the text ends in a newline."""
    groups = studies(tables)
    names = ", ".join(group[0].study for group in groups)
    several = len(groups) > 1
    top = markup.Place()
    body: list[Markup] = []
    if several:
        links = [tag("a", g[0].study, href=f"#s{i}") for i, g in enumerate(groups, 1)]
        title = tag("h1", tag("span", f"{len(groups)} studies ", class_="name"), "ablation report")
        nav = tag("nav", spaced(links), aria_label="studies")
        body.append(tag("header", title, nav, _together(tables)))
    for i, group in enumerate(groups, 1):
        place = top.inner(f"s{i}-") if several else top
        body.append(_study(place, group, epochs, several=several, anchor=f"s{i}"))
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{names}: ablation report"),
        tag("style", Markup(STYLE)),
    )
    document = tag("html", tag("head", head), tag("body", body, class_="ablate"), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def _study(
    place: markup.Place,
    tables: Sequence[ReportTable],
    epochs: Epochs,
    *,
    several: bool,
    anchor: str,
) -> Markup:
    groups = ablations(tables)
    answered = any(table.kind in ("leave_one_out", "orderings", "factorial") for table in tables)
    inner: list[Markup] = []
    links: list[Markup] = []
    for i, group in enumerate(groups, 1):
        name = group[0].ablation
        if len(groups) == 1:
            inner += _ablation(place, group, epochs, answered=answered)
            continue
        apart = place.inner(f"a{i}-")
        links.append(tag("a", name, href=f"#{place.prefix}a{i}"))
        kind = group[0].kind.replace("_", " ")
        about = tag("span", kind, class_="about") if kind != name.replace("_", " ") else None
        title = place.heading(name, " ", about, class_="ablation")
        sections = _ablation(apart, group, epochs, answered=answered)
        inner.append(tag("div", title, *sections, id=f"{place.prefix}a{i}"))
    shared = [provenance.render_settings(place, tables), provenance.render_trials(place, tables)]
    if len(groups) == 1:
        links = []
    present = join(*inner, *shared)
    own = _SECTIONS if len(groups) == 1 else _SECTIONS[-2:]
    links += [
        tag("a", name, href=f"#{place.prefix}{name.lower()}")
        for name in own
        if f'id="{place.prefix}{name.lower()}"' in present
    ]
    return join(
        _header(place, tables, links, anchor if several else None),
        None if several else _together(tables),
        tag("main", present) if not several else tag("div", present),
        _footer(tables),
    )


def _together(tables: Sequence[ReportTable]) -> Markup | None:
    """What must not be compared between these tables, as every format says it."""
    return verdict.attention(captions.notes(tables))


def _ablation(
    place: markup.Place, tables: Sequence[ReportTable], epochs: Epochs, *, answered: bool
) -> list[Markup]:
    found = panels(tables)
    caveat = verdict.order_caveat(tables)
    sections = [
        verdict.render(place, found, advice=caveat),
        effects.render(place, found),
        waterfall.render(place, found),
        curves.render(place, found, epochs),
        cost.render(place, found, epochs),
        number_tables.render(place, found),
    ]
    return [section for section in sections if section is not None]


def _header(
    place: markup.Place, tables: Sequence[ReportTable], links: Sequence[Markup], anchor: str | None
) -> Markup:
    first = tables[0]
    level = "h1" if anchor is None else "h2"
    name = tag("span", first.study, class_="name")
    about = " ablation report" if anchor is None else None
    return tag(
        "header",
        tag(level, name, about, class_="study"),
        tag("p", _facts(tables), class_="facts"),
        tag("nav", spaced(links), aria_label="sections"),
        id=anchor,
    )


def _facts(tables: Sequence[ReportTable]) -> str:
    """Recipe, seeds, trials, machines and date on one line."""
    cells = {c.key: c for table in tables for row in table.rows for c in row.seeds}
    done = sum(cell.status == "done" for cell in cells.values())
    machines: dict[str, int] = {}
    for table in tables:
        for count, name in table.provenance.machines:
            machines[name] = max(count, machines.get(name, 0))
    numerics = (s for t in tables for s in t.provenance.settings if s.endswith("numerics"))
    seeds = tables[0].seeds
    moments = [m for cell in cells.values() if (m := moment(cell.finished))]
    latest = max(moments, default=None)
    facts = [
        captions.recipe(tables),
        f"{'seeds' if len(seeds) > 1 else 'seed'} {numbers.span(seeds)}",
        f"{done:,} of {numbers.count(len(cells), 'trial')} done",
        *(f"{count} × {name}" for name, count in machines.items()),
        *dict.fromkeys(numerics),
        f"{latest.day} {latest:%B %Y}" if latest else "",
    ]
    return " · ".join(fact for fact in facts if fact)


def _footer(tables: Sequence[ReportTable]) -> Markup:
    versions = dict.fromkeys(v for table in tables for v in table.provenance.ablate)
    command = tables[0].provenance.command
    made = join("Made by ", tag("code", command), " · ") if command else Markup()
    ours = join("ablate ", ", ".join(versions), " · ") if versions else Markup()
    others = [join(", " if i else None, tag("code", name)) for i, name in enumerate(_OTHERS)]
    return tag("footer", tag("p", made, ours, "the same numbers: ", others))


_OTHERS = ("--format csv", "--format json", "-o report.parquet")
