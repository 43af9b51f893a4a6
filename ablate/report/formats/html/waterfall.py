"""Waterfall: where each step of a cumulative table starts and ends, on its own axis."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.report import numbers
from ablate.report.formats.html import drawing, markup
from ablate.report.formats.html.drawing import Axis, axis
from ablate.report.formats.html.markup import Markup, join, name, percent, tag
from ablate.report.formats.html.views import Line, Panel, interval_text, scaled, signed
from ablate.report.model import ReportTable

_HEIGHT = 32
_BAR = (9, 14)  # top and height of a bar


def render(place: markup.Place, panels: Sequence[Panel]) -> Markup | None:
    """The section; None where no table is cumulative or has two means."""
    shown = [panel for panel in panels if _fits(panel)]
    if not shown:
        return None
    level = numbers.level(shown[0].first)
    sentences = ["Bars start where the row above ended.", "The axis does not start at zero."]
    if any(line.interval for panel in shown for line in panel.lines):
        sentences.insert(1, f"Whiskers are the step's {level} interval.")
    blocks = [_panel(place, panel) for panel in shown]
    return markup.section(
        place,
        "Waterfall",
        "from the baseline, step by step",
        tag("div", blocks, class_="pair waterfall", style=_widths(shown)),
        markup.caption(*sentences),
    )


def _fits(panel: Panel) -> bool:
    table = panel.first
    means = sum(row.mean is not None for row in table.rows)
    return table.kind == "cumulative" and not panel.transposed and means > 1


def _panel(place: markup.Place, panel: Panel) -> Markup:
    table = panel.first
    steps = {line.row: line for line in panel.lines if not line.is_total}
    found = _axis(table, steps)
    rows = [_row(table, i, steps.get(i), found) for i in range(len(table.rows))]
    labels = [
        tag("text", found.label(t), x=percent(found.at(t)), y=13, class_=f"mid{' spare' * (i % 2)}")
        for i, t in enumerate(found.ticks)
    ]
    svg = tag("svg", labels, width="100%", height=18, aria_hidden="true")
    scale = tag(
        "div",
        tag("span"),
        tag("div", svg, class_="plot", style="min-height:18px"),
        tag("span", table.metric.heading, class_="unit"),
        class_="row scale",
    )
    heading = place.heading(panel.title, class_="panel", deeper=1)
    return tag("div", heading, tag("div", rows, scale, class_="rows"), class_="block")


def _row(table: ReportTable, i: int, line: Line | None, found: Axis) -> Markup:
    row = table.rows[i]
    mean = numbers.mean(row.mean, table)
    delta = signed(line.delta, table) if line and line.delta is not None else ""
    short = f" (n {row.n})" if row.mean is not None and row.n < len(table.seeds) else ""
    said = f"{row.label}: {mean or row.verdict}{short} {delta}".strip()
    return tag(
        "div",
        tag("span", name(row.label, soft=True), class_="label"),
        markup.plot(_HEIGHT, said, _drawing(table, i, line, found)),
        tag("span", tag("b", mean), " ", tag("span", delta + short, class_="about")),
        class_="row",
    )


def _drawing(table: ReportTable, i: int, line: Line | None, found: Axis) -> Markup:
    row = table.rows[i]
    middle = _BAR[0] + _BAR[1] / 2
    marks = [markup.vertical(percent(found.at(tick)), "grid") for tick in found.ticks]
    mean = scaled(row.mean, table)
    if mean is None:
        return join(marks)
    x = percent(found.at(mean))
    if _follows(table, i + 1):
        marks.append(markup.vertical(x, "link", y1=f"{middle:g}"))
    reference = line.comparison.reference if line and line.comparison else None
    start = scaled(table.rows[reference].mean, table) if reference is not None else None
    said = markup.title(f"{row.label}: {numbers.mean(row.mean, table)}")
    if start is None or line is None or line.delta is None:
        marks.append(markup.at(x, middle, drawing.shape("dot", said)))
        return join(marks)
    if reference == i - 1:
        marks.append(markup.vertical(percent(found.at(start)), "link", y2=f"{middle:g}"))
    low, high = sorted((found.at(start), found.at(mean)))
    marks.append(
        tag(
            "rect",
            said,
            x=percent(low),
            y=_BAR[0],
            width=percent(high - low),
            height=_BAR[1],
            class_=f"bar {drawing.colour(line.asked.mark)}",
        )
    )
    if line.interval:
        ends = [percent(found.at(mean + end - line.delta)) for end in line.interval]
        level = f"{numbers.level(table)} interval of the step"
        said = markup.title(f"{row.label}: {level} {interval_text(line.interval, table)}")
        whisker = tag("line", said, x1=ends[0], x2=ends[1], y1=middle, y2=middle, class_="whisker")
        caps = [
            tag("line", x1=end, x2=end, y1=middle - 4, y2=middle + 4, class_="whisker")
            for end in ends
        ]
        marks += [whisker, *caps]
    return join(marks)


def _follows(table: ReportTable, i: int) -> bool:
    """Whether row i starts where the row above it ended."""
    if i >= len(table.rows):
        return False
    row = table.rows[i]
    return row.delta is not None and row.delta.reference == i - 1 and row.mean is not None


def _axis(table: ReportTable, steps: dict[int, Line]) -> Axis:
    values = []
    for i, row in enumerate(table.rows):
        mean = scaled(row.mean, table)
        if mean is None:
            continue
        values.append(mean)
        line = steps.get(i)
        if line and line.interval and line.delta is not None:
            values += [mean + end - line.delta for end in line.interval]
    return axis(values, most=4, pad=0.08)


def _widths(panels: Sequence[Panel]) -> str:
    rows = [(panel.first, row) for panel in panels for row in panel.first.rows]
    label = max(len(row.label) for _, row in rows)
    number = max(
        len(f"{numbers.mean(row.mean, table)} {numbers.delta(row.delta, table)}")
        for table, row in rows
    )
    return f"--label:{min(label, 22) + 1}ch;--number:{number + 1}ch"
