"""The block "classes": accuracy of each class, and how each row changes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ablate import stats
from ablate.data.builtin import CATALOGUE
from ablate.data.catalogue import dataset_info
from ablate.errors import AblateError
from ablate.report import captions, numbers
from ablate.report.model import Block, BlockCell, BlockLine, ReportRow, ReportTable, Total
from ablate.report.tables.new_images import compared
from ablate.report.tables.predictions import Hits, Stored, by_images, instead_of, lacking, problem

NAME = "classes"
_FEW = 4  # compared rows with a column each; of more only what they come to together
_ALONE = ("one_at_a_time", "leave_one_out")  # their rows come to nothing together

Compared = tuple[ReportRow | Total, int]


def with_classes(table: ReportTable, stored: Stored) -> ReportTable:
    """The table with the block, or with a note that says why it has none."""
    if not by_images(table.metric):
        wrong = f"it counts images that are right: {instead_of(table.metric)}"
        return _noted(table, wrong)
    hits = stored.rows(table)
    if why := problem(table, hits):
        return _noted(table, why)
    whole = [row for row in compared(table) if _complete(row, hits)]
    chosen = _chosen(table, whole)
    references = {row.delta.reference for row, _ in chosen if row.delta}
    first = references.pop() if len(references) == 1 else table.baseline
    means = _means(hits)  # [rows, seeds, classes]
    images = np.bincount(_any(hits).labels, minlength=means.shape[2])
    fits = [_fit(table, means[:, :, c], int(images[c])) for c in range(means.shape[2])]
    lines = tuple(
        BlockLine(
            name,
            (
                _value(means[first, :, c]),
                *(_change(table, row, place, means[:, :, c], fits[c]) for row, place in chosen),
            ),
        )
        for c, name in enumerate(class_names(table.dataset, means.shape[2]))
        if images[c]
    )
    block = Block(
        name=NAME,
        title=f"{table.metric.heading.capitalize()} of each class",
        heads=(table.rows[first].label, *(row.label for row, _ in chosen)),
        lines=lines,
        values=(0,),
        caption=tuple(_caption(table, chosen, whole, lines, lacking(table, hits))),
    )
    return replace(table, blocks=(*table.blocks, block))


def class_names(dataset: str, classes: int) -> Sequence[str]:
    """Readable names by label where the data set has them, else "class 0", …

    No image is looked for and no code of the user's is run: a store may be far from its data.
    """
    known = CATALOGUE.get(dataset)
    if known and len(known.classes) == classes:
        return known.classes
    if names := _folders(dataset, classes):
        return names
    return [f"class {c}" for c in range(classes)]


def _folders(dataset: str, classes: int) -> Sequence[str]:
    """Names of an image folder's classes, if the folder is there and still has as many."""

    if not dataset.startswith("imagefolder:"):
        return ()
    try:
        found = dataset_info(dataset).classes
    except (AblateError, OSError):
        return ()
    return found if len(found) == classes else ()


def _noted(table: ReportTable, why: str) -> ReportTable:
    return replace(table, notes=(*table.notes, f"no accuracy by class: {why}"))


def _complete(row: Compared, hits: Sequence[Sequence[Hits | None]]) -> bool:
    delta = row[0].delta
    return delta is not None and all(h is not None for h in (*hits[row[1]], *hits[delta.reference]))


def _chosen(table: ReportTable, whole: Sequence[Compared]) -> list[Compared]:
    """Every row's own step; of many rows the total, or else the one with most tricks, the last of
    several."""
    steps = [(row, place) for row, place in whole if isinstance(row, ReportRow)]
    if len(steps) <= _FEW or table.kind in _ALONE:
        return list(steps)
    if len(steps) < len(whole):
        return list(whole[-1:])
    return [max(reversed(steps), key=lambda step: len(step[0].tricks))]


def _any(hits: Sequence[Sequence[Hits | None]]) -> Hits:
    return next(h for row in hits for h in row if h)


def _means(hits: Sequence[Sequence[Hits | None]]) -> stats.Floats:
    """Accuracies [rows, seeds, classes]; NaN for trials without predictions."""
    some = _any(hits)
    nothing = np.full(some.classes, np.nan)
    return np.array(
        [
            [
                nothing if h is None else stats.class_means(h.correct, h.labels, h.classes)
                for h in row
            ]
            for row in hits
        ]
    )


def _fit(
    table: ReportTable, values: stats.Floats, images: int
) -> tuple[stats.BlockFit, list[int]] | None:
    """The fit of one class's accuracies, and the fitted line of each row: rows of the same trials
    count once."""
    if not images or len(table.seeds) < 2:
        return None
    keys = [tuple(cell.key for cell in row.seeds) for row in table.rows]
    distinct = list(dict.fromkeys(keys))
    apart = values[[keys.index(key) for key in distinct]]
    errors = stats.error_rates(apart, accuracy=True, examples=images)
    return stats.fit(apart, errors), [distinct.index(key) for key in keys]


def _value(values: stats.Floats) -> BlockCell | None:
    there = values[np.isfinite(values)]
    return BlockCell(float(there.mean())) if len(there) else None


def _change(
    table: ReportTable,
    row: ReportRow | Total,
    place: int,
    values: stats.Floats,
    fitted: tuple[stats.BlockFit, list[int]] | None,
) -> BlockCell | None:
    assert row.delta is not None
    reference = row.delta.reference
    if fitted is not None:
        fit, lines = fitted
        contrast = fit.difference(lines[place], lines[reference])
        if contrast is not None:
            effect = stats.effect(contrast, alpha=table.alpha)
            return BlockCell(effect.delta, effect.low, effect.high, effect)
    return BlockCell(float((values[place] - values[reference]).mean()))


def _caption(
    table: ReportTable,
    chosen: Sequence[Compared],
    whole: Sequence[Compared],
    lines: Sequence[BlockLine],
    missing: Sequence[str],
) -> list[str]:
    total = any(isinstance(row, Total) for row, _ in chosen)
    to = "the baseline" if total else captions.reference(table)
    to = re.sub("^(row above|baseline|full set)$", r"the \1", to.removeprefix("to "))
    number = len(chosen) * len(lines)
    found = (
        [f"First column: mean accuracy of the class. Then Δ to {to}, in points."] if chosen else []
    )
    if chosen and len(table.seeds) > 1:
        found.append(
            f"{numbers.level(table)} intervals, unadjusted and without verdicts: of "
            f"{numbers.count(number, 'comparison')} about {number * table.alpha:.2g} would leave "
            f"out 0 by chance."
        )
        changes = [cell for line in lines for cell in line.cells[1:]]
        if any(cell is not None and cell.low is None for cell in changes):
            found.append("Without an interval: the seeds agree exactly.")
    elif chosen:
        found.append("One seed: no intervals.")
    left_out = [row.label for row, _ in compared(table) if row not in [r for r, _ in whole]]
    if left_out:
        found.append(f"Left out, for want of trials or predictions: {', '.join(left_out)}.")
    if len(whole) > len(chosen) and not total and len(chosen) == 1:
        which = "the last" if chosen[0] == whole[-1] else "the one with most tricks"
        found.append(f"Of {len(whole)} compared rows {which}.")
    if missing:
        found.append(f"No stored predictions: {', '.join(missing)}.")
    return found
