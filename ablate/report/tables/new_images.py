"""The block "new images": each difference with its interval over new seeds and new test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ablate import stats
from ablate.report import numbers
from ablate.report.model import (
    Block,
    BlockCell,
    BlockLine,
    Comparison,
    ReportRow,
    ReportTable,
    Total,
)
from ablate.report.tables.predictions import Hits, Stored, by_images, instead_of, lacking, problem

NAME = "new_images"
HEADS = ("this test set, new seeds", "new images too")


def with_new_images(table: ReportTable, stored: Stored) -> ReportTable:
    """The table with the block, or with a note that says why it has none."""
    if why := _refused(table):
        return _noted(table, why)
    hits = stored.rows(table)
    if why := problem(table, hits):
        return _noted(table, why)
    lines = tuple(_line(row, i, table, hits) for row, i in compared(table) if row.delta is not None)
    missing = lacking(table, hits)
    images = next(len(h.correct) for row in hits for h in row if h)
    block = Block(
        name=NAME,
        title="New images too",
        heads=HEADS,
        lines=lines,
        caption=(
            f"First: the table's {numbers.level(table)} interval, for these {images:,} images. "
            f"Second: images and seeds both drawn anew, a two-way layout of {images:,} images × "
            f"{len(table.seeds)} seeds whose noise is that of the first; unadjusted, without a "
            "verdict. With few seeds either may be the wider one.",
            *([f"No stored predictions: {', '.join(missing)}."] if missing else []),
        ),
    )
    return replace(table, blocks=(*table.blocks, block))


def compared(table: ReportTable) -> list[tuple[ReportRow | Total, int]]:
    """Rows with a reference, and the total, each with the place of the row it is about."""
    found: list[tuple[ReportRow | Total, int]] = [
        (row, i) for i, row in enumerate(table.rows) if row.delta is not None
    ]
    if table.total:
        last = max(i for i, row in enumerate(table.rows) if row.role == "step")
        found.append((table.total, last))
    return found


def _refused(table: ReportTable) -> str | None:
    if not by_images(table.metric):
        return f"they count images that are right: {instead_of(table.metric)}"
    if len(table.seeds) < stats.FEWEST_SEEDS:
        seeds = numbers.count(len(table.seeds), "seed")
        return f"they need at least {stats.FEWEST_SEEDS} seeds, this table has {seeds}"
    return None if table.compares else "there is no row to compare"


def _noted(table: ReportTable, why: str) -> ReportTable:
    return replace(table, notes=(*table.notes, f"no intervals for new images: {why}"))


def _line(
    row: ReportRow | Total, place: int, table: ReportTable, hits: Sequence[Sequence[Hits | None]]
) -> BlockLine:
    delta = row.delta
    assert delta is not None
    mine, other = hits[place], hits[delta.reference]
    if any(h is None for h in (*mine, *other)):
        lacks = row.mark in ("incomplete", "diverged", "no effect")
        short = row.verdict if lacks else "no stored predictions"
        return BlockLine(row.label, (_default(delta), None), word=short)
    found = stats.new_images(
        np.array([h.correct for h in mine if h]),
        np.array([h.correct for h in other if h]),
        seeds=_of_seeds(delta),
        level=1 - table.alpha,
    )
    if found is None:
        return BlockLine(row.label, (_default(delta), None), word="the same images are right")
    effect = stats.Effect(
        found.delta, found.se, found.df, found.low, found.high, None, None, None, alpha=table.alpha
    )
    return BlockLine(
        row.label, (_default(delta), BlockCell(found.delta, found.low, found.high, effect))
    )


def _of_seeds(delta: Comparison) -> stats.Contrast | None:
    """The table's difference, for these images."""
    effect = delta.effect
    return None if effect is None else stats.Contrast(effect.delta, effect.se, effect.df, None)


def _default(delta: Comparison) -> BlockCell:
    effect = delta.effect
    if effect is None:
        return BlockCell(delta.delta)
    return BlockCell(effect.delta, effect.low, effect.high, effect)
