"""Numbers: the whole table, every seed, and the blocks, which come from several rows or tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ablate.report import captions, numbers
from ablate.report.formats import columns as cells
from ablate.report.formats import costs, transposed
from ablate.report.formats import published_columns as published_columns
from ablate.report.formats.blocks import has_words, judged_column
from ablate.report.formats.html import drawing, markup
from ablate.report.formats.html.drawing import colour, icon
from ablate.report.formats.html.markup import Markup, join, name, tag
from ablate.report.formats.html.views import (
    Line,
    Panel,
    interval_text,
    seed_differences,
    seed_value,
    signed,
)
from ablate.report.model import Block, BlockCell, BlockLine, Comparison, ReportRow, ReportTable

Column = markup.Column


def render(place: markup.Place, panels: Sequence[Panel]) -> Markup:
    """The section."""
    found = []
    for panel in panels:
        if panel.transposed:
            found.append(_side_by_side(panel))
            own = [part for table in panel.tables for part in _whole(table)]
            found.append(markup.folded("Each line's own table", own))
        else:
            found += _whole(panel.first)
        found += [block(place, one, table) for table in panel.tables for one in table.blocks]
    inner = numbers.inner_level(panels[0].first)
    judged = any(line.inner for panel in panels for line in panel.lines)
    every = [part for panel in panels for part in _seeds(panel)]
    return markup.section(
        place,
        "Numbers",
        "",
        found,
        markup.folded(f"Every seed, and the {inner} intervals" if judged else "Every seed", every),
    )


def _whole(table: ReportTable) -> list[Markup]:
    below = [
        captions.measured(table),
        f"{captions.dagger(table)}." if captions.dagger(table) else "",
    ]
    below.append(captions.looks(table))
    below.append(captions.wins(table))
    if any(row.ratio for row in table.rows):
        below.append(f"× is against {captions.reference_row(table)}.")
    if any(column.head in costs.MODEL for column in _columns(table)):
        below.append(f"{costs.MODEL_FACT}.")
    said = captions.title(table)
    grid = markup.table(
        _columns(table),
        label=f"{said}: all numbers",
        caption=said,
        footer=1 if table.total else 0,
    )
    paper = [*table.paper.footnotes, table.paper.differs] if table.paper else []
    return [grid, markup.caption(*below), *(markup.caption(line) for line in paper)]


# ------------------------------------------------------------------------------------- columns


def _columns(table: ReportTable) -> list[Column]:
    """Every column, the total's cells last."""
    if table.paper:
        return _with_paper(table)
    level = f"[{numbers.level(table)}]"
    reference = captions.reference(table)
    found = [_labels(table), _means(table)]
    if table.compares and table.one_seed:
        found.append(Column(f"Δ {reference}", _deltas(table, [r.delta for r in table.rows]), True))
        head = f"re-run noise ({numbers.level(table)} band)"
        found.append(Column(head, _bands(table)))
    elif table.compares:
        deltas = _deltas(table, [row.delta for row in table.rows])
        found.append(Column(f"Δ {reference} {level}", [*deltas, *_blank(table)], True))
    if not table.one_seed and table.has_verdicts:
        found.append(Column("verdict", [drawing.verdict(row) for row in table.judged]))
    if captions.knows_wins(table):
        wins = [numbers.wins(row.delta.wins if row.delta else None) for row in table.judged]
        found.append(Column(f"wins a new seed {level}", wins, True))
    if table.has_base:
        head = "Δ baseline" if table.one_seed else f"Δ baseline {level}"
        total = [table.total.delta] if table.total else []
        bases = [*(row.base for row in table.rows), *total]
        found.append(Column(head, _deltas(table, bases), True))
    return [*found, *_rest(table)]


def _with_paper(table: ReportTable) -> list[Column]:
    """Published figures beside the measured ones; the total has none."""
    level = f"[{numbers.level(table)}]"
    reference = captions.reference(table)
    rows = table.rows
    found = [Column("row", [name(row.label) for row in rows]), _means(table, total=False)]
    deltas = _deltas(table, [row.delta for row in rows])
    if table.one_seed:
        head = f"re-run noise ({numbers.level(table)} band)"
        found += [Column(f"Δ {reference}", deltas, True), Column(head, _bands(table))]
    else:
        found.append(Column(f"Δ {reference} {level}", deltas, True))
        found.append(Column("verdict", [drawing.verdict(row) for row in rows]))
    figures = published_columns.figure_texts(table)
    if figures:
        found.append(Column(f"paper {table.metric.heading}", figures, True))
    theirs = published_columns.paper_delta_texts(table, marked=not figures)
    found.append(Column(" ".join(published_columns.delta_head(table)), theirs, True))
    if table.paper and table.paper.match == "tricks":
        found.append(Column("from", published_columns.place_texts(table)))
    if not table.one_seed:
        inside = published_columns.inside_texts(table)
        found.append(Column("paper's Δ in our interval", inside))
    if table.has_base:
        head = "Δ baseline" if table.one_seed else f"Δ baseline {level}"
        found.append(Column(head, _deltas(table, [row.base for row in rows]), True))
    for _, head_lines, texts in published_columns.costs(table):
        found.append(Column(", ".join(head_lines), texts, True))
    found += _rest(table, total=False)
    if table.total is None:
        return found
    last = {
        "row": name(table.total.label),
        "verdict": drawing.verdict(table.total),
        f"Δ baseline {level}": _deltas(table, [table.total.delta])[0],
    }
    return [replace(each, cells=[*each.cells, last.get(each.head, "")]) for each in found]


def _rest(table: ReportTable, *, total: bool = True) -> list[Column]:
    """The secondary metric and what a row costs; columns that nothing fills are left out."""
    blank = _blank(table) if total else []
    clock = numbers.Clock.of(row.seconds for row in table.rows)
    found = []
    if table.secondary:
        texts = [numbers.secondary(row.secondary, table) for row in table.rows]
        found.append(Column(table.secondary.heading, [*texts, *blank], True))
    asked = table.judged if total else table.rows
    times = [
        join(
            cells.time_text(row, clock) if isinstance(row, ReportRow) else None,
            tag("span", " ", numbers.ratio(row.ratio), class_="about") if row.ratio else None,
        )
        for row in asked
    ]
    level = f" {captions.RATIO_LEVEL}" if captions.ratio_intervals(table) else ""
    found.append(Column(f"time/epoch{level}", times, True))
    model = costs.cells(table, "all")
    found += [Column(head, [*each, *blank], True) for head, each in model]
    return [column for column in found if any(cell not in ("", "–") for cell in column.cells)]


def _labels(table: ReportTable) -> Column:
    total = [table.total.label] if table.total else []
    return Column("row", [*(name(row.label) for row in table.rows), *total])


def _means(table: ReportTable, *, total: bool = True) -> Column:
    texts: list[str] = []
    for row in table.rows:
        mean, space, rest = cells.mean_text(row, table, with_sd=True).partition(" ")
        texts.append(join(mean, space, tag("span", rest, class_="about") if rest else None))
    heading = table.metric.heading + ("" if table.one_seed else " ± sd")
    return Column(heading, [*texts, *(_blank(table) if total else [])], True)


def _deltas(table: ReportTable, comparisons: Sequence[Comparison | None]) -> list[str]:
    """Right-aligned, so without the spaces that put numbers below each other in a terminal."""
    return [numbers.delta_texts(table, [comparison])[0] for comparison in comparisons]


def _bands(table: ReportTable) -> list[str]:
    return [cells.band_text(row, table) for row in table.rows]


def _blank(table: ReportTable) -> list[str]:
    return [""] if table.total else []


# ---------------------------------------------------------------------------------- transposed


def _side_by_side(panel: Panel) -> Markup:
    """A line per column of `over`, rows side by side."""
    group, first = panel.tables, panel.first
    found = [Column("", [table.column or "–" for table in group])]
    for i, label in enumerate(transposed.headings(group)):
        means = [transposed.mean_of(table, i) for table in group]
        found.append(Column(f"{label}, {first.metric.heading}", means, True))
    if transposed.judged(group):
        level = "" if first.one_seed else f" [{numbers.level(first)}]"
        deltas = [_deltas(table, [transposed.delta_of(table)])[0] for table in group]
        found.append(Column(f"{transposed.question(group)}{level}", deltas, True))
        head = f"re-run noise ({numbers.level(first)} band)" if first.one_seed else "verdict"
        found.append(Column(head, [_answer(table) for table in group]))
    grid = markup.table(found, label=f"{panel.title}: all numbers", caption=panel.title)
    return join(grid, markup.caption(transposed.caption(group)))


def _answer(table: ReportTable) -> str:
    found = transposed.answer(table)
    if found is None:
        return ""
    if table.one_seed and isinstance(found, ReportRow):
        return cells.band_text(found, table)
    return drawing.verdict(found)


# ---------------------------------------------------------------------------------- every seed


def _seeds(panel: Panel) -> list[Markup]:
    found = []
    for table in panel.tables:
        title = captions.title(table)
        lines = {line.row: line for line in panel.lines if not line.is_total}
        if panel.transposed:
            rows = enumerate(table.rows)
            lines = {i: Line(row.label, table, i, row) for i, row in rows if row.delta}
        total = next((line for line in panel.lines if line.is_total and line.table is table), None)
        found.append(_values(table, title))
        if lines or total:
            shown = [*lines.values(), *([total] if total else [])]
            found.append(_differences(table, title, shown))
    return found


def _values(table: ReportTable, title: str) -> Markup:
    columns = [Column("row", [name(row.label) for row in table.rows])]
    for s, seed in enumerate(table.seeds):
        texts = []
        for row in table.rows:
            cell = row.seeds[s]
            value = seed_value(cell, table)
            status = cell.status if cell.status != "done" else "not finite"
            texts.append(status if value is None else numbers.fixed(value, table.decimals))
        columns.append(Column(f"seed {seed}", texts, True))
    what = f"{title}: {table.metric.heading} of each seed"
    return markup.table(columns, label=what, caption=what)


def _differences(table: ReportTable, title: str, lines: Sequence[Line]) -> Markup:
    """What the forest draws: the seeds' differences and the inner interval."""
    apart = [
        seed_differences(table, line.row, line.comparison.reference) if line.comparison else {}
        for line in lines
    ]
    columns = [Column("row", [name(line.label) for line in lines])]
    for seed in table.seeds:
        texts = [signed(found[seed], table) if seed in found else "–" for found in apart]
        columns.append(Column(f"Δ seed {seed}", texts, True))
    if any(line.inner for line in lines):
        inner = [interval_text(line.inner, table) for line in lines]
        columns.append(Column(f"{numbers.inner_level(table)} interval of Δ", inner, True))
    total = any(line.is_total for line in lines)
    against = captions.reference_row(table) + (", of the total the baseline" if total else "")
    what = f"{title}: Δ of each seed, against {against}"
    return markup.table(columns, label=what, caption=what)


def block(place: markup.Place, found: Block, table: ReportTable) -> Markup:
    """The table of a block with its heading and caption."""
    columns = [markup.Column("", [line.label for line in found.lines])]
    for i, head in enumerate(found.heads):
        texts = [_cell(line.cells[i], found.differs(i), table) for line in found.lines]
        columns.append(markup.Column(head, texts, right=True))
        if found.judged == i:
            columns.append(markup.Column("verdict", [_verdict(line) for line in found.lines]))
        if i == judged_column(found) and has_words(found):
            columns.append(markup.Column("", [line.word for line in found.lines]))
    title = f"{captions.title(table)}: {found.title}"
    return join(
        place.heading(title, class_="panel", deeper=1),
        markup.table(columns, label=title),
        markup.caption(*_captions(found)),
    )


def _cell(cell: BlockCell | None, differs: bool, table: ReportTable) -> str:
    """ "+0.4 [−0.2, +1.0]", or "89.8 [89.1, 90.5]" where it is no difference."""
    if cell is None or cell.value is None:
        return ""
    write = numbers.signed if differs else numbers.fixed
    scale, decimals = table.metric.scale, table.decimals
    text = write(cell.value * scale, decimals)
    if cell.low is None or cell.high is None:
        return text
    return f"{text} [{write(cell.low * scale, decimals)}, {write(cell.high * scale, decimals)}]"


def _verdict(line: BlockLine) -> Markup:
    return tag(
        "span",
        (icon(line.mark), " ") if line.mark else None,
        line.verdict,
        " †" if line.dagger else None,
        class_=f"verdict {colour(line.mark)}",
    )


def _captions(found: Block) -> Sequence[str]:
    said = list(found.caption)
    if any(line.dagger for line in found.lines):
        over = numbers.count(found.comparisons, "comparison")
        said.append(f"† the interval leaves out 0, the test corrected for {over} does not.")
    return said
