"""Blocks: numbers that come from several rows or tables, each a table of its own."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.report import numbers, words
from ablate.report.html import parts
from ablate.report.html.markup import Markup, join, tag
from ablate.report.html.symbols import colour, icon
from ablate.report.model import Block, BlockCell, BlockLine, ReportTable


def block(place: parts.Place, found: Block, table: ReportTable) -> Markup:
    """The table of a block with its heading and caption."""
    columns = [parts.Column("", [line.label for line in found.lines])]
    for i, head in enumerate(found.heads):
        texts = [_cell(line.cells[i], found.differs(i), table) for line in found.lines]
        columns.append(parts.Column(head, texts, right=True))
        if found.judged == i:
            columns.append(parts.Column("verdict", [_verdict(line) for line in found.lines]))
    if any(line.word for line in found.lines):
        columns.append(parts.Column("", [line.word for line in found.lines]))
    title = f"{words.title(table)}: {found.title}"
    return join(
        place.heading(title, class_="panel", deeper=1),
        parts.table(columns, label=title),
        parts.caption(*_captions(found)),
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
