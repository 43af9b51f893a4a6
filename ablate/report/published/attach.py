"""Published results beside measured ones: `ablate report STUDY --compare paper`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Literal, cast

from ablate.core.resolved_study import ResolvedStudy, Table
from ablate.errors import AblateError, did_you_mean
from ablate.report.model import Comparison, ReportRow, ReportTable
from ablate.report.published import text as words
from ablate.report.published.data import (
    Publication,
    Published,
    PublishedCell,
    PublishedTable,
    Source,
    paper,
)
from ablate.report.published.match import Step, Whole, baseline_row, step, whole

KNOWN = ("paper",)

_WEAKEST: tuple[Source, ...] = ("recall", "repeated", "text")


def check_name(name: str) -> None:
    """Raise AblateError if there is no publication of that name."""
    if name not in KNOWN:
        raise AblateError(f"--compare '{name}'{did_you_mean(name, KNOWN)}")


def beside_paper(resolved: ResolvedStudy, tables: Sequence[ReportTable]) -> list[ReportTable]:
    """The tables with the paper's figures beside their rows.

    tables: of `build_tables(resolved, …)`. A table none of whose rows the paper has is returned as
    it is.
    """
    return [
        _beside(paper(), resolved, table, report)
        for table, report in zip(resolved.tables, tables, strict=True)
    ]


def nothing_published(names: Sequence[str]) -> AblateError:
    """The refusal where no table of these studies has a row that the paper has."""
    what = ", ".join(names)
    known = "; ".join(
        f"table {table.number}: {', '.join(row.step for row in table.rows[1:])}"
        for table in paper().tables
        if len(table.rows) > 1
    )
    return AblateError(f"no row of {what} adds what the paper measured: {known}")


def _beside(
    publication: Publication, resolved: ResolvedStudy, table: Table, report: ReportTable
) -> ReportTable:
    if report.metric.name not in ("top1", "top5"):
        return report
    if found := whole(publication, resolved, table):
        cells = [_whole_cell(found, table, report, i) for i in range(len(table.rows))]
        lines = {i: found.published.rows[p] for i, p in enumerate(found.cells) if p is not None}
        place = (found.published.number, found.published.columns[found.column].label)
        differs = words.differs(publication, resolved, table, report, lines, found)
        negated = False
    else:
        steps = {
            i: s for i in range(len(table.rows)) if (s := step(publication, resolved, table, i))
        }
        if not steps:
            return report
        cells = [
            _step_cell(steps[i], table, report, i) if i in steps else None
            for i in range(len(table.rows))
        ]
        lines = {i: s.published.rows[s.row] for i, s in steps.items()}
        place = (0, "")
        differs = words.differs(publication, resolved, table, report, lines, None)
        negated = any(s.negated for s in steps.values())
    rows = tuple(replace(row, published=cell) for row, cell in zip(report.rows, cells, strict=True))
    # a line per column, as transposed tables have it, has no room for what is beside it
    shown = replace(report, rows=rows, transpose=False)
    view = Published(
        name="paper",
        arxiv=publication.arxiv,
        match="table" if found else "tricks",
        table=place[0],
        column=place[1],
        first=words.first_row(publication, resolved, table),
        negated=negated,
        footnotes=words.footnotes(publication, shown, () if found else tuple(steps.values())),
        differs=differs,
    )
    return replace(shown, paper=view)


def _whole_cell(found: Whole, table: Table, report: ReportTable, i: int) -> PublishedCell | None:
    published, column, at = found.published, found.column, found.cells[i]
    if at is None:
        return None
    row, line = report.rows[i], published.rows[at]
    against = published.above(at)
    asked: Literal["row", "baseline", ""] = ""
    if against is not None and row.delta is not None:
        measured = found.cells[row.delta.reference]
        if measured is not None and measured != at:
            against, asked = measured, "row"  # what our Δ is to, in the paper too
        elif found.cells[baseline_row(table)] == against:
            asked = "baseline"
    delta, delta_source = _delta(published, column, at, against, report)
    figure = line.minutes[column] if line.minutes else None
    return PublishedCell(
        top1=line.top1[column],
        top5=line.top5[column],
        delta=delta,
        source=line.source[column],
        delta_source=delta_source,
        table=published.number,
        column=published.columns[column].label,
        step=line.step,
        against=published.rows[against].step if against is not None else "",
        asked=asked,
        inside=_inside(_asked(row, asked), delta, report),
        minutes=figure,
        minutes_source=line.minutes_source[column] if line.minutes_source else "recall",
        mparams=line.mparams,
        gmacs=line.gflops,
        cost_source=line.source[column],
    )


def _step_cell(found: Step, table: Table, report: ReportTable, i: int) -> PublishedCell:
    published, column, row = found.published, found.column, report.rows[i]
    delta, source = _delta(published, column, found.row, found.against, report)
    assert delta is not None
    delta = -delta if found.negated else delta
    asked: Literal["row", "baseline", ""] = ""
    if row.delta is not None and row.delta.reference == found.reference:
        asked = "row"
    elif row.base is not None and found.reference == baseline_row(table):
        asked = "baseline"
    return PublishedCell(
        top1=None,
        top5=None,
        delta=delta,
        source=source,
        delta_source=source,
        table=published.number,
        column=published.columns[column].label,
        step=published.rows[found.row].step,
        against=published.rows[found.against].step,
        asked=asked,
        inside=_inside(_asked(row, asked), delta, report),
    )


def _delta(
    published: PublishedTable, column: int, at: int, against: int | None, report: ReportTable
) -> tuple[Decimal | None, Source]:
    """The difference of two printed figures, exact, and the weaker of their sources."""
    line = published.rows[at]
    if against is None:
        return None, line.source[column]
    metric = cast("Literal['top1', 'top5']", report.metric.name)
    other = published.rows[against]
    sources = (line.source[column], other.source[column])
    delta = line.figure(metric, column) - other.figure(metric, column)
    return delta, min(sources, key=_WEAKEST.index)


def _asked(row: ReportRow, asked: Literal["row", "baseline", ""]) -> Comparison | None:
    return {"row": row.delta, "baseline": row.base, "": None}[asked]


def _inside(
    comparison: Comparison | None, delta: Decimal | None, report: ReportTable
) -> bool | None:
    effect = comparison.effect if comparison else None
    if delta is None or effect is None or effect.low is None or effect.high is None:
        return None
    scale = report.metric.scale
    return bool(effect.low * scale <= float(delta) <= effect.high * scale)
