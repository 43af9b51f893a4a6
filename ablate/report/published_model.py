"""What a report table knows of a published one: figures of its rows, and what differs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

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
