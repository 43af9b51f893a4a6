"""What a notebook shows: Verdict, Effects and Numbers of the page."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from ablate.report.html import effects, full_table, parts, verdict
from ablate.report.html.markup import Markup, join, tag
from ablate.report.html.style import NOTEBOOK
from ablate.report.html.views import ablations, panels, studies
from ablate.report.model import ReportTable


def render_notebook(tables: Sequence[ReportTable]) -> str:
    """A fragment with its own style, which touches nothing outside it."""
    found: list[Markup] = []
    for group in studies(tables):
        several = len(ablations(group)) > 1
        for ablation in ablations(group):
            first = ablation[0]
            name = " · ".join(part for part in (first.study, first.ablation) if part)
            about = tag("span", first.provenance.headline, class_="about")
            found.append(tag("h3", name, " ", about, class_="ablation"))
            digest = blake2b(name.encode("utf-8", "backslashreplace"), digest_size=4)
            place = parts.Place(4, f"ablate-{digest.hexdigest()}-")
            shown = panels(ablation)
            caveat = verdict.order_caveat(ablation, answered=several)
            sections = [
                verdict.render(place, shown, advice=caveat),
                effects.render(place, shown),
                full_table.render(place, shown),
            ]
            found += [section for section in sections if section is not None]
    style = tag("style", Markup(NOTEBOOK))
    return tag("div", join(style, *found), class_="ablate notebook")
