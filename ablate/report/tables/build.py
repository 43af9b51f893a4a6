"""From a resolved study and its results to tables: what is compared, and what may be said.

`answer` makes the tables as a reader asks for them, with another metric, baseline or set of blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ablate.core.metrics import ECE, Metric, metric_named
from ablate.core.resolved_study import ResolvedStudy, Table
from ablate.core.table_looks import TableLook
from ablate.errors import AblateError
from ablate.report.model import (
    ReportRow,
    ReportTable,
    SeedValue,
    TrialResultLike,
    TrialStateLike,
)
from ablate.report.options import Asked
from ablate.report.tables import (
    attribution,
    baseline,
    cells,
    compare,
    contrasts,
    datasets,
    metrics,
    notes,
    provenance,
    teachers,
    timing,
)

if TYPE_CHECKING:
    from ablate.store.store import TrialResult, TrialState

Looks = Mapping[tuple[str, str, str], TableLook]  # by ablation, data set and column


def build_tables(
    resolved: ResolvedStudy,
    results: Mapping[str, TrialResultLike],
    states: Mapping[str, TrialStateLike],
    *,
    alpha: float | None = None,
    metric: str | None = None,
    looks: Looks | None = None,
) -> list[ReportTable]:
    """The tables of a study, from what is done of it so far.

    results: by trial key, of trials that are done; states: by trial key, at least of the others
    (a key in neither is new). alpha: level of tests and intervals; None for that of the look of an
    `--until` run, 5% without one. looks: of the tables that have one, whose level they get. metric:
    instead of the study's. Raises AblateError if a table
    mixes numerics, or if the metric was not measured.
    """
    asked = metrics.asked_for(metric or resolved.metric, results)
    if alpha is None:
        alpha = resolved.until.alpha if resolved.until else 0.05
    several = len({table.ablation for table in resolved.tables}) > 1
    made = [
        _table(
            resolved,
            table,
            asked,
            results,
            states,
            alpha,
            (looks or {}).get((table.ablation, table.dataset, table.column)),
            name=several,
        )
        for table in resolved.tables
    ]
    tables = [table for table, _ in made]
    across = attribution.blocks(resolved.tables, tables)
    means = datasets.blocks(tables, [answered for _, answered in made])
    return [
        replace(table, blocks=(*table.blocks, *across.get(i, ()), *means.get(i, ())))
        for i, table in enumerate(tables)
    ]


def _table(
    resolved: ResolvedStudy,
    table: Table,
    metric: Metric,
    results: Mapping[str, TrialResultLike],
    states: Mapping[str, TrialStateLike],
    alpha: float,
    look: TableLook | None,
    *,
    name: bool,
) -> tuple[ReportTable, tuple[contrasts.Answer, ...]]:
    """The table, and what it answers once it is complete."""
    provenance.refuse_mixed_numerics(resolved, table)
    alpha = alpha if look is None else look.alpha
    times = timing.comparable(resolved, table, results)
    grid = [
        cells.seed_values(row, table.seeds, results, states, times.hidden) for row in table.rows
    ]
    _check_measured(metric, grid)
    secondary = _secondary(metric, grid)
    examples = _examples(table, results)
    printed = metrics.margin(resolved, metric)
    margin = printed / metric.scale
    judged = compare.judge(
        table,
        grid,
        metric,
        margin=margin,
        alpha=alpha,
        examples=examples,
        next_alpha=_next_alpha(resolved, look),
    )
    asked = contrasts.of_sets(
        table,
        judged,
        metric,
        margin=margin,
        alpha=alpha,
        next_alpha=_next_alpha(resolved, look),
    )
    ratios = timing.Ratios(table, grid, judged.references)
    rows = []
    for i, row in enumerate(table.rows):
        values = cells.finite(grid[i], metric)
        others = cells.finite(grid[i], secondary) if secondary else []
        rows.append(
            ReportRow(
                label=row.label,
                role=row.role,
                tricks=row.tricks,
                changes=row.changes,
                seeds=grid[i],
                n=len(values),
                mean=float(np.mean(values)) if values else None,
                sd=float(np.std(values, ddof=1)) if len(values) > 1 else None,
                secondary=float(np.mean(others)) if others else None,
                delta=judged.deltas[i],
                base=judged.bases[i],
                verdict=judged.verdicts[i].text,
                mark=judged.verdicts[i].mark,
                dagger=judged.verdicts[i].dagger,
                seconds=ratios.seconds[i],
                ratio=ratios.to_reference[i],
                parameters=cells.common(grid[i], "parameters"),
                macs=cells.common(grid[i], "macs"),
                images_per_second=cells.speed(grid[i]),
                diverged=cells.share_diverged(grid[i], metric, alpha=alpha),
            )
        )
    total = judged.total and replace(judged.total, ratio=ratios.between(*judged.ends))
    errors = judged.standard_errors or [c.se for c in asked.contrasts if c.se is not None]
    decimals = _decimals(metric, errors, rows)
    block = contrasts.block(
        table,
        judged,
        asked,
        metric,
        margin=margin,
        alpha=alpha,
        decimals=decimals,
        examples=examples,
    )
    detectable = judged.detectable if asked.detectable is None else asked.detectable
    made = ReportTable(
        study=resolved.name,
        ablation=table.ablation if name else "",
        dataset=table.dataset,
        column=table.column,
        kind=table.kind,
        reference=table.reference,
        transpose=table.transpose,
        metric=metric,
        secondary=secondary,
        seeds=table.seeds,
        margin=printed,
        alpha=alpha,
        declared="" if metric.name == resolved.metric else resolved.metric,
        rows=tuple(rows),
        baseline=judged.baseline,
        total=total,
        comparisons=judged.comparisons,
        df=judged.df,
        df_most=judged.df_most,
        detectable=None if detectable is None else detectable * metric.scale,
        detectable_best=(
            None if judged.detectable_best is None else judged.detectable_best * metric.scale
        ),
        seeds_needed=judged.seeds_needed or asked.needed,
        seeds_range=judged.seeds_range or asked.needed_range,
        exact_agreement=judged.exact_agreement,
        decimals=decimals,
        examples=examples,
        notes=(
            *metrics.notes(resolved, metric),
            *cells.notes(table, grid, metric, alpha=alpha),
            *notes.at_a_limit(resolved, table, judged, asked, metric, examples),
            *notes.notes(resolved, table),
            *filter(None, [notes.uneven(table, judged)]),
            *notes.known_before(resolved, table),
            *cells.identical_rows(table, judged.references, results),
            *cells.uneven_models(table, grid),
            *teachers.notes(resolved, table, results),
            *filter(None, [asked.note]),
            *times.notes,
            *provenance.mixed(table, results),
        ),
        failures=tuple(cells.failures(table, grid)),
        provenance=provenance.of(resolved, table, results),
        blocks=() if block is None else (block,),
        until=resolved.until,
        look=look,
        tuning=table.tuning,
        chosen=notes.chosen(resolved, table),
    )
    if not judged.fitted.complete():
        return made, ()
    labels = [row.label for row in table.rows]
    return made, asked.answered() or contrasts.of_rows(judged, labels)


def _next_alpha(resolved: ResolvedStudy, look: TableLook | None) -> float | None:
    """Level at which more seeds would be judged; None where nobody counts looks."""
    following = resolved.until.next() if resolved.until else None
    if following is not None:
        return following.alpha
    return None if look is None else look.next_alpha


def _check_measured(metric: Metric, grid: Sequence[Sequence[SeedValue]]) -> None:
    measured = {name for row in grid for cell in row for name in cell.values}
    if measured and metric.name not in measured:
        raise AblateError(
            f"protocol.metric: '{metric.name}' was not measured",
            hint=f"measured: {', '.join(sorted(measured))}",
        )


def _secondary(metric: Metric, grid: Sequence[Sequence[SeedValue]]) -> Metric | None:
    """What the metric says stands beside it, where it was measured."""
    other = metric_named(metric.beside)
    measured = any(other.name in cell.values for row in grid for cell in row)
    return other if measured else None


def _examples(table: Table, results: Mapping[str, TrialResultLike]) -> int | None:
    found = {
        int(results[key].summary["examples"])
        for row in table.rows
        for key in row.keys
        if key in results and results[key].summary.get("examples")
    }
    return found.pop() if len(found) == 1 else None


def _decimals(metric: Metric, errors: Sequence[float], rows: Sequence[ReportRow]) -> int:
    """Of every number of the table: 1 where the standard error is 0.1 or more, else 2."""
    spread = errors or [row.sd / row.n**0.5 for row in rows if row.sd and row.n]
    largest = max(spread, default=0.0) * metric.scale
    if metric.percent:
        return 1 if largest >= 0.1 or not largest else 2
    return min(6, max(2, int(np.ceil(-np.log10(largest)))) if largest else 3)


def answer(
    asked: Asked,
    resolved: ResolvedStudy,
    results: Mapping[str, TrialResult],
    states: Mapping[str, TrialState],
    store: Path,
    looks: Looks | None = None,
) -> list[ReportTable]:
    """The tables. Raises AblateError for a metric or row that there is not, and for damaged
    predictions."""
    shown = resolved if asked.baseline is None else baseline.against(resolved, asked.baseline)
    if asked.metric == ECE.name:
        results = metrics.with_calibration(results, store)
    left_out: list[str] = []
    if asked.metric is not None:
        metrics.check_metric(asked.metric, results)
        shown, left_out = _measured(shown, asked.metric, results)
    shown = shown.model_copy(update={"command": _command(resolved.command, asked)})
    tables = build_tables(shown, results, states, metric=asked.metric, looks=looks)
    tables = [
        replace(table, notes=(*_compared(table, row), *left_out, *table.notes), against=row)
        for table, row in zip(tables, _chosen(shown.tables, asked), strict=True)
    ]
    return _with_blocks(asked, tables, results, store)


def _measured(
    resolved: ResolvedStudy, metric: str, results: Mapping[str, TrialResult]
) -> tuple[ResolvedStudy, list[str]]:
    """Without the tables none of whose trials has the metric, and which those are."""
    kept, left_out = [], []
    for table in resolved.tables:
        done = [results[key] for row in table.rows for key in row.keys if key in results]
        if not done or any(metric in result.final for result in done):
            kept.append(table)
        else:
            where = " ".join(part for part in (table.ablation, table.dataset, table.column) if part)
            left_out.append(f"no {metric} of {where}")
    return resolved.model_copy(update={"tables": tuple(kept)}), left_out


def _chosen(tables: Sequence[Table], asked: Asked) -> list[str]:
    """The label of the row that each table is compared with, "" where none was asked for."""
    if asked.baseline is None:
        return [""] * len(tables)
    found = [baseline.place(table, asked.baseline) for table in tables]
    return [
        "" if i is None else table.rows[i].label for i, table in zip(found, tables, strict=True)
    ]


def _compared(table: ReportTable, label: str) -> list[str]:
    """A reader who chooses what to compare may have seen the results."""
    if not label:
        return []
    return [
        f"every row is compared with {label}, as asked and not as the study declares: exploratory; "
        "no total"
    ]


def _command(command: str, asked: Asked) -> str:
    """The report's command with what was asked; the command of a training stays as it is."""
    import shlex

    if not command.startswith("ablate report"):
        return command
    return shlex.join([*shlex.split(command), *asked.arguments()])


def _with_blocks(
    asked: Asked, tables: Sequence[ReportTable], results: Mapping[str, TrialResult], store: Path
) -> list[ReportTable]:
    if not asked.predictions:
        return list(tables)
    from ablate.report.tables.mcnemar import with_mcnemar
    from ablate.report.tables.new_images import with_new_images
    from ablate.report.tables.per_class import with_classes
    from ablate.report.tables.predictions import Stored

    stored = Stored(store, results)
    wanted = (
        (asked.new_images, with_new_images),
        (asked.per_class, with_classes),
        (asked.mcnemar, with_mcnemar),
    )
    found = list(tables)
    for wants, add in wanted:
        if wants:
            found = [add(table, stored) for table in found]
    return found
