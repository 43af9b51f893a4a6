"""Cost: what a trial takes against what it reaches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ablate import stats
from ablate.report import captions, numbers
from ablate.report.formats.html import drawing, markup
from ablate.report.formats.html.drawing import Axis, Label, axis, between, placed
from ablate.report.formats.html.markup import Markup, join, name, percent, tag
from ablate.report.formats.html.views import Epochs, Panel, scaled, seed_value
from ablate.report.model import ReportTable

_LONG = 20  # characters of a label, above which points are numbered
_MANY = 9  # points, likewise


@dataclass(frozen=True)
class _Point:
    """One row. minutes: of a trial; mean, low, high: of the metric in the unit printed."""

    label: str
    mark: str
    step: bool
    minutes: float
    mean: float
    low: float | None = None
    high: float | None = None


def render(place: markup.Place, panels: Sequence[Panel], epochs: Epochs) -> Markup | None:
    """The section; None where no two rows have a comparable time."""
    found = [
        (_title(panel, table), table, points)
        for panel in panels
        for table in panel.tables
        if len(points := _points(table, epochs)) > 1
    ]
    if not found:
        return None
    first = found[0][1]
    minutes = max(point.minutes for _, _, points in found for point in points) >= 2
    blocks = [
        _panel(place, title, table, points, minutes=minutes) for title, table, points in found
    ]
    unit = "minutes" if minutes else "seconds"
    up = "Up" if first.metric.higher_is_better else "Down"
    sentences = [f"{up} and left: more for less time."]
    if any(point.low is not None for _, _, points in found for point in points):
        level = numbers.level(first)
        sentences.append(f"Bars are {level} intervals of the means, sd moderated over the rows.")
    if any(point.step for _, _, points in found for point in points):
        sentences.append("The line follows the order of the rows.")
    left_out = [
        row.label
        for _, table, _ in found
        for row in table.rows
        if row.mean is not None and row.seconds is None
    ]
    if left_out:
        said = ", ".join(dict.fromkeys(left_out))
        sentences.append(f"Not drawn, for want of a comparable time: {said}.")
    return markup.section(
        place,
        "Cost",
        f"{unit} per trial against {first.metric.label}",
        tag("div", blocks, class_="pair"),
        markup.caption(*sentences),
        markup.folded(
            "Numbers of these charts",
            [_table(title, table, points, minutes=minutes) for title, table, points in found],
        ),
    )


def _title(panel: Panel, table: ReportTable) -> str:
    return f"{panel.title}, {table.column}" if panel.transposed else captions.title(table)


def _points(table: ReportTable, epochs: Epochs) -> list[_Point]:
    half = _half_widths(table)
    found = []
    for i, row in enumerate(table.rows):
        mean = scaled(row.mean, table)
        if mean is None or row.seconds is None or row.mark == "=":
            continue
        done = next((cell.key for cell in row.seeds if cell.values), "")
        count = len(epochs(done)) or table.provenance.epochs
        if not count:
            continue
        step = table.kind == "cumulative" and row.role in ("baseline", "step")
        minutes = row.seconds * count / 60
        point = _Point(row.label, row.mark if i != table.baseline else "dot", step, minutes, mean)
        if table.one_seed and not row.mark:
            point = replace(point, mark="dot")
        if math.isfinite(half[i]):
            point = replace(point, low=mean - half[i], high=mean + half[i])
        found.append(point)
    return found


def _half_widths(table: ReportTable) -> list[float]:
    """Half the interval of each row's mean, [rows], NaN where it is not known.

    Of each row the spread of its own seeds, moderated by that of all rows as the variance of a
    difference is: no single row has seeds enough.
    """
    cells = [[seed_value(cell, table) for cell in row.seeds] for row in table.rows]
    values = np.array([[math.nan if v is None else v for v in line] for line in cells])
    n = np.isfinite(values).sum(axis=1)
    keys = [tuple(cell.key for cell in row.seeds) for row in table.rows]
    first = [keys.index(key) == i for i, key in enumerate(keys)]  # rows of the same trials once
    df = int(sum(max(k - 1, 0) for k, own in zip(n, first, strict=True) if own))
    if df < 1:
        return [math.nan] * len(table.rows)
    from scipy.special import stdtrit

    right = table.metric.right(values / table.metric.scale)
    errors = stats.error_rates(right, accuracy=table.metric.of_examples, examples=table.examples)
    fitted = stats.fit(values[first], None if errors is None else errors[first])
    noise = np.array([fitted.noise[sum(first[: keys.index(key) + 1]) - 1] for key in keys])
    known = [line[np.isfinite(line)] for line in values]  # of a row without a result none
    squares = np.array([float(line.var() * len(line)) if len(line) else 0.0 for line in known])
    law = sum(square / u for square, u in zip(squares[first], noise[first], strict=True)) / df
    found = []
    for square, u, k in zip(squares, noise, n, strict=True):
        own_df = max(int(k) - 1, 0)
        own = square / own_df if own_df else 0.0
        variance = stats.moderated(law * u, own, own_df, fitted.prior.weight)
        t = float(stdtrit(stats.moderated_df(df, own_df, fitted.prior), 1 - table.alpha / 2))
        found.append(t * math.sqrt(variance / k) if k and law else math.nan)
    return found


# ------------------------------------------------------------------------------------ drawing


def _panel(
    place: markup.Place, title: str, table: ReportTable, points: Sequence[_Point], *, minutes: bool
) -> Markup:
    numbered = len(points) > _MANY or max(len(point.label) for point in points) > _LONG
    texts = [str(i) for i in range(1, len(points) + 1)] if numbered else [p.label for p in points]
    height = max(230, 18 * len(points) + 20)
    times = [point.minutes * (1 if minutes else 60) for point in points]
    across = between(0.0, max(times) * 1.15, most=5)
    reach = [v for p in points for v in (p.mean, p.low, p.high) if v is not None]
    up = axis(reach, most=5, pad=0.07)
    ys = [height * (1 - up.at(point.mean)) for point in points]
    xs = [across.at(time) for time in times]
    ends = [
        [y] * 2
        if p.low is None or p.high is None
        else [height * (1 - up.at(end)) for end in (p.high, p.low)]
        for p, y in zip(points, ys, strict=True)
    ]
    asked = [
        Label(text, x, y, low, high)
        for text, x, y, (low, high) in zip(texts, xs, ys, ends, strict=True)
    ]
    labels = placed(asked, height)
    said = [
        f"{p.label}: {numbers.fixed(p.mean, table.decimals)} in {numbers.figures(t)}"
        for p, t in zip(points, times, strict=True)
    ]
    drawn = [
        _grid(across, up, height),
        _order(points, xs, ys),
        *(_bar(p, x, up, height) for p, x in zip(points, xs, strict=True)),
        *(
            markup.at(percent(x), y, drawing.shape(p.mark, markup.title(s)))
            for p, x, y, s in zip(points, xs, ys, said, strict=True)
        ),
        *(_text(label) for label in labels),
    ]
    what = f"{title}: time per trial against {table.metric.label}. {'; '.join(said)}"
    svg = tag("svg", drawn, width="100%", height=height, role="img", aria_label=what)
    wide = max(len(up.label(tick)) for tick in up.ticks) * 8 + 6
    heights = [
        tag("text", up.label(t), x="100%", y=f"{height * (1 - up.at(t)) + 4:.1f}", class_="end")
        for t in up.ticks
    ]
    left = tag("svg", heights, width=wide, height=height, class_="heights", aria_hidden="true")
    below = [
        tag("text", across.label(t), x=percent(across.at(t)), y=13, class_="mid" if t else None)
        for t in across.ticks
    ]
    unit = "minutes" if minutes else "seconds"
    return tag(
        "div",
        place.heading(title, class_="panel", deeper=1),
        tag("div", left, svg, class_="chart"),
        tag(
            "div",
            tag("svg", width=wide, height=1, aria_hidden="true"),
            tag("svg", below, width="100%", height=18, aria_hidden="true"),
            class_="chart",
        ),
        tag("p", f"{unit} per trial", class_="unit right"),
        _names(points, texts) if numbered else None,
        class_="block",
    )


def _grid(across: Axis, up: Axis, height: int) -> Markup:
    lines = [
        tag("line", x1="0", x2="100%", y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid")
        for y in (height * (1 - up.at(tick)) for tick in up.ticks)
    ]
    edge = tag("line", x1="0", x2="100%", y1=height - 0.5, y2=height - 0.5, class_="grid")
    return join(lines, edge)


def _order(points: Sequence[_Point], xs: Sequence[float], ys: Sequence[float]) -> Markup:
    """A dotted line from step to step."""
    steps = [i for i, point in enumerate(points) if point.step]
    lines = [
        tag(
            "line",
            x1=percent(xs[a]),
            x2=percent(xs[b]),
            y1=f"{ys[a]:.1f}",
            y2=f"{ys[b]:.1f}",
            class_="link",
        )
        for a, b in pairwise(steps)
    ]
    return join(lines)


def _bar(point: _Point, x: float, up: Axis, height: int) -> Markup:
    if point.low is None or point.high is None:
        return Markup()
    ends = [f"{height * (1 - up.at(end)):.1f}" for end in (point.low, point.high)]
    colour = drawing.colour(point.mark)
    place = percent(x)
    said = markup.title(f"{point.label}: interval of the mean")
    names = f"error {colour}"
    return tag("line", said, x1=place, x2=place, y1=ends[0], y2=ends[1], class_=names)


def _text(label: Label) -> Markup:
    side = "end" if label.left else "start"
    x = -10 if label.left else 10
    text = tag("text", label.text, x=x, y=4, class_=f"halo {side}")
    lead = None
    if abs(label.moved) > 5:  # which point it belongs to is not plain any more
        lead = tag("line", x1=0, x2=x * 0.8, y1=round(-label.moved, 1), y2=0, class_="lead")
    return markup.at(percent(label.x), round(label.y, 1), lead, text)


def _names(points: Sequence[_Point], texts: Sequence[str]) -> Markup:
    """What the numbers beside the points stand for."""
    names = [
        tag("span", tag("b", text), " ", name(point.label, soft=True))
        for text, point in zip(texts, points, strict=True)
    ]
    return tag("p", names, class_="legend")


def _table(title: str, table: ReportTable, points: Sequence[_Point], *, minutes: bool) -> Markup:
    unit, scale = ("min", 1) if minutes else ("s", 60)
    heading = f"{table.metric.heading} [{numbers.level(table)}]"
    means = [
        numbers.fixed(point.mean, table.decimals)
        + (
            ""
            if point.low is None or point.high is None
            else f" [{numbers.fixed(point.low, table.decimals)}, "
            f"{numbers.fixed(point.high, table.decimals)}]"
        )
        for point in points
    ]
    times = [numbers.figures(point.minutes * scale) for point in points]
    columns = [
        markup.Column("row", [name(point.label) for point in points]),
        markup.Column(f"{unit} per trial", times, right=True),
        markup.Column(heading, means, right=True),
    ]
    return markup.table(columns, label=f"{title}: time and {table.metric.label}", caption=title)
