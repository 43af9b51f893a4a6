"""The HTML report: one file without script or request, and what a notebook shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from ablate.report.formats.html.page import render_notebook, render_page
from ablate.report.formats.html.views import Epochs
from ablate.report.model import ReportTable

__all__ = ["Epochs", "render_html", "render_notebook"]


def render_html(tables: Sequence[ReportTable], *, epochs: Epochs | None = None) -> str:
    """Every study of the tables as one HTML document.

    epochs: the metrics of each epoch of a trial, by its key, as `Store.epochs`; no
    curves are drawn without it.
    """
    return render_page(tables, cache(epochs or (lambda key: ())))
