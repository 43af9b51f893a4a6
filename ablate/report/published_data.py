"""The published figures that ship with the package, as frozen objects."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import model_validator

from ablate.recipe import Frozen
from ablate.report.published_model import Source


class Column(Frozen):
    """One column of a published table: a model, a batch size, and the first row's tricks.

    models: our names of the model that was published. family: what the name of any relative
    holds. base: tricks of the first row, base_label: their name.
    """

    label: str
    models: tuple[str, ...]
    family: str
    batch_size: int
    px: int
    model_label: str = ""
    base: frozenset[str] = frozenset()
    base_label: str = ""

    @property
    def model(self) -> str:
        """The model as the publication calls it."""
        return self.model_label or self.label

    @property
    def start(self) -> str:
        """What the first row has, in words."""
        return self.base_label or " + ".join(sorted(self.base)) or "no tricks"


class Line(Frozen):
    """One row. top1, top5, minutes and their sources: by column. adds: to the row above it.

    epochs: None for the publication's usual number, 0 where it is not known.
    """

    step: str
    adds: frozenset[str]
    branch: bool = False
    top1: tuple[Decimal, ...]
    top5: tuple[Decimal, ...]
    source: tuple[Source, ...]
    epochs: int | None = None
    batch_size: int | None = None
    minutes: tuple[Decimal, ...] | None = None
    minutes_source: tuple[Source, ...] | None = None
    mparams: Decimal | None = None
    gflops: Decimal | None = None  # multiply-adds, counted once

    def figure(self, metric: Literal["top1", "top5"], column: int) -> Decimal:
        """Percent."""
        return (self.top1 if metric == "top1" else self.top5)[column]


class PublishedTable(Frozen):
    """One published table of accuracies. dataset: our name of it."""

    number: int
    caption: str
    dataset: str
    columns: tuple[Column, ...]
    rows: tuple[Line, ...]
    per_trick: str = ""

    @model_validator(mode="after")
    def _complete(self) -> PublishedTable:
        for row in self.rows:
            by_column = (row.top1, row.top5, row.source, row.minutes, row.minutes_source)
            if any(line is not None and len(line) != len(self.columns) for line in by_column):
                raise ValueError(f"table {self.number}, {row.step}: not one entry per column")
        return self

    @property
    def trunk(self) -> tuple[int, ...]:
        """Rows that the next one stands on."""
        return tuple(i for i, row in enumerate(self.rows) if not row.branch)

    def above(self, row: int) -> int | None:
        """The row that this one is compared with; None for the first."""
        return max((i for i in self.trunk if i < row), default=None)

    def tricks(self, row: int) -> frozenset[str]:
        """Everything this row has and the first has not."""
        stack = [i for i in self.trunk if i < row] + [row]
        return frozenset().union(*(self.rows[i].adds for i in stack))


class Publication(Frozen):
    """Figures of one publication, and how they were measured.

    recipe: what is a trick here and part of every row there. params: of tricks, where stated.
    """

    title: str
    arxiv: str
    hardware: str
    dataset: str
    epochs: int
    recipe: frozenset[str]
    params: dict[str, dict[str, float | str]]
    tables: tuple[PublishedTable, ...]

    def table(self, number: int) -> PublishedTable | None:
        """The table of that number, None if it has no accuracies of tricks."""
        return next((table for table in self.tables if table.number == number), None)


@cache
def paper() -> Publication:
    """He et al., arXiv 1812.01187: tables 2 to 7."""
    text = files("ablate.report").joinpath("paper.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text, parse_float=Decimal)
    paper = document["paper"]
    tables = [
        {"dataset": paper["dataset"]}
        | table
        | {"rows": [_line(row, table) for row in table["rows"]]}
        for table in document["table"]
    ]
    return Publication.model_validate(paper | {"tables": tables})


def _line(row: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """A row with what it leaves to be understood written out."""
    source = row["source"]
    sources = [source] * len(table["columns"]) if isinstance(source, str) else source
    return {"adds": [row["step"]]} | row | {"source": sources}
