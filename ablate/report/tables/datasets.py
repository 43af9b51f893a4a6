"""One ablation on several data sets: every effect, what holds on all of them, and their mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ablate import stats
from ablate.report import captions, numbers
from ablate.report.model import Block, BlockCell, BlockLine, Mark, ReportTable
from ablate.report.tables import compare, interactions
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
    # of tables at several looks the level of the strictest
    first = replace(reports[0], alpha=min(report.alpha for report in reports))
    names = [report.dataset for report in reports]
    rows = [row for row in zip(*answers, strict=True) if any(answer.contrast for answer in row)]
    found = [[answer.contrast for answer in row] for row in rows]
    if not rows or any(c is not None and c.se is None for row in found for c in row):
        return None  # seeds that agree exactly: no interval anywhere
    whole = [[c for c in row if c is not None] for row in found]
    asked = [known for known in whole if len(known) == len(names)]
    judged = _judged(asked, first)
    lines = []
    for row, contrasts, known in zip(rows, found, whole, strict=True):
        cells: list[BlockCell | None] = [
            None if c is None else cell(stats.effect(c, alpha=first.alpha)) for c in contrasts
        ]
        if len(known) < len(names):  # the same trials on some data set: nothing to average
            cells += [None] * (2 if len(names) == 2 else 1)
            lines.append(BlockLine(row[0].label, tuple(cells)))
            continue
        effect, words = next(judged)
        cells.append(cell(effect))
        if len(names) == 2:
            apart = stats.difference(known[0], known[1], level=1 - first.alpha)
            cells.append(_combined(apart, first.alpha))
        said: str = effect.verdict or ""
        dagger = effect.excludes_zero and said in ("equivalent", "unresolved")
        mark: Mark = compare.MARKS.get(said, "")
        if row[0].interaction:
            said, other = interactions.verdict(said)
            mark, words = other or mark, interactions.verdict(words)[0]
        lines.append(BlockLine(row[0].label, tuple(cells), said, mark, dagger, words))
    return Block(
        name="data_sets",
        title=f"effects on {len(names)} data sets",
        heads=(*names, "mean", *(["difference"] if len(names) == 2 else [])),
        lines=tuple(lines),
        judged=len(names) if asked else None,
        comparisons=len(asked),
        caption=tuple(_caption(first, names, len(asked))),
    )


def _judged(
    asked: Sequence[Sequence[stats.Contrast]], table: ReportTable
) -> Iterator[tuple[stats.Effect, str]]:
    """Of each line, [lines][data sets], the effect of its mean, judged as one family, and what
    holds on all data sets."""
    metric = table.metric
    means = [stats.mean_effect(each, level=1 - table.alpha) for each in asked]
    effects = stats.family(
        [stats.Contrast(m.delta, m.se, m.df, None) for m in means if m is not None],
        margin=table.margin / metric.scale,
        alpha=table.alpha,
        higher_is_better=metric.higher_is_better,
    )
    everywhere = stats.on_all(
        asked,
        margin=table.margin / metric.scale,
        alpha=table.alpha,
        higher_is_better=metric.higher_is_better,
    )
    for effect, found in zip(effects, everywhere, strict=True):
        yield effect, _words(found, len(asked[0]))


def _words(found: stats.OnAll | None, number: int) -> str:
    """ "gain on both", "equivalent on all 3"; "" where nothing holds on all of them."""
    if found is None or found.verdict == "unresolved":
        return ""
    return f"{found.verdict} on {'both' if number == 2 else f'all {number}'}"


def _caption(table: ReportTable, names: Sequence[str], family: int) -> list[str]:
    said = [
        f"Mean: of the effects on these {len(names)} data sets, and of no others; its degrees of "
        "freedom by Satterthwaite.",
    ]
    if len(names) == 2:
        said.append(f"Difference: {names[0]} minus {names[1]}.")
    each = "both" if len(names) == 2 else f"all {len(names)}"
    said.append(
        f"{numbers.level(table)} moderated intervals, not corrected; verdicts are of the mean, "
        f"Holm-corrected over {numbers.count(family, 'comparison')}, {captions.equivalent(table)}."
    )
    said.append(
        f"On {each}: every data set's own test says so, which needs no correction for their number "
        "(intersection–union); corrected over the comparisons as well."
    )
    return said


def _combined(found: MeanEffect | None, alpha: float) -> BlockCell | None:
    if found is None:
        return None
    effect = stats.Effect(
        found.delta, found.se, found.df, found.low, found.high, None, None, None, alpha=alpha
    )
    return cell(effect)
