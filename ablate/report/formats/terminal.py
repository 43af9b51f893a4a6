"""Tables in a terminal: as wide as it is, nothing ever cut."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace

from rich.cells import cell_len

from ablate.report import captions
from ablate.report.formats import blocks as below
from ablate.report.formats import columns as parts
from ablate.report.formats import costs, transposed
from ablate.report.formats import published_columns as published_columns
from ablate.report.formats.escape import visible
from ablate.report.formats.grid import Column, Ink, lines, pad, total_width
from ablate.report.model import Block, ReportTable
from ablate.report.published.text import OTHER_QUESTION

_NARROW = 60  # below: one block per row
_DRAWN = 121  # from here on: the drawn interval too


def render_terminal(
    tables: Sequence[ReportTable],
    *,
    width: int,
    color: bool,
    ascii: bool,
    columns: costs.Shown = "auto",
    failures: bool = True,
) -> str:
    """Every table with its caption, each line at most `width` cells unless a name is longer.

    The tables of several studies stand below the name of each, and what must not be compared
    between them at the end.

    columns: "auto" drops whole columns where the terminal is too narrow, and says which; "all"
    never does, and has every column of cost; "cost" has these and the metric only. failures: a line
    for each failed trial. The text ends in a newline.
    """
    ink = Ink(color=color, ascii=ascii)
    studies = captions.by_study(tables)
    found = []
    for study in studies:
        body = _study(study, width, ink, columns, failures=failures)
        if len(studies) > 1:
            name = ink.paint(ink.text(visible(captions.study_title(study))), "bold")
            body = f"{name}\n\n{body}"
        found.append(body)
    if notes := captions.notes(tables):
        found.append("\n".join(_caption([f"! {visible(note)}" for note in notes], width, ink)))
    return "\n\n".join(found) + "\n"


def _study(
    tables: Sequence[ReportTable], width: int, ink: Ink, columns: costs.Shown, *, failures: bool
) -> str:
    blocks, ablation = [], ""
    for group in transposed.groups(tables):
        block = []
        if group[0].ablation != ablation:
            ablation = group[0].ablation
            block.append(ink.paint(ink.text(visible(ablation)), "bold"))
        apart = columns == "cost" or not group[0].transpose
        side_by_side = None if apart else transposed.columns(group)
        if side_by_side and (
            columns == "all" or total_width(side_by_side, ink, roomy=False) <= width
        ):
            block += lines(side_by_side, ink, roomy=False)
            block += _caption([transposed.caption(group), *_footnotes(group, failures)], width, ink)
            for table in group:
                block += _below(table, width, ink, columns)
            blocks.append("\n".join(block))
            continue
        for table in group:
            block += _table(table, width, ink, columns, failures=failures)
            block += _below(table, width, ink, columns)
            blocks.append("\n".join(block))
            block = []
    return "\n\n".join(blocks)


def _table(
    table: ReportTable, width: int, ink: Ink, shown: costs.Shown, *, failures: bool
) -> list[str]:
    if table.paper and shown == "cost" and not published_columns.costs(table):
        table = replace(table, paper=None)  # accuracies alone say nothing of the cost
    if table.paper:
        return _with_paper(table, width, ink, shown, failures=failures)
    found = _layout(table, width, ink, shown)
    if found is None:
        chosen = (
            parts.cost_columns(table) if shown == "cost" else parts.columns(table, (), draw=False)
        )
        body = _blocks(table, chosen, ink)
        dropped: list[str] = []
    else:
        chosen, dropped, roomy = found
        body = lines(chosen, ink, roomy=roomy, footer=1 if table.total else 0)
    if dropped:
        other = table.secondary.label if table.secondary else ""
        left_out = ", ".join(other if name == "top-5" else name for name in dropped)
        said = f"not shown at this width: {left_out} (--columns all)"
        body.append(ink.paint(ink.text(said), "dim"))
    if shown == "cost":
        caption = captions.cost_caption(table, costs.facts(table))
        return body + _caption([*_notes([table], failures), caption], width, ink)
    notes = _footnotes([table], failures)
    if any(column.name in costs.MODEL for column in chosen):
        notes.append(costs.MODEL_FACT)
    return body + _caption([*notes, captions.short_caption(table)], width, ink)


def _with_paper(
    table: ReportTable, width: int, ink: Ink, shown: costs.Shown, *, failures: bool
) -> list[str]:
    """A table with published figures, whose caption says what differs."""
    assert table.paper
    found = published_columns.fitting(table, width, ink, shown)
    if found is None:
        cost = shown == "cost"
        chosen = published_columns.cost_columns(table) if cost else published_columns.columns(table)
        body = _blocks(table, chosen, ink)
    else:
        chosen, dropped = found
        body = lines(chosen, ink, roomy=False)
        if dropped:
            left_out = f"not shown at this width: {', '.join(dropped)} (--columns all)"
            body.append(ink.paint(ink.text(left_out), "dim"))
    notes = _footnotes([replace(table, total=None)], failures)  # the total is not shown
    if table.one_seed:
        notes.append(captions.one_seed(table))
    footnotes = table.paper.footnotes
    if shown == "cost":  # which has no Δ to mark
        footnotes = tuple(text for text in footnotes if not text.startswith(OTHER_QUESTION))
    said = (visible(text) for text in (*footnotes, table.paper.differs))
    notes += [text.replace(" × ", "\u00a0×\u00a0") for text in said]  # no line ends in "8 ×"
    return body + _caption(notes, width + 1, ink)


def _below(table: ReportTable, width: int, ink: Ink, shown: costs.Shown) -> list[str]:
    """The table's blocks, each after an empty line; a table of cost has none."""
    found = []
    for block in table.blocks if shown != "cost" else ():
        found.append("")
        found += [
            ink.paint(line, "bold")
            for line in _wrapped(visible(below.title(block, table)), width, ink)
        ]
        whole = None if shown == "all" else width
        narrow = shown != "all" and width < _NARROW
        fitting = None if narrow else below.fitting(block, table, whole, ink)
        if fitting is None:
            found += _block_lines(block, table, ink)
        else:
            for i, columns in enumerate(fitting):
                found += [*([""] if i else []), *lines(columns, ink, roomy=False)]
        said = [note] if (note := below.dagger(block)) else []
        found += _caption([*said, *map(visible, block.caption)], width, ink)
    return found


def _block_lines(block: Block, table: ReportTable, ink: Ink) -> list[str]:
    """A block for narrow terminals: the label of each line, then a line per fact."""
    facts = [(ink.text(name), column) for name, column in below.facts(block, table)]
    name_width = max((cell_len(name) for name, _ in facts), default=0)
    found = []
    for i, line in enumerate(block.lines):
        found += ["", ink.text(visible(line.label))]
        for name, column in facts:
            if text := ink.text(column.cells[i].text.strip()):
                found.append(f"  {pad(name, name_width)}  {ink.paint(text, column.cells[i].style)}")
    return [*found, ""]


def _layout(
    table: ReportTable, width: int, ink: Ink, shown: costs.Shown
) -> tuple[list[Column], list[str], bool] | None:
    """(columns, names of those left out, roomy) that fit; None: one block per row."""
    if shown == "all":
        return parts.columns(table, (), draw=width >= _DRAWN, shown="all"), [], True
    if width < _NARROW:
        return None
    if shown == "cost":
        cost = parts.cost_columns(table)
        return (cost, [], False) if total_width(cost, ink, roomy=False) <= width else None
    names = parts.droppable(table)
    model = [name for name in names if name in costs.MODEL]
    # The model's cost takes no other column's place but the drawn interval's, which has no number.
    drawings = ([True] if width >= _DRAWN else []) + [False] if model else []
    whole = [(parts.columns(table, (), draw=draw), list[str]()) for draw in drawings]
    drawn = parts.columns(table, model, draw=True)
    wide = [(drawn, model)] if width >= _DRAWN else []
    narrower = [
        (parts.columns(table, names[:i], draw=False), names[:i])
        for i in range(len(model), len(names) + 1)
    ]
    for roomy in (True, False):
        for chosen, dropped in (*(whole if roomy else []), *wide, *narrower):
            if total_width(chosen, ink, roomy=roomy) <= width:
                return chosen, dropped, roomy
    return None


def _blocks(table: ReportTable, chosen: Sequence[Column], ink: Ink) -> list[str]:
    """One block per row, for narrow terminals: the label, then a line per fact."""
    label, facts = chosen[0], chosen[1:]
    names = [ink.text(_fact(column, table)) for column in facts]
    name_width = max(map(len, names))
    found = [ink.paint(ink.text(label.head[0]), "bold")]
    for i, title in enumerate(label.cells):
        found += ["", ink.text(title.text)]
        is_total = i == len(table.rows)
        for name, column in zip(names, facts, strict=True):
            # the total's Δ is to the baseline, whatever the rows' is to
            asked = ink.text("Δ baseline") if is_total and column.name == "Δ" else name
            text = ink.text(column.cells[i].text.strip())
            if text:
                painted = ink.paint(text, column.cells[i].style)
                found.append(f"  {asked.ljust(name_width)}  {painted}")
    return [*found, ""]


def _fact(column: Column, table: ReportTable) -> str:
    """A column's heading on one line."""
    if table.paper:
        return " ".join(part for part in column.head if part and not part.startswith(("[", "(")))
    if column.name == "±sd":
        return visible(table.metric.heading)
    if column.name == "Δ base":
        return "Δ baseline"
    if column.name in (*costs.MODEL, costs.SPEED):
        return column.name
    return " ".join(part for part in column.head if part and not part.startswith(("[", "(")))


def _footnotes(tables: Sequence[ReportTable], failures: bool) -> list[str]:
    daggers = [note for table in tables if (note := captions.dagger(table))]
    return list(dict.fromkeys([*daggers, *_notes(tables, failures)]))


def _notes(tables: Sequence[ReportTable], failures: bool) -> list[str]:
    found = [f"! {visible(note)}" for table in tables for note in table.notes]
    if failures:
        found += [f"✗ {visible(line)}" for table in tables for line in table.failures]
    return found


def _caption(paragraphs: Sequence[str], width: int, ink: Ink) -> list[str]:
    """Wrapped before the last column: some terminals wrap a full line by themselves."""
    # Machines, versions and data sets stand in captions, and are other people's words too.
    safe = [visible(text) for text in paragraphs]
    return [ink.paint(line, "dim") for text in safe for line in _wrapped(text, width, ink)]


def _wrapped(paragraph: str, width: int, ink: Ink) -> list[str]:
    dot = ink.text(" · ")
    # a dividing dot ends a line and never begins one
    glued = ink.text(paragraph).replace(dot, f"\u00a0{dot[1:]}")
    found = textwrap.wrap(glued, max(width - 1, 20), break_long_words=False, break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in found]
