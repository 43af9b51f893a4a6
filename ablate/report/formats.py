"""The formats that `ablate report --format` knows: one function each, from the same tables.

The terminal is apart: it alone needs to know how wide it is, and in which colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.errors import AblateError, did_you_mean
from ablate.report.costs import Shown
from ablate.report.data import render_csv, render_json
from ablate.report.markdown import render_markdown
from ablate.report.model import ReportTable

if TYPE_CHECKING:
    from ablate.report.html import Epochs

Render = Callable[[Sequence[ReportTable], Shown], str]

FORMATS: dict[str, Render] = {
    "markdown": lambda tables, columns: render_markdown(tables, columns=columns),
    "html": lambda tables, columns: _html(tables, None),
    "csv": lambda tables, columns: render_csv(tables),
    "json": lambda tables, columns: render_json(tables),
}


_ENDINGS = {".md": "markdown", ".html": "html", ".csv": "csv", ".json": "json"}


def format_of(file: Path | None) -> str:
    """The format that a file's name asks for; "terminal" without one."""
    return _ENDINGS.get(file.suffix.lower(), "terminal") if file else "terminal"


def check_format(name: str) -> None:
    """Raises AblateError for a name that is not a format."""
    known = ["terminal", *FORMATS]
    if name not in known:
        raise AblateError(f"unknown format '{name}'{did_you_mean(name, known)}")


def render(
    name: str,
    tables: Sequence[ReportTable],
    *,
    columns: Shown = "auto",
    epochs: Epochs | None = None,
) -> str:
    """The tables in a format of `FORMATS`. Raises AblateError for another.

    columns: of formats for reading; HTML, CSV and JSON always have all. epochs: for HTML, the
    metrics of each epoch of a trial by its key, as `ablate.store.Store.epochs`.
    """
    if name == "html":
        return _html(tables, epochs)
    if name not in FORMATS:
        raise AblateError(f"unknown format '{name}'{did_you_mean(name, list(FORMATS))}")
    return FORMATS[name](tables, columns)


def _html(tables: Sequence[ReportTable], epochs: Epochs | None) -> str:
    from ablate.report.html import render_html  # a page of code that no other format needs

    return render_html(tables, epochs=epochs)
