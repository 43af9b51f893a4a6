"""Tables and their formats: one model (`ReportTable`), made once, printed in any of them."""

from ablate.report.address import row_address
from ablate.report.build import build_tables
from ablate.report.data import render_csv, render_json
from ablate.report.formats import FORMATS, check_format, format_of, render
from ablate.report.markdown import render_markdown
from ablate.report.model import ReportTable
from ablate.report.terminal import render_terminal

__all__ = [
    "FORMATS",
    "ReportTable",
    "build_tables",
    "check_format",
    "format_of",
    "render",
    "render_csv",
    "render_json",
    "render_markdown",
    "render_terminal",
    "row_address",
]
