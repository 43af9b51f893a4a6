"""Aligned text tables that measure themselves: columns are dropped whole, cells are never cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from ablate.report.formats.escape import ascii_only

GAP = "  "
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


@dataclass(frozen=True)
class Ink:
    """How text leaves: with ANSI colours (the 16 of the user's theme) or not, in ASCII or not."""

    color: bool
    ascii: bool

    def text(self, text: str) -> str:
        """The text in the output's character set."""
        return ascii_only(text) if self.ascii else text

    def paint(self, text: str, style: str) -> str:
        """The text in a style of `_CODES`, "" for none."""
        if not (self.color and style and text):
            return text
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


@dataclass(frozen=True)
class Cell:
    """A text and its style."""

    text: str = ""
    style: str = ""


@dataclass(frozen=True)
class Column:
    """A column: two heading lines, one cell per line. minimum: width to keep where there is room.

    name: of the column in "not shown at this width".
    """

    name: str
    head: tuple[str, str]
    cells: tuple[Cell, ...]
    right: bool = False
    minimum: int = 0

    def width(self, ink: Ink, *, roomy: bool) -> int:
        """Cells of a terminal that the widest text takes."""
        texts = (*self.head, *(cell.text for cell in self.cells))
        widest = max(cell_len(ink.text(text)) for text in texts)
        return max(widest, self.minimum) if roomy else widest


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Text filled with spaces to `width` cells of a terminal."""
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def total_width(columns: Sequence[Column], ink: Ink, *, roomy: bool) -> int:
    """Width of the table in cells of a terminal."""
    return sum(c.width(ink, roomy=roomy) for c in columns) + len(GAP) * (len(columns) - 1)


def lines(columns: Sequence[Column], ink: Ink, *, roomy: bool, footer: int = 0) -> list[str]:
    """The table: heading lines, a rule, the cells; the last `footer` lines below a rule.

    A heading line without any text is left out.
    """
    widths = [c.width(ink, roomy=roomy) for c in columns]
    rule = ink.paint(ink.text("─") * (sum(widths) + len(GAP) * (len(widths) - 1)), "dim")

    def line(cells: Sequence[Cell]) -> str:
        return _joined(
            [(ink.text(cell.text), cell.style) for cell in cells],
            widths,
            [c.right for c in columns],
            ink,
        )

    heads = [
        line([Cell(c.head[part], "" if i or part else "bold") for i, c in enumerate(columns)])
        for part in (0, 1)
        if any(c.head[part] for c in columns)
    ]
    body = [line([c.cells[i] for c in columns]) for i in range(len(columns[0].cells))]
    end = len(body) - footer
    return [*heads, rule, *body[:end], *([rule, *body[end:]] if footer else [])]


def _joined(
    cells: Sequence[tuple[str, str]], widths: Sequence[int], right: Sequence[bool], ink: Ink
) -> str:
    """One line without trailing spaces; colour goes around texts, not around their padding."""
    last = max((i for i, (text, _) in enumerate(cells) if text.strip()), default=-1)
    parts = []
    for i, (text, style) in enumerate(cells[: last + 1]):
        painted = ink.paint(text.rstrip() if i == last else text, style)
        space = " " * (widths[i] - cell_len(text))
        if right[i]:
            parts.append(space + painted)
        else:
            parts.append(painted if i == last else painted + space)
    return GAP.join(parts)
