"""Tables and their formats: one model (`ReportTable`), made once, printed in any of them.

`model`, `numbers` and `captions` are used by `tables` (what a table says), `published` (the paper's
figures) and `formats` (how it is printed), in that order. Imports `store` and below, no study file
and no trick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablate.report.formats import FORMATS, check_format, content, format_of, render
    from ablate.report.formats.flat_tables import render_csv, render_parquet
    from ablate.report.formats.json_tables import render_json
    from ablate.report.formats.latex.tables import render_latex
    from ablate.report.formats.markdown import render_markdown
    from ablate.report.formats.methods import render_methods
    from ablate.report.formats.terminal import render_terminal
    from ablate.report.model import ReportTable
    from ablate.report.tables.address import row_address
    from ablate.report.tables.build import build_tables

# Imported when first asked for: the address of a row needs no NumPy.
_HOMES = {
    "FORMATS": "formats",
    "ReportTable": "model",
    "build_tables": "tables.build",
    "check_format": "formats",
    "content": "formats",
    "format_of": "formats",
    "render": "formats",
    "render_csv": "formats.flat_tables",
    "render_json": "formats.json_tables",
    "render_latex": "formats.latex.tables",
    "render_markdown": "formats.markdown",
    "render_methods": "formats.methods",
    "render_parquet": "formats.flat_tables",
    "render_terminal": "formats.terminal",
    "row_address": "tables.address",
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

if not TYPE_CHECKING:  # a checker knows the names above, and refuses any other

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            return getattr(import_module(f"ablate.report.{_HOMES[name]}"), name)
        raise AttributeError(f"module 'ablate.report' has no attribute '{name}'")
