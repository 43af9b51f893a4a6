"""Effects: a forest of intervals on one axis for all data sets."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.report import captions, numbers
from ablate.report.formats.columns import band_text
from ablate.report.formats.html import drawing, markup
from ablate.report.formats.html.drawing import Axis, axis
from ablate.report.formats.html.markup import Markup, join, name, percent, spaced, tag
from ablate.report.formats.html.views import Line, Panel, interval_text, listed, signed, unit
from ablate.report.model import ReportRow, ReportTable

_HEIGHT = 34  # px of a row: the interval at 13, the seeds below it
_MIDDLE = 13
_SEEDS = 25


def render(place: markup.Place, panels: Sequence[Panel]) -> Markup | None:
    """The section; None where nothing has a Δ."""
    shown = [panel for panel in panels if any(line.delta is not None for line in panel.lines)]
    if not shown:
        return None
    found = _axis(shown)
    first = shown[0].first
    about = f"of each step against {captions.reference_row(first)}"
    if shown[0].transposed:
        about = f"of {shown[0].lines[0].asked.label}"
    elif first.reference != "above":
        about = f"of each row against {captions.reference_row(first)}"
    forest = [_panel(place, panel, found) for panel in shown]
    return markup.section(
        place,
        "Effects",
        about,
        _legend(shown),
        tag("div", forest, class_="forest", style=_widths(shown)),
        markup.caption(*_sentences(shown)),
    )


def _panel(place: markup.Place, panel: Panel, found: Axis) -> Markup:
    bottom = tag(
        "div",
        tag("span"),
        _scale(found),
        tag("span", unit(panel.first), class_="unit"),
        tag("span"),
        class_="row scale",
    )
    return join(
        place.heading(panel.title, class_="panel", deeper=1),
        tag("div", [_row(line, found) for line in panel.lines], bottom, class_="rows"),
    )


def _row(line: Line, found: Axis) -> Markup:
    delta = "" if line.delta is None else signed(line.delta, line.table)
    number = join(tag("b", delta), " ", tag("span", _how(line), class_="about"))
    return tag(
        "div",
        tag("span", name(line.label, soft=True), class_="label"),
        markup.plot(_HEIGHT, _label(line), _drawing(line, found)),
        tag("span", number, class_="number"),
        _verdict(line),
        class_="row total" if line.is_total else "row",
    )


def _how(line: Line) -> str:
    if line.interval:
        return interval_text(line.interval, line.table)
    short = line.comparison and line.comparison.shared < len(line.table.seeds)
    if line.comparison and line.delta is not None and short:
        return f"on {numbers.count(line.comparison.shared, 'seed')}"
    return ""


def _verdict(line: Line) -> Markup:
    if line.table.one_seed and isinstance(line.asked, ReportRow) and not line.asked.mark:
        return tag("span", band_text(line.asked, line.table), class_="verdict plain")
    return drawing.verdict(line.asked)


def _label(line: Line) -> str:
    """The row in words, for those who do not see it."""
    if line.delta is None:
        return f"{line.label}: {line.asked.verdict or 'no difference known'}"
    said = f"{line.label}: {signed(line.delta, line.table)} {_how(line)}".strip()
    if line.table.one_seed and isinstance(line.asked, ReportRow):
        return f"{said}, {band_text(line.asked, line.table)}".removesuffix(", ")
    return f"{said}, {line.asked.verdict}"


def _drawing(line: Line, found: Axis) -> Markup:
    table, label = line.table, line.label
    marks = [_grid(found, line.band if line.band is not None else table.margin, line)]
    ends = (
        ("thin", line.interval, numbers.level(table)),
        ("thick", line.inner, numbers.inner_level(table)),
    )
    colour = drawing.colour(line.asked.mark)
    for width, interval, level in ends:
        if interval:
            said = markup.title(f"{label}: {level} interval {interval_text(interval, table)}")
            x1, x2 = (percent(found.at(end)) for end in interval)
            names = f"{width} {colour}"
            marks.append(tag("line", said, x1=x1, x2=x2, y1=_MIDDLE, y2=_MIDDLE, class_=names))
    for seed, value in line.seeds.items():
        if not table.one_seed:
            said = markup.title(f"{label}, seed {seed}: {signed(value, table)}")
            x = percent(found.at(value))
            marks.append(tag("circle", said, cx=x, cy=_SEEDS, r=1.6, class_="seed"))
    if line.delta is not None:
        said = markup.title(f"{label}: {signed(line.delta, table)}")
        mark = line.asked.mark
        drawn = drawing.shape(mark or ("dot" if table.one_seed else ""), said)
        marks.append(markup.at(percent(found.at(line.delta)), _MIDDLE, drawn))
    return join(marks)


def _grid(found: Axis, half: float, line: Line) -> Markup:
    """Margin band (or one seed's re-run band), ticks and zero, the whole row high."""
    low, high = (min(max(found.at(end), 0.0), 1.0) for end in (-half, half))
    what = "re-run band" if line.band is not None else "equivalence margin"
    said = markup.title(f"{what} ±{_half(half, line)}")
    band = tag(
        "rect", said, x=percent(low), y=0, width=percent(high - low), height="100%", class_="margin"
    )
    lines = [markup.vertical(percent(found.at(t)), "grid") for t in found.ticks if abs(t) > 1e-12]
    return join(band, lines, markup.vertical(percent(found.at(0.0)), "zero"))


def _half(half: float, line: Line) -> str:
    if line.band is not None:
        return numbers.fixed(half, line.table.decimals)
    return numbers.plain(half)


def _scale(found: Axis) -> Markup:
    labels = [
        tag("text", found.label(t, signed=True), x=percent(found.at(t)), y=13, class_="mid")
        for t in found.ticks
    ]
    svg = tag("svg", labels, width="100%", height=18, aria_hidden="true")
    return tag("div", svg, class_="plot", style="min-height:18px")


def _axis(panels: Sequence[Panel]) -> Axis:
    """One range for all panels, with room for every mark."""
    values = [0.0]
    for panel in panels:
        if not panel.first.one_seed:
            values += [panel.first.margin, -panel.first.margin]
        for line in panel.lines:
            values += [*(line.interval or ()), *line.seeds.values()]
            values += [v for v in (line.delta,) if v is not None]
            if line.band is not None:
                values += [line.band, -line.band]
    return axis(values, most=7, pad=0.06)


def _legend(panels: Sequence[Panel]) -> Markup:
    first = panels[0].first
    if first.one_seed:
        keys = [(drawing.icon("dot"), "one seed"), (_swatch("margin"), "re-run band (95%)")]
        return _keys(keys)
    present = {line.asked.mark for panel in panels for line in panel.lines}
    marks = [("gain", "gain"), ("loss", "loss"), ("equivalent", "equivalent")]
    marks += [("unresolved", "unresolved")]
    keys = [(drawing.icon(mark), word) for mark, word in marks]
    if present & {"incomplete", "diverged", "no effect"}:
        keys.append((_icon_of("incomplete"), "not judged"))
    if any(line.interval for panel in panels for line in panel.lines):
        levels = f"{numbers.level(first)} interval (thick: {numbers.inner_level(first)})"
        keys.append((_swatch("interval"), levels))
    margin = f"equivalence margin ±{numbers.plain(first.margin)}"
    keys.append((_swatch("seeds"), "one seed"))
    if first.margin:
        keys.append((_swatch("margin"), margin))
    return _keys(keys)


def _keys(keys: Sequence[tuple[Markup, str]]) -> Markup:
    return tag("p", spaced([tag("span", sign, word) for sign, word in keys]), class_="legend")


def _icon_of(mark: str) -> Markup:
    return tag(
        "svg",
        drawing.shape(mark),
        class_="icon",
        width=13,
        height=13,
        viewBox="-6.5 -6.5 13 13",
        aria_hidden="true",
    )


def _swatch(what: str) -> Markup:
    inside = {
        "margin": join(tag("rect", width=18, height=12, class_="margin")),
        "interval": join(
            tag("line", x1=0, x2=28, y1=6, y2=6, class_="thin plain"),
            tag("line", x1=5, x2=23, y1=6, y2=6, class_="thick plain"),
        ),
        "seeds": join(tag("circle", cx=x, cy=6, r=1.6, class_="seed") for x in (3, 9, 15)),
    }[what]
    width = 28 if what == "interval" else 18
    return tag("svg", inside, class_="swatch", width=width, height=12, aria_hidden="true")


def _sentences(panels: Sequence[Panel]) -> list[str]:
    tables = [table for panel in panels for table in panel.tables]
    first = tables[0]
    if first.one_seed:
        return [f"Shaded: how far two trainings of one recipe may differ ({numbers.level(first)})."]
    seeds = numbers.count(len(first.seeds), "seed")
    around = ", fitted where one diverged" if any(t.fits_around for t in tables) else ""
    found = [f"Mean difference over the same {seeds}{around}"]
    fitted = [table for table in tables if table.df is not None]
    if fitted:
        df = listed(dict.fromkeys(numbers.degrees(table) for table in fitted))
        found[0] += f"; moderated {numbers.level(first)} intervals ({df} df), not corrected."
        counts = dict.fromkeys(f"{table.comparisons:,}" for table in fitted if table.comparisons)
        over = f"{listed(counts)} comparison{'' if list(counts) == ['1'] else 's'}"
        each = " of each line" if panels[0].transposed else ""
        each = each or (" of each data set" if len(panels) > 1 else "")
        if counts:  # else what is judged are no rows, and stands in a block
            found.append(f"Verdicts are Holm-corrected over the {over}{each}.")
    else:
        found[0] += "."
    if note := next((n for table in tables if (n := _dagger(table))), None):
        found.append(note)
    return found


def _dagger(table: ReportTable) -> str | None:
    if any(row.dagger for row in table.judged):
        return "† The interval leaves out 0, the corrected test does not."
    return None


def _widths(panels: Sequence[Panel]) -> str:
    """Widths of the columns of text, in characters, so that all panels have the same."""
    lines = [line for panel in panels for line in panel.lines]
    label = max(len(line.label) for line in lines)
    number = max(
        len((signed(line.delta, line.table) if line.delta is not None else "") + " " + _how(line))
        for line in lines
    )
    return f"--label:{min(label, 30) + 1}ch;--number:{number + 1}ch"
