"""The formats that `ablate report --format` knows: one function each, from the same tables.

The terminal is apart: it alone needs to know how wide it is, and in which colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.errors import AblateError, did_you_mean
from ablate.report.formats.costs import Shown
from ablate.report.formats.flat_tables import render_csv, render_parquet
from ablate.report.formats.json_tables import render_json
from ablate.report.formats.latex.tables import render_latex
from ablate.report.formats.markdown import render_markdown
from ablate.report.model import ReportTable

if TYPE_CHECKING:
    from ablate.report.formats.html import Epochs

Render = Callable[[Sequence[ReportTable], Shown], str]

FORMATS: dict[str, Render] = {
    "markdown": lambda tables, columns: render_markdown(tables, columns=columns),
    "latex": lambda tables, columns: render_latex(tables, columns=columns),
    "html": lambda tables, columns: _html(tables, None),
    "csv": lambda tables, columns: render_csv(tables),
    "json": lambda tables, columns: render_json(tables),
}

# Formats that are no text: for files only.
BINARY: dict[str, Callable[[Sequence[ReportTable]], bytes]] = {"parquet": render_parquet}

_ENDINGS = {
    ".md": "markdown",
    ".html": "html",
    ".tex": "latex",
    ".csv": "csv",
    ".json": "json",
    ".parquet": "parquet",
}


def format_of(file: Path | None) -> str:
    """The format that a file's name asks for; "terminal" without one, and for text.

    Raises AblateError for an ending that is no format's.
    """
    ending = file.suffix.lower() if file else ""
    if ending in ("", ".txt"):
        return "terminal"
    if ending not in _ENDINGS:
        raise AblateError(
            f"-o {file}: no format is written to '{ending}'{did_you_mean(ending, list(_ENDINGS))}",
            hint=f"-o NAME with one of {', '.join((*_ENDINGS, '.txt'))}; or --format NAME",
        )
    return _ENDINGS[ending]


def check_format(name: str, *, file: bool = True) -> None:
    """Raises AblateError for a name that is not a format.

    file: whether it is for a file, which some formats need.
    """
    known = ["terminal", *FORMATS, *BINARY]
    if name not in known:
        raise AblateError(f"unknown format '{name}'{did_you_mean(name, known)}")
    if name in BINARY and not file:
        raise AblateError(f"{name} is not text: it needs a file", hint=f"-o report.{name}")


def render(
    name: str,
    tables: Sequence[ReportTable],
    *,
    columns: Shown = "auto",
    epochs: Epochs | None = None,
) -> str:
    """The tables in a format of `FORMATS`. Raises AblateError for another.

    columns: of formats for reading; HTML, CSV and JSON always have all. epochs: for HTML, the
    metrics of each epoch of a trial by its key, as `ablate.store.store.Store.epochs`.
    """
    if name == "html":
        return _html(tables, epochs)
    if name not in FORMATS:
        raise AblateError(f"unknown format '{name}'{did_you_mean(name, list(FORMATS))}")
    return FORMATS[name](tables, columns)


def content(
    name: str,
    tables: Sequence[ReportTable],
    *,
    columns: Shown = "auto",
    epochs: Epochs | None = None,
) -> str | bytes:
    """What a file has: the text of `render`, or the bytes of a format that is none."""
    if name in BINARY:
        return BINARY[name](tables)
    return render(name, tables, columns=columns, epochs=epochs)


def _html(tables: Sequence[ReportTable], epochs: Epochs | None) -> str:
    from ablate.report.formats.html import render_html

    return render_html(tables, epochs=epochs)
