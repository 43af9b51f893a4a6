"""Curves: every row over the one it is compared with, by epoch, and their difference below.

A row's curves are drawn once, in the unit of its data set's axis, and used by its own panel and by
that of every row compared with it. Every number that they draw is folded below them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablate.report import captions, numbers
from ablate.report.formats.html import drawing, markup
from ablate.report.formats.html.drawing import Axis, between, decimals_of, round_step
from ablate.report.formats.html.markup import Markup, escaped, join, name, percent, tag
from ablate.report.formats.html.views import Epochs, Line, Panel
from ablate.report.model import ReportTable

OPEN = 8  # panels; the others are folded
_UNITS = 1000  # of a curve's height: whole numbers are short and finer than a pixel
_CELLS = 16_000  # numbers in a page, above which epochs are left out


@dataclass(frozen=True)
class _Scene:
    """A table with its curves. top, strip: axes of values and of differences."""

    table: ReportTable
    title: str
    found: Trajectories
    top: Axis
    strip: Axis
    lines: tuple[Line, ...]
    prefix: str


def render(place: markup.Place, panels: Sequence[Panel], epochs: Epochs) -> Markup | None:
    """The section; None where no trial has two epochs of the metric."""
    tables = [(panel, table) for panel in panels for table in panel.tables]
    every = _thinning([table for _, table in tables], epochs)
    scenes = []
    for i, (panel, table) in enumerate(tables):
        found = trajectories(table, epochs, every)
        lines = _compared(panel, table, found)
        if len(found.epochs) > 1 and lines:
            prefix = f"{place.prefix}c{i}-"
            title = f"{panel.title}, {table.column}" if panel.transposed else panel.title
            strip = _strip_axis(lines, found)
            scenes.append(_Scene(table, title, found, _axis(found, table), strip, lines, prefix))
    if not scenes:
        return None
    left, groups = OPEN, []
    for scene in scenes:
        groups.append(_group(place, scene, max(left, 0)))
        left -= len(scene.lines)
    first = scenes[0].table
    return markup.section(
        place,
        "Curves",
        f"{first.metric.heading} by epoch",
        _legend(scenes),
        tag("div", groups, class_="curves"),
        markup.caption(*_sentences(scenes, every)),
        epoch_tables(
            [(scene.table, scene.title, scene.found, scene.lines) for scene in scenes],
        ),
    )


def _compared(panel: Panel, table: ReportTable, found: Trajectories) -> tuple[Line, ...]:
    """Rows with curves whose reference has curves too."""
    if panel.transposed:
        lines = [Line(row.label, table, i, row) for i, row in enumerate(table.rows) if row.delta]
    else:
        lines = [line for line in panel.lines if not line.is_total]
    return tuple(
        line
        for line in lines
        if line.comparison and line.row in found.rows and line.comparison.reference in found.rows
    )


def _thinning(tables: Sequence[ReportTable], epochs: Epochs) -> int:
    """Every how many-th epoch is drawn: 1 for all of them."""
    cells = 0
    for table in tables:
        done = [cell.key for row in table.rows for cell in row.seeds if cell.values]
        cells += len(done) * (len(epochs(done[0])) if done else 0)
    return max(1, math.ceil(cells / _CELLS))


# ------------------------------------------------------------------------------------ drawing


def _group(place: markup.Place, scene: _Scene, free: int) -> Markup:
    """The panels of a data set: the first `free` of them, and the others folded."""
    drawn = [_panel(place, scene, line) for line in scene.lines]
    shown, rest = drawn[:free], drawn[free:]
    more = f"{numbers.count(len(rest), 'more panel' if shown else 'panel')}"
    return tag(
        "div",
        place.heading(scene.title, class_="panel", deeper=1),
        tag("svg", tag("defs", _paths(scene)), width=0, height=0, class_="store"),
        tag("div", shown, class_="panels") if shown else None,
        markup.folded(more, tag("div", rest, class_="panels")) if rest else None,
    )


def _paths(scene: _Scene) -> list[Markup]:
    """Each row's curves once: all seeds in one path, and the mean."""
    used = {line.row for line in scene.lines}
    used |= {line.comparison.reference for line in scene.lines if line.comparison}
    found = []
    for row in sorted(used):
        lines = scene.found.rows[row]
        seeds = "".join(_path(values, scene.top) for values in lines.values())
        mean = _path(scene.found.means[row], scene.top)
        start = f"{scene.prefix}{row}"
        # rules of style do not reach what is used from here: attributes do
        found += [
            tag("path", id=f"{start}{what}", d=d, fill="none", vector_effect="non-scaling-stroke")
            for what, d in (("s", seeds), ("m", mean))
        ]
    return found


def _panel(place: markup.Place, scene: _Scene, line: Line) -> Markup:
    assert line.comparison
    reference = line.comparison.reference
    label = scene.table.rows[reference].label
    delta = numbers.delta(line.comparison, scene.table)
    colour = drawing.colour(line.asked.mark)
    over = tag(
        "svg",
        _use(scene, reference, "s", "seeds other", f"{label}, each seed"),
        _use(scene, reference, "m", "mean other", f"{label}, mean"),
        _use(scene, line.row, "s", f"seeds {colour}", f"{line.label}, each seed"),
        _use(scene, line.row, "m", f"mean {colour}", f"{line.label}, mean"),
        viewBox=f"0 0 {len(scene.found.epochs) - 1} {_UNITS}",
        preserveAspectRatio="none",
        width="100%",
        height=_MAIN,
        role="img",
        aria_label=f"{scene.table.metric.label} of {line.label} and of {label} by epoch",
    )
    apart = scene.found.differences(line.row, reference)
    seeds = "".join(_path(values, scene.strip) for values in apart.values())
    mean = _path(scene.found.difference(line.row, reference), scene.strip)
    strip = tag(
        "svg",
        _strip(seeds, "difference of each seed", f"seeds {colour}") if seeds else None,
        _strip(mean, "mean difference", f"mean {colour}"),
        viewBox=f"0 0 {len(scene.found.epochs) - 1} {_UNITS}",
        preserveAspectRatio="none",
        width="100%",
        height=_STRIP,
        role="img",
        aria_label=f"{line.label} minus {label} by epoch; {delta} at the last",
    )
    head = tag("p", tag("b", name(line.label, soft=True)), " ", tag("b", delta), class_="head")
    return tag(
        "div",
        head,
        tag("div", _heights(scene.top, _MAIN), tag("div", _grid(scene.top, _MAIN), over)),
        tag(
            "div",
            _heights(scene.strip, _STRIP, signed=True),
            tag("div", _grid(scene.strip, _STRIP), strip),
        ),
        _last(scene),
        class_="small",
    )


def _strip(path: str, said: str, class_: str) -> Markup:
    names = f"curve {class_}"
    return tag("path", markup.title(said), d=path, class_=names, fill="none", stroke="#59636f")


def _use(scene: _Scene, row: int, what: str, class_: str, said: str) -> Markup:
    return tag("use", markup.title(said), href=f"#{scene.prefix}{row}{what}", class_=class_)


def _heights(found: Axis, height: int, *, signed: bool = False) -> Markup:
    """The labels left of a panel."""
    labels = [
        tag("text", found.label(t, signed=signed), x="100%", y=_y(found, t, height), class_="end")
        for t in found.ticks
    ]
    return tag("svg", labels, width=30, height=height, class_="heights", aria_hidden="true")


def _y(found: Axis, tick: float, height: int) -> str:
    """The baseline of a label beside its line, all of it inside the panel."""
    return f"{min(max(height * (1 - found.at(tick)) + 4, 10), height - 1):.1f}"


def _grid(found: Axis, height: int) -> Markup:
    lines = [
        tag(
            "line",
            x1="0",
            x2="100%",
            y1=f"{height * (1 - found.at(tick)):.1f}",
            y2=f"{height * (1 - found.at(tick)):.1f}",
            class_="zero" if tick == 0 else "grid",
        )
        for tick in found.ticks
    ]
    return tag("svg", lines, width="100%", height=height, class_="behind", aria_hidden="true")


def _last(scene: _Scene) -> Markup:
    epochs = scene.found.epochs
    texts = [tag("text", f"{epochs[0]:,}", x="0", y=13)]
    if len(epochs) > 4:
        place = len(epochs) // 2 - (len(epochs) % 2 == 0)
        share = percent(place / (len(epochs) - 1))
        texts.append(tag("text", f"{epochs[place]:,}", x=share, y=13, class_="mid spare"))
    last = f"{epochs[-1]:,} epochs"
    texts.append(tag("text", last, x="100%", y=13, class_="end"))
    return tag("div", tag("span"), tag("svg", texts, width="100%", height=18, aria_hidden="true"))


def _path(values: Sequence[float], found: Axis) -> str:
    """One curve in whole units; gaps where a value is not finite."""
    text, drawing, last = [], False, 0
    for i, value in enumerate(values):
        if not math.isfinite(value):
            drawing = False
            continue
        y = round(_UNITS * (1 - min(max(found.at(value), -2.0), 3.0)))
        if drawing:
            text.append(f"l1{y - last}" if y < last else f"l1 {y - last}")
        else:
            text.append(f"M{i} {y}")
        drawing, last = True, y
    return "".join(text)


# --------------------------------------------------------------------------------------- axes


def _axis(found: Trajectories, table: ReportTable) -> Axis:
    """Where curves are after the first quarter: what comes before would flatten the rest."""
    first = len(found.epochs) // 4
    late = [v for row in found.rows.values() for line in row.values() for v in line[first:]]
    known = sorted(v for v in late if math.isfinite(v))
    if not known:
        return between(0.0, 1.0)
    # a loss may blow up: leave out what lies far from the others
    low, high = known[0], known[-1]
    if not table.metric.percent:
        high = min(high, known[len(known) * 95 // 100] * 1.25)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    room = (high - low) * 0.06
    return between(low - room, high + room, most=4)


def _strip_axis(lines: Sequence[Line], found: Trajectories) -> Axis:
    """Symmetric, wide enough for the later half of the mean differences of every panel."""
    half = len(found.epochs) // 2
    apart = [
        abs(value)
        for line in lines
        if line.comparison
        for value in found.difference(line.row, line.comparison.reference)[half:]
        if math.isfinite(value)
    ]
    reach = max(apart, default=0.0) or 1.0
    tick = round_step(reach * 1.1)
    return Axis(-1.3 * tick, 1.3 * tick, (-tick, 0.0, tick), decimals_of(tick))


# --------------------------------------------------------------------------------------- words


def _legend(scenes: Sequence[_Scene]) -> Markup:
    def key(class_: str) -> Markup:
        line = tag("line", x1=0, x2=22, y1=6, y2=6, class_=class_)
        return tag("svg", line, class_="swatch", width=22, height=12, aria_hidden="true")

    said = captions.reference_row(scenes[0].table)
    facts = f"bold: mean · faint: each seed · below: difference from {said}"
    if scenes[0].table.one_seed:
        facts = f"below: difference from {said}"
    unit = scenes[0].table.metric.points
    points = f", in{unit}" if unit else ""
    return tag(
        "p",
        tag("span", key("mean plain"), "this row"),
        tag("span", key("mean other"), said),
        tag("span", facts + points),
        class_="legend",
    )


def _sentences(scenes: Sequence[_Scene], every: int) -> list[str]:
    cuts: Mapping[str, str] = {
        scene.title: numbers.plain(round(scene.strip.high, 6)) for scene in scenes
    }
    widths = ", ".join(f"±{cut}" for cut in dict.fromkeys(cuts.values()))
    points = scenes[0].table.metric.points
    found = [f"The lower strips are cut at {widths}{points}; early epochs may lie off the panels."]
    if any(line.asked.mark in ("gain", "loss") for scene in scenes for line in scene.lines):
        found.append("Colour is the row's verdict.")
    if every > 1:
        found.append(f"Every {_ordinal(every)} epoch is drawn, and the last.")
    return found


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")


@dataclass(frozen=True)
class Trajectories:
    """Curves of one table in the unit printed; NaN where there is no number.

    epochs: numbers of those that are kept, from 1, the last one among them. rows: by row and seed,
    [epochs]; rows without a finished trial are not in it. means: by row, over the seeds there are.
    """

    epochs: tuple[int, ...]
    rows: Mapping[int, Mapping[int, tuple[float, ...]]]
    means: Mapping[int, tuple[float, ...]]

    def differences(self, row: int, other: int) -> dict[int, tuple[float, ...]]:
        """Row minus other of every seed that both have."""
        mine, theirs = self.rows[row], self.rows[other]
        return {
            seed: tuple(a - b for a, b in zip(mine[seed], theirs[seed], strict=True))
            for seed in mine
            if seed in theirs
        }

    def difference(self, row: int, other: int) -> tuple[float, ...]:
        """The mean of `differences`."""
        return _mean(list(self.differences(row, other).values()), len(self.epochs))


def trajectories(table: ReportTable, epochs: Epochs, every: int = 1) -> Trajectories:
    """Curves of the trials that are done; every `every`-th epoch, the first and the last."""
    name, scale = table.metric.name, table.metric.scale
    read: dict[int, dict[int, list[float]]] = {}
    length = 0
    for i, row in enumerate(table.rows):
        for cell in row.seeds:
            if cell.values:
                values = _by_epoch(name, scale, epochs(cell.key))
                if any(map(math.isfinite, values)):
                    read.setdefault(i, {})[cell.seed] = values
                    length = max(length, len(values))
    kept = sorted({0, *range(length - 1, -1, -every)}) if length else []
    rows = {
        i: {
            seed: tuple(v[k] if k < len(v) and math.isfinite(v[k]) else math.nan for k in kept)
            for seed, v in lines.items()
        }
        for i, lines in read.items()
    }
    means = {i: _mean(list(lines.values()), len(kept)) for i, lines in rows.items()}
    return Trajectories(tuple(k + 1 for k in kept), rows, means)


def _by_epoch(name: str, scale: float, epochs: Sequence[Mapping[str, float]]) -> list[float]:
    """The metric of every epoch from the first on; NaN for one that was not read."""
    found = {int(e.get("epoch") or i): e.get(name, math.nan) for i, e in enumerate(epochs, 1)}
    return [float(found.get(i, math.nan)) * scale for i in range(1, max(found, default=0) + 1)]


def _mean(lines: Sequence[Sequence[float]], length: int) -> tuple[float, ...]:
    """By epoch, over the numbers there are."""
    found = []
    for i in range(length):
        known = [line[i] for line in lines if math.isfinite(line[i])]
        found.append(sum(known) / len(known) if known else math.nan)
    return tuple(found)


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
    return markup.folded("Numbers, epoch by epoch", tables)


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


_MAIN, _STRIP = 110, 52  # px
