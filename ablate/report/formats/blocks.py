"""Blocks, the numbers below a table: their texts and columns, for every format that is read."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ablate.report import captions, numbers
from ablate.report.formats import columns as parts
from ablate.report.formats.escape import visible
from ablate.report.formats.grid import Cell, Column, Ink, total_width
from ablate.report.model import Block, BlockCell, ReportTable


def title(block: Block, table: ReportTable) -> str:
    """The block's heading; of a transposed ablation's, which line it belongs to."""
    return ": ".join(
        part for part in (table.column if table.transpose else "", block.title) if part
    )


def value_text(cell: BlockCell | None, block: Block, column: int, table: ReportTable) -> str:
    """ "+0.4" of a difference, "89.8" of a value; "–" where it is not known, "" without a cell."""
    if cell is None:
        return ""
    if cell.value is None or not math.isfinite(cell.value):
        return "–"
    return _number(cell.value, block.differs(column), table)


def bounds(
    cell: BlockCell | None, block: Block, column: int, table: ReportTable
) -> tuple[str, str] | None:
    """The interval's ends as printed."""
    if cell is None or cell.low is None or cell.high is None:
        return None
    differs = block.differs(column)
    return _number(cell.low, differs, table), _number(cell.high, differs, table)


def cell_texts(block: Block, column: int, table: ReportTable) -> list[str]:
    """ "+0.4 [−0.2, +1.0]" for every line; numbers stand below each other."""
    cells = [line.cells[column] for line in block.lines]
    return numbers.aligned(
        [value_text(cell, block, column, table) for cell in cells],
        [bounds(cell, block, column, table) for cell in cells],
    )


def one(cell: BlockCell | None, block: Block, column: int, table: ReportTable) -> list[str]:
    """A cell's number and its interval, if it has them, for formats that align by themselves."""
    ends = bounds(cell, block, column, table)
    found = [value_text(cell, block, column, table), f"[{ends[0]}, {ends[1]}]" if ends else ""]
    return [text for text in found if text]


def intervals(block: Block, column: int) -> bool:
    """Whether any cell of a column has an interval."""
    cells = (line.cells[column] for line in block.lines)
    return any(cell and cell.low is not None and cell.high is not None for cell in cells)


def heading(block: Block, column: int, table: ReportTable) -> str:
    """A column's heading on one line: "effect [95%]"."""
    level = f" [{numbers.level(table)}]" if intervals(block, column) else ""
    return f"{block.heads[column]}{level}"


def has_verdicts(block: Block) -> bool:
    """Whether any line is judged."""
    return any(line.verdict for line in block.lines)


def has_words(block: Block) -> bool:
    """Whether any line has a word."""
    return any(line.word for line in block.lines)


def judged_column(block: Block) -> int:
    """The column after which the verdicts and the words stand."""
    about = block.worded if block.judged is None else block.judged
    return len(block.heads) - 1 if about is None else about


def dagger(block: Block) -> str | None:
    """The footnote of †, where a line has one."""
    if not any(line.dagger for line in block.lines):
        return None
    return captions.dagger_of(block.comparisons)


def units(block: Block, table: ReportTable) -> list[list[Column]]:
    """The columns after the label; what is judged goes with its verdict and its word."""
    found = []
    said = Column("", ("", ""), tuple(Cell(visible(line.word)) for line in block.lines))
    for j, head in enumerate(block.heads):
        level = f"[{numbers.level(table)} interval]" if intervals(block, j) else ""
        texts = cell_texts(block, j, table)
        above, below = (visible(head), level) if level else ("", visible(head))
        cells = tuple(Cell(text) for text in texts)
        unit = [Column("", (above, below), cells, right=not level)]
        if j == judged_column(block) and has_verdicts(block):
            judged = tuple(parts.verdict_cell(line) for line in block.lines)
            unit.append(Column("", ("", "verdict"), judged))
        if j == judged_column(block) and has_words(block):
            unit.append(said)
        found.append(unit)
    return found


def labels(block: Block) -> Column:
    """What the lines are called."""
    return Column("", ("", ""), tuple(Cell(visible(line.label)) for line in block.lines))


def fitting(
    block: Block, table: ReportTable, width: int | None, ink: Ink
) -> list[list[Column]] | None:
    """Tables that have all columns between them, each with the labels and no wider than `width`.

    None: a label and one column are wider already, so that each line must be a block of its own.
    width: None for one table, however wide.
    """
    label = labels(block)
    tables: list[list[Column]] = []
    for unit in units(block, table):
        if tables and (width is None or _fits([*tables[-1], *unit], width, ink)):
            tables[-1] += unit
        elif width is None or _fits([label, *unit], width, ink):
            tables.append([label, *unit])
        else:
            return None
    return tables


def facts(block: Block, table: ReportTable) -> Sequence[tuple[str, Column]]:
    """(name on one line, column) of everything after the label, for narrow terminals."""
    found = []
    for j, unit in enumerate(units(block, table)):
        head = visible(block.heads[j]) if j < len(block.heads) else ""
        for column in unit:
            name = head if column is unit[0] else column.head[1]
            found.append((name, column))
    return found


def _fits(columns: Sequence[Column], width: int, ink: Ink) -> bool:
    return total_width(columns, ink, roomy=False) <= width


def _number(value: float, differs: bool, table: ReportTable) -> str:
    write = numbers.signed if differs else numbers.fixed
    return write(value * table.metric.scale, table.decimals)
