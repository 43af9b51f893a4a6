"""Text for a terminal: other people's characters made harmless, symbols as ASCII, units."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final, Literal

# What a stream that is not UTF-8 gets. ○ as a verdict is "o": `report` says so itself.
_ASCII: Final = {
    "●": "#", "◐": ">", "○": ".", "◆": "s", "✗": "x", "✓": "ok",
    "▲": "^", "▼": "v", "⊕": "(+)", "⊖": "(-)", "■": "[]", "…": "...", "↯": "!!", "∅": "0",
    "±": "+/-", "Δ": "d", "×": "x", "−": "-", "≈": "~", "→": "->", "†": "*",
    "·": "-", "–": "-", "─": "-", "━": "=", "╸": ">", "│": "|", "┼": "+",
    "√": "sqrt", "λ": "lambda", "γ": "gamma", "ε": "epsilon", "φ": "phi", "α": "alpha",
    "½": "1/2", "¼": "1/4", "¾": "3/4",
}  # fmt: skip
_TABLE: Final = str.maketrans(_ASCII)

_HIDDEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})

# How far a trial is, in one character.
DOTS: Final = {"done": "●", "running": "◐", "new": "○", "shared": "◆"}


def visible(text: str) -> str:
    """Control, bidirectional and other invisible characters as \\u202e; line breaks stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in _HIDDEN else _escape(c) for c in text
    )


def one_line(text: str) -> str:
    """As `visible`, with line breaks escaped too."""
    return visible(text).replace("\n", "\\n")


def name_key(text: str) -> str:
    """What names share that look the same: an é of one character or of two, a space of any kind.

    Names are compared by it wherever somebody types one. Case counts.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def ascii_only(text: str) -> str:
    """The ASCII form of the symbols that ablate prints."""
    return text if text.isascii() else text.translate(_TABLE)


def width(text: str) -> int:
    """Cells that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def pad(text: str, cells: int, align: Literal["<", ">"] = "<") -> str:
    """`text` filled with spaces; never cut."""
    space = " " * max(0, cells - width(text))
    return space + text if align == ">" else text + space


def aligned(rows: Sequence[Sequence[str]], align: str = "", gap: int = 2) -> list[str]:
    """Lines of aligned columns. align: "<" or ">" per column, left where it says nothing."""
    if not rows:
        return []
    columns = max(len(row) for row in rows)
    sides = align.ljust(columns, "<")
    widths = [max((width(r[i]) for r in rows if i < len(r)), default=0) for i in range(columns)]
    return [
        (" " * gap)
        .join(pad(cell, widths[i], ">" if sides[i] == ">" else "<") for i, cell in enumerate(row))
        .rstrip()
        for row in rows
    ]


def duration(seconds: float) -> str:
    """ "29 s", "21 min", "1 h 18", "6 h": about two digits, as estimates deserve."""
    if seconds < 59.5:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 100 and minutes:
        return f"{hours} h {minutes}"
    return f"{hours:,} h"


def clock(seconds: float) -> str:
    """Elapsed time as "19:45" or "1:02:03"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def listed(parts: Sequence[str]) -> str:
    """ "3, 5 and 10"."""
    *before, last = parts
    return f"{', '.join(before)} and {last}" if before else last


def count(number: int, noun: str, plural: str | None = None) -> str:
    """ "1 trial", "30 trials", "1,200 images"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def megabytes(size: float) -> str:
    """ "41 MB", "1.2 GB": decimal units, as disks and downloads have them."""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
