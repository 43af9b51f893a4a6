"""The columns of cost: parameters, multiply-adds, images per second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ablate.report import captions, numbers
from ablate.report.model import ReportRow, ReportTable

# auto: what fits, parameters and multiply-adds only where rows differ in them; cost: the cost alone
Shown = Literal["auto", "cost", "all"]

MODEL = ("M params", "GMACs")  # names of the columns that are the model's own
SPEED = "images/s"

# What a reader must know of MODEL, and of every column of the table of cost.
MODEL_FACT = "GMACs: multiply-adds of one test image"
FACTS = (
    "M params: trained parameters",
    MODEL_FACT,
    "images/s and time per epoch: of training, the first epoch left out",
)


def parameters(row: ReportRow) -> str:
    """Millions: "25.6"."""
    return _known(row, None if row.parameters is None else numbers.figures(row.parameters / 1e6))


def macs(row: ReportRow) -> str:
    """Billions of multiply-adds: "4.09"."""
    return _known(row, None if row.macs is None else numbers.figures(row.macs / 1e9))


def speed(row: ReportRow) -> str:
    """Images per second, whole as in the live view: "1,412"; "0.520" where one takes seconds."""
    found = row.images_per_second
    if found is None:
        return _known(row, None)
    return numbers.fixed(found, 0) if found >= 10 else numbers.figures(found)


def facts(table: ReportTable) -> list[str]:
    """What the numbers of a table of cost are."""
    ratios = any(row.ratio for row in table.rows)
    return [*FACTS, *([f"× is against {captions.reference_row(table)}"] if ratios else [])]


def cells(table: ReportTable, shown: Shown) -> list[tuple[str, Sequence[str]]]:
    """(name, a text for each row) of the columns that `shown` asks for."""
    found: list[tuple[str, Sequence[str]]] = []
    if shown != "auto" or table.costs_differ:
        found = [
            (MODEL[0], [parameters(row) for row in table.rows]),
            (MODEL[1], [macs(row) for row in table.rows]),
        ]
    if shown != "auto":
        found.append((SPEED, [speed(row) for row in table.rows]))
    return found


def _known(row: ReportRow, text: str | None) -> str:
    """A dash where a trained row's figure is not known, nothing where nothing was trained."""
    return text if text is not None else "–" if row.n else ""
