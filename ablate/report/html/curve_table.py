"""Every number that the curves draw, folded below them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ablate.report import numbers
from ablate.report.html import parts
from ablate.report.html.markup import Markup, escaped, join, tag
from ablate.report.html.trajectories import Trajectories
from ablate.report.html.views import Line
from ablate.report.model import ReportTable

Shown = tuple[ReportTable, str, Trajectories, Sequence[Line]]


def epoch_tables(scenes: Sequence[Shown]) -> Markup:
    """A table for each row: its seeds, their mean, and the differences that the strips draw."""
    tables = []
    for table, title, found, lines in scenes:
        compared = {line.row: line.comparison.reference for line in lines if line.comparison}
        tables += [
            _table(table, title, found, row, compared.get(row))
            for row in sorted({*compared, *compared.values()})
        ]
    return parts.folded("Numbers, epoch by epoch", tables)


def _table(
    table: ReportTable, title: str, found: Trajectories, row: int, reference: int | None
) -> Markup:
    lines = found.rows[row]
    heads = ["epoch", *(f"seed {seed}" for seed in lines), "mean"]
    columns = [*lines.values(), found.means[row]]
    signed: list[Sequence[float]] = []
    if reference is not None:
        apart = found.differences(row, reference)
        heads += [*(f"Δ seed {seed}" for seed in apart), "Δ mean"]
        signed = [*apart.values(), found.difference(row, reference)]
    decimals = table.decimals
    # End tags of cells and rows may be left out in HTML, and there are thousands of them.
    body = [
        f"<tr><th>{epoch}"
        + "".join(f"<td>{_number(column[i], decimals)}" for column in columns)
        + "".join(f"<td>{_number(column[i], decimals, signed=True)}" for column in signed)
        for i, epoch in enumerate(found.epochs)
    ]
    what = f"{title}: {table.rows[row].label}, {table.metric.heading}"
    if reference is not None:
        what += f"; Δ against {table.rows[reference].label}"
    inner = tag(
        "table",
        tag("caption", escaped(what)),
        tag("thead", tag("tr", (tag("th", head, scope="col") for head in heads))),
        tag("tbody", Markup("".join(body))),
        class_="epochs",
    )
    return join(tag("div", inner, class_="scroll", tabindex=0, role="region", aria_label=what))


def _number(value: float, decimals: int, *, signed: bool = False) -> str:
    if not math.isfinite(value):
        return "–"
    return numbers.signed(value, decimals) if signed else numbers.fixed(value, decimals)
