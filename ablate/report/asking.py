"""The tables of a study as a reader asks for them: `Asked`, answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.report import baseline, metrics
from ablate.report.asked import Asked
from ablate.report.build import build_tables
from ablate.report.model import ECE, ReportTable
from ablate.resolved import ResolvedStudy, Table

if TYPE_CHECKING:
    from ablate.store import TrialResult, TrialState


def answer(
    asked: Asked,
    resolved: ResolvedStudy,
    results: Mapping[str, TrialResult],
    states: Mapping[str, TrialState],
    store: Path,
) -> list[ReportTable]:
    """The tables. Raises AblateError for a metric or row that there is not, and for damaged
    predictions."""
    shown = resolved if asked.baseline is None else baseline.against(resolved, asked.baseline)
    if asked.metric == ECE:
        results = metrics.with_calibration(results, store)
    left_out: list[str] = []
    if asked.metric is not None:
        metrics.check_metric(asked.metric, results)
        shown, left_out = _measured(shown, asked.metric, results)
    shown = shown.model_copy(update={"command": _command(resolved.command, asked)})
    tables = build_tables(shown, results, states, metric=asked.metric)
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
    from ablate.report.checkpoints import with_mcnemar
    from ablate.report.classes import with_classes
    from ablate.report.images import with_new_images
    from ablate.report.stored import Stored

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
