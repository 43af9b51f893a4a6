"""LaTeX tables that fit a page of the `article` class: smaller letters, wrapped names, parts.

A float cannot be broken, so that a table too wide becomes several tabulars below each other, each
with the names, and one too long becomes several tables of one number.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ablate.report.formats.grid import Column
from ablate.report.formats.latex.text import breakable, em, latex, number

_WIDTH = 345.0  # points of \textwidth in article at 10 pt, the narrowest of the usual classes
_HEIGHT = 520.0  # points of \textheight there, less some space
_WRAP = 14.0  # em, from which a text is set in several lines
# command, points of an em, of \tabcolsep, between lines
_SIZES = (("", 10.0, 6, 12.0), ("\\small", 9.25, 5, 11.0), ("\\footnotesize", 8.5, 3, 9.5))
_NOTES = 8  # lines below a table; more than that go on in the text after it
_MARK = re.compile(r"^[▲▼⊕⊖■○…↯∅] ")


@dataclass(frozen=True)
class Field:
    """A column in plain text. kind: names may be wrapped, numbers stand flush right.

    joined: to the column before, which it must stand beside.
    """

    heads: tuple[str, ...]
    cells: tuple[str, ...]
    kind: Literal["name", "number", "word"] = "number"
    joined: bool = False

    @property
    def width(self) -> float:
        """Of the widest text, in em."""
        return max(map(em, (*self.heads, *self.cells)), default=0.0)

    @property
    def wrapped(self) -> bool:
        """Whether cells take several lines."""
        return self.kind != "number" and max(map(em, self.cells), default=0.0) > _WRAP


@dataclass(frozen=True)
class Sheet:
    """A table to be. caption, notes: LaTeX source, sentence by sentence. command: made it.

    footer: how many of the last lines stand below a rule.
    """

    fields: tuple[Field, ...]
    caption: tuple[str, ...]
    label: str
    command: str
    notes: tuple[str, ...] = ()
    footer: int = 0


def field(column: Column, *, name: bool = False) -> Field:
    """A column of the terminal's as LaTeX has it: no marks, numbers to the right."""
    cells = tuple(_MARK.sub("", cell.text.rstrip()) for cell in column.cells)
    kind: Literal["name", "number", "word"] = "name" if name else "word"
    if not name and any(re.match(r"\s*[+−–]?\d", cell) for cell in cells):
        kind = "number"
    return Field(tuple(head for head in column.head if head) or ("",), cells, kind)


def source(sheet: Sheet) -> str:
    """The table, or the tables of one number that it takes."""
    wrapped = tuple(map(_wrapped, sheet.fields))
    parts, size = _parts(sheet.fields, wrapped)
    below = len(sheet.notes) and sum(_lines(note) for note in sheet.notes) <= _NOTES
    room = _HEIGHT - 12 * sum(map(_lines, [" ".join(sheet.caption)])) - 60
    room -= 9.5 * _NOTES if below else 0
    chunks = _chunks(parts, sheet.footer, room / len(parts), size[3])
    found = [
        _table(
            sheet, parts, chunk, size, first=i == 0, last=i == len(chunks) - 1, below=bool(below)
        )
        for i, chunk in enumerate(chunks)
    ]
    if sheet.notes and not below:
        notes = "\\par\n".join(sheet.notes)
        found.append(f"{{\\footnotesize\\raggedright\\noindent {notes}\\par}}")
    return "\n".join(found)


def _table(
    sheet: Sheet,
    parts: Sequence[Sequence[Field]],
    chunk: range,
    size: tuple[str, float, int, float],
    *,
    first: bool,
    last: bool,
    below: bool,
) -> str:
    caption = list(sheet.caption) if first else [sheet.caption[0], "(Continued.)"]
    label = f"\\label{{{sheet.label}}}" if first else ""
    lines = ["\\begin{table}\\centering" + (f"  % {sheet.command}" if sheet.command else "")]
    if not first:
        lines.append("\\addtocounter{table}{-1}")
    text = f"\\caption{{{' '.join(caption)}}}{label}\\smallskip"
    lines += textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)
    tabulars = [_tabular(fields, chunk, sheet.footer if last else 0) for fields in parts]
    command, _, separation, _ = size
    body = "\n\\par\\medskip\n".join(tabulars)
    if command:
        body = f"{{{command}\\setlength{{\\tabcolsep}}{{{separation}pt}}\n{body}}}"
    lines.append(body)
    if below and last:
        notes = "\\par\n".join(sheet.notes)
        lines.append("\\par\\smallskip\\begin{minipage}{\\linewidth}\\footnotesize\\raggedright")
        lines.append(f"{notes}\\end{{minipage}}")
    return "\n".join(lines) + "\\end{table}"


def _tabular(fields: Sequence[Field], chunk: range, footer: int) -> str:
    heads = [_heads(field) for field in fields]
    height = max(map(len, heads))
    above = [[*[""] * (height - len(head)), *head] for head in heads]
    rows = [[head[i] for head in above] for i in range(height)]
    lines = [_row(cells) for cells in rows]
    lines[-1] += " \\midrule"
    for i in chunk:
        line = _row([_cell(field, field.cells[i]) for field in fields])
        if i == chunk[-1]:
            line += " \\bottomrule"
        elif footer and i == len(fields[0].cells) - footer - 1:
            line += " \\midrule"
        lines.append(line)
    columns = "".join(_column(field) for field in fields)
    body = "\n".join(lines)
    return f"\\begin{{tabular}}{{{columns}}}\\toprule\n{body}\n\\end{{tabular}}"


def _row(cells: Sequence[str]) -> str:
    line = " & ".join(cells) + " \\\\"
    # what stands after the `\\` of the line above must not look like that command's arguments
    return f"{{}}{line}" if line.startswith(("[", "*")) else line


def _column(field: Field) -> str:
    if field.wrapped:
        return f"p{{{_WRAP:g}em}}"
    return "r" if field.kind == "number" else "l"


def _cell(field: Field, text: str) -> str:
    if field.wrapped:
        # not \raggedright, which has a `\\` of its own
        return f"\\rightskip=0pt plus 1fil\\relax {breakable(text)}" if text else ""
    return latex(text) if field.kind == "name" else number(text)


def _heads(field: Field) -> list[str]:
    return [latex(head) for head in field.heads]


def _wrapped(field: Field) -> Field:
    """With heads in as many lines as it takes."""
    # half an em is about a character
    longest = max(_WRAP / 2, min(_WRAP, max(map(em, field.cells), default=0.0)))
    lines: list[str] = []
    for head in field.heads:
        wide = em(head) > longest
        lines += textwrap.wrap(head, max(8, int(longest / 0.55))) if wide else [head]
    return replace(field, heads=tuple(lines))


def _parts(
    natural: Sequence[Field], wrapped: Sequence[Field]
) -> tuple[list[Sequence[Field]], tuple[str, float, int, float]]:
    """The tabulars, and in which size they fit."""
    for fields, cut in ((natural, False), (wrapped, True)):
        for size in _SIZES:
            if (cut or not any(f.wrapped for f in fields)) and _total(fields, size) <= _WIDTH:
                return [fields], size
    size, parts = _SIZES[-1], [[wrapped[0]]]
    for i, each in enumerate(wrapped[1:], 1):
        together = [each]  # with what must stand beside it, if all of that fits beside the names
        for other in wrapped[i + 1 :]:
            if not other.joined:
                break
            together.append(other)
        if _total([wrapped[0], *together], size) > _WIDTH:
            together = [each]
        if len(parts[-1]) > 1 and _total([*parts[-1], *together], size) > _WIDTH:
            parts.append([wrapped[0]])
        parts[-1].append(each)
    return list(parts), size


def _total(fields: Sequence[Field], size: tuple[str, float, int, float]) -> float:
    _, points, separation, _ = size
    widths = (min(f.width, _WRAP) if f.wrapped else f.width for f in fields)
    return points * sum(widths) + 2 * separation * len(fields)


def _chunks(
    parts: Sequence[Sequence[Field]], footer: int, room: float, leading: float
) -> list[range]:
    """Lines that fit one page together."""
    names = parts[0][0]
    texts = [field for part in parts for field in part if field.wrapped]
    heads = max(len(field.heads) for part in parts for field in part)
    limit = max(room - leading * heads, 4 * leading)
    chunks, start, used = [], 0, 0.0
    for i in range(len(names.cells)):
        need = leading * max((math.ceil(em(f.cells[i]) / _WRAP * 1.2) for f in texts), default=1)
        need = max(need, leading)
        if i > start and used + need > limit and i < len(names.cells) - footer:
            chunks.append(range(start, i))
            start, used = i, 0.0
        used += need
    return [*chunks, range(start, len(names.cells))]


def _lines(source: str) -> int:
    """Of a page's width, about."""
    return math.ceil(len(source) / 70)
