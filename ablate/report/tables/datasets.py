"""One ablation on several data sets: every effect side by side, and their mean."""

from __future__ import annotations

from collections.abc import Sequence

from ablate import stats
from ablate.report import numbers
from ablate.report.model import Block, BlockCell, BlockLine, ReportTable
from ablate.report.tables.contrasts import Answer, cell
from ablate.stats import MeanEffect


def blocks(
    reports: Sequence[ReportTable], answers: Sequence[Sequence[Answer]]
) -> dict[int, tuple[Block]]:
    """The blocks of a study, by the last table of each ablation and column.

    answers: of each table, () where it is not complete. An ablation is left out unless all of its
    tables are complete and ask the same.
    """
    grouped: dict[tuple[str, str], list[int]] = {}
    for number, report in enumerate(reports):
        grouped.setdefault((report.ablation, report.column), []).append(number)
    found: dict[int, tuple[Block]] = {}
    for members in grouped.values():
        names = [reports[i].dataset for i in members]
        told = [answers[i] for i in members]
        same = len({tuple(answer.label for answer in one) for one in told}) == 1
        if len(set(names)) == len(names) > 1 and told[0] and same:
            made = _block([reports[i] for i in members], told)
            if made is not None:
                found[members[-1]] = (made,)
    return found


def _block(reports: Sequence[ReportTable], answers: Sequence[Sequence[Answer]]) -> Block | None:
    # tables that were looked at more often have a lower level
    alpha, names = min(report.alpha for report in reports), [report.dataset for report in reports]
    lines = []
    for row in zip(*answers, strict=True):
        contrasts = [answer.contrast for answer in row]
        if any(c is not None and c.se is None for c in contrasts):
            return None  # seeds that agree exactly: no interval anywhere
        cells: list[BlockCell | None] = [
            None if c is None else cell(stats.effect(c, alpha=alpha)) for c in contrasts
        ]
        known = [c for c in contrasts if c is not None]
        whole = len(known) == len(contrasts)
        mean = stats.mean_effect(known, level=1 - alpha) if whole else None
        cells.append(_combined(mean, alpha))
        if len(names) == 2:
            apart = stats.difference(known[0], known[1], level=1 - alpha) if whole else None
            cells.append(_combined(apart, alpha))
        if known:
            lines.append(BlockLine(row[0].label, tuple(cells)))
    if not lines:
        return None
    two = ["difference"] if len(names) == 2 else []
    caption = [
        f"Mean: of the effects on these {len(names)} data sets, and of no others; its degrees of "
        "freedom by Satterthwaite.",
    ]
    if two:
        caption.append(f"Difference: {names[0]} minus {names[1]}.")
    caption.append(f"{numbers.level(reports[0])} intervals, not corrected, no verdicts.")
    return Block(
        name="data_sets",
        title=f"effects on {len(names)} data sets",
        heads=(*names, "mean", *two),
        lines=tuple(lines),
        caption=tuple(caption),
    )


def _combined(found: MeanEffect | None, alpha: float) -> BlockCell | None:
    if found is None:
        return None
    effect = stats.Effect(
        found.delta, found.se, found.df, found.low, found.high, None, None, None, alpha=alpha
    )
    return cell(effect)
