"""The block "mcnemar": one seed's checkpoints, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ablate import stats
from ablate.report.model import Block, BlockCell, BlockLine, ReportTable
from ablate.report.tables.new_images import compared
from ablate.report.tables.predictions import Hits, Stored, by_images, instead_of, problem

NAME = "mcnemar"
SENTENCE = "Exact McNemar test: it compares two checkpoints, not two recipes."


def with_mcnemar(table: ReportTable, stored: Stored) -> ReportTable:
    """The table with the block, or with a note that says why it has none."""
    if why := _refused(table):
        return _noted(table, why)
    hits = stored.rows(table)
    if why := problem(table, hits):
        return _noted(table, why)
    lines = []
    for row, place in compared(table):
        assert row.delta is not None
        lines.append(_line(row.label, row.delta.delta, hits[place], hits[row.delta.reference]))
    block = Block(
        name=NAME,
        title="Two checkpoints",
        heads=("Δ",),
        lines=tuple(lines),
        caption=(
            SENTENCE,
            "Training either recipe again gives other checkpoints: more seeds tell recipes apart.",
            "Images: right in this row only, and in its reference only. p is not corrected.",
        ),
    )
    return replace(table, blocks=(*table.blocks, block))


def _refused(table: ReportTable) -> str | None:
    if not by_images(table.metric):
        return f"it counts images that are right: {instead_of(table.metric)}"
    if not table.one_seed:
        return "it compares two checkpoints, and each row has several: --seeds 1"
    return None if table.compares else "there is no row to compare"


def _noted(table: ReportTable, why: str) -> ReportTable:
    return replace(table, notes=(*table.notes, f"no McNemar test: {why}"))


def _line(
    label: str, delta: float | None, mine: Sequence[Hits | None], other: Sequence[Hits | None]
) -> BlockLine:
    a, b = mine[0], other[0]
    if a is None or b is None:
        return BlockLine(label, (BlockCell(delta),), word="no stored predictions")
    p = stats.mcnemar(a.correct, b.correct)
    only_a, only_b = stats.disagreements(a.correct, b.correct)
    apart = float(a.correct.mean() - b.correct.mean())
    effect = stats.Effect(apart, None, 0, None, None, None, None, p)
    return BlockLine(
        label,
        (BlockCell(apart, effect=effect),),
        word=f"p {_probability(p)}; {only_a:,} : {only_b:,} images",
    )


def _probability(p: float) -> str:
    """ ".031", "< .001"."""
    return "< .001" if p < 0.001 else f"= {p:.3f}".replace("0.", ".", 1)
