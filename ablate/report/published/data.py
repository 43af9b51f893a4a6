"""The published figures that ship with the package, and what a report's table has of them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import model_validator

from ablate.core.recipe import Frozen


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


Source = Literal["text", "repeated", "recall"]


@dataclass(frozen=True)
class PublishedCell:
    """The published counterpart of one row. Accuracies in percent, `delta` in points, as printed.

    top1, top5: None where only a single trick's step is known. delta: of the table's metric,
    against `against`, a published row; None for a first row. source: of top1 or, without it, of
    delta. table, column, step: where it stands. inside: whether delta lies in our interval of the
    same question, None without such an interval. asked: the measured comparison that asks the
    published question, "row" for the row's own Δ, "baseline" for the one to the baseline, "" where
    the table has none. delta_source: the weaker of its two figures'. minutes (an epoch),
    mparams, gmacs: published costs with their sources.
    """

    top1: Decimal | None
    top5: Decimal | None
    delta: Decimal | None
    source: Source
    delta_source: Source
    table: int
    column: str
    step: str
    against: str
    asked: Literal["row", "baseline", ""]
    inside: bool | None
    minutes: Decimal | None = None
    minutes_source: Source = "recall"
    mparams: Decimal | None = None
    gmacs: Decimal | None = None
    cost_source: Source = "recall"


@dataclass(frozen=True)
class Published:
    """The publication beside one report table.

    name: "paper". match: "table" where the whole table is the published one's, "tricks" where
    single tricks are. table, column: the published table's, 0 and "" for single tricks. footnotes,
    differs: in words, plain text. first: the baseline's label, without what is in the paper's own
    recipe. negated: deltas are turned because rows leave tricks out.
    """

    name: str
    arxiv: str
    match: Literal["table", "tricks"]
    table: int
    column: str
    first: str
    negated: bool
    footnotes: tuple[str, ...]
    differs: str
