"""The formats that `ablate report --format` knows: one function each, from the same tables.

The terminal is apart: it alone needs to know how wide it is, and in which colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ablate.errors import AblateError, did_you_mean
from ablate.report.costs import Shown
from ablate.report.data import render_csv, render_json
from ablate.report.markdown import render_markdown
from ablate.report.model import ReportTable

Render = Callable[[Sequence[ReportTable], Shown], str]

FORMATS: dict[str, Render] = {
    "markdown": lambda tables, columns: render_markdown(tables, columns=columns),
    "csv": lambda tables, columns: render_csv(tables),
    "json": lambda tables, columns: render_json(tables),
}


_ENDINGS = {".md": "markdown", ".csv": "csv", ".json": "json"}


def format_of(file: Path | None) -> str:
    """The format that a file's name asks for; "terminal" without one."""
    return _ENDINGS.get(file.suffix.lower(), "terminal") if file else "terminal"


def check_format(name: str) -> None:
    """Raises AblateError for a name that is not a format."""
    known = ["terminal", *FORMATS]
    if name not in known:
        raise AblateError(f"unknown format '{name}'{did_you_mean(name, known)}")


def render(name: str, tables: Sequence[ReportTable], *, columns: Shown = "auto") -> str:
    """The tables in a format of `FORMATS`. Raises AblateError for another.

    columns: of formats for reading; CSV and JSON always have all.
    """
    if name not in FORMATS:
        raise AblateError(f"unknown format '{name}'{did_you_mean(name, list(FORMATS))}")
    return FORMATS[name](tables, columns)
