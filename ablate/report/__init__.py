"""Tables and their formats: one model (`ReportTable`), made once, printed in any of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.report.address import row_address
    from ablate.report.build import build_tables
    from ablate.report.data import render_json
    from ablate.report.flat import render_csv
    from ablate.report.formats import FORMATS, check_format, content, format_of, render
    from ablate.report.latex import render_latex
    from ablate.report.markdown import render_markdown
    from ablate.report.methods import render_methods
    from ablate.report.model import ReportTable
    from ablate.report.parquet import render_parquet
    from ablate.report.terminal import render_terminal

# Imported when first asked for: the address of a row needs no NumPy.
_HOMES = {
    "FORMATS": "formats",
    "ReportTable": "model",
    "build_tables": "build",
    "check_format": "formats",
    "content": "formats",
    "format_of": "formats",
    "render_methods": "methods",
    "render": "formats",
    "render_csv": "flat",
    "render_json": "data",
    "render_latex": "latex",
    "render_markdown": "markdown",
    "render_parquet": "parquet",
    "render_terminal": "terminal",
    "row_address": "address",
}

__all__ = [
    "FORMATS",
    "ReportTable",
    "build_tables",
    "check_format",
    "content",
    "format_of",
    "render",
    "render_csv",
    "render_json",
    "render_latex",
    "render_markdown",
    "render_methods",
    "render_parquet",
    "render_terminal",
    "row_address",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"ablate.report.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ablate.report' has no attribute '{name}'")
