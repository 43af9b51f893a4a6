"""The trials of a row: what is there, what is missing, and why."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from ablate import stats
from ablate.core.metrics import MEASURED, Metric
from ablate.core.resolved_study import Row, Table
from ablate.report import numbers
from ablate.report.model import Diverged, SeedValue, TrialResultLike, TrialStateLike

_WORDS = {"failed": "failed", "oom": "out of memory"}


def seed_values(
    row: Row,
    seeds: Sequence[int],
    results: Mapping[str, TrialResultLike],
    states: Mapping[str, TrialStateLike],
    hidden_times: Collection[str],
) -> tuple[SeedValue, ...]:
    """One entry per seed, in the order of `seeds`."""
    found = []
    for seed, key in zip(seeds, row.keys, strict=True):
        result, state = results.get(key), states.get(key)
        time = result.curves.seconds if result and key not in hidden_times else None
        summary = result.summary if result else {}
        found.append(
            SeedValue(
                seed=seed,
                key=key,
                status="done" if result else state.status if state else "new",
                message=state.message if state else "",
                values=dict(result.final) if result else {},
                epoch_seconds=time,
                started=result.started if result else "",
                finished=result.finished if result else "",
                environment=dict(result.environment) if result else {},
                parameters=_count(summary.get("parameters")),
                macs=_count(summary.get("macs")),
                images_per_second=_speed(result, time) if result else None,
            )
        )
    return tuple(found)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _speed(result: TrialResultLike, seconds: float | None) -> float | None:
    """Training images of an epoch over the epoch's time."""
    images = result.curves.images
    return images / seconds if images and seconds else None


def common(row: Sequence[SeedValue], name: Literal["parameters", "macs"]) -> int | None:
    """What all seeds that know it say; None where they differ, or none does."""
    known = {value for cell in row if (value := getattr(cell, name)) is not None}
    return known.pop() if len(known) == 1 else None


def speed(row: Sequence[SeedValue]) -> float | None:
    """Images per second, the geometric mean over seeds as of the times."""
    known = [math.log(cell.images_per_second) for cell in row if cell.images_per_second]
    return math.exp(sum(known) / len(known)) if known else None


def uneven_models(table: Table, grid: Sequence[Sequence[SeedValue]]) -> list[str]:
    """Rows whose seeds trained models of different size, which only a model's own code can do."""
    words = {"parameters": "parameters", "macs": "multiply-adds"}
    return [
        f"{row.label}: its seeds' models differ in {what}, which are not shown"
        for row, line in zip(table.rows, grid, strict=True)
        for name, what in words.items()
        if len({getattr(cell, name) for cell in line} - {None}) > 1
    ]


def finite(row: Sequence[SeedValue], metric: Metric) -> list[float]:
    """The metric's values of those trials that have one."""
    return [v for cell in row if math.isfinite(v := value(cell, metric))]


def value(cell: SeedValue, metric: Metric) -> float:
    """The metric of one trial; NaN where there is none."""
    return float(cell.values.get(metric.name, math.nan))


def diverged(row: Sequence[SeedValue], metric: Metric) -> int:
    """Seeds whose training, or whose metric, was not finite."""
    return sum(
        cell.status == "diverged"
        or (
            cell.status == "done"
            and metric.name in cell.values
            and not math.isfinite(value(cell, metric))
        )
        for cell in row
    )


def share_diverged(
    row: Sequence[SeedValue], metric: Metric, *, alpha: float = 0.05
) -> Diverged | None:
    """The share of diverged trainings, with its interval; None where none diverged."""
    count, of = _ended(row, metric)
    return Diverged(count, of, *stats.share_interval(count, of, level=1 - alpha)) if count else None


def diverged_p(
    row: Sequence[SeedValue], reference: Sequence[SeedValue], metric: Metric
) -> float | None:
    """p that two rows diverge equally often; None where neither did, or one has not ended."""
    mine, others = _ended(row, metric), _ended(reference, metric)
    if not (mine[0] or others[0]) or not (mine[1] and others[1]):
        return None
    return stats.fisher_exact(mine, others)


def _ended(row: Sequence[SeedValue], metric: Metric) -> tuple[int, int]:
    """(diverged, those with a value or diverged)."""
    lost = diverged(row, metric)
    return lost, lost + len(finite(row, metric))


def no_effect(row: Sequence[SeedValue]) -> bool:
    """Whether a trial found that the row's trick changes nothing."""
    return any(cell.status == "no_effect" for cell in row)


def _beside(
    row: Row, other: Row, shares: tuple[tuple[int, int], tuple[int, int]], alpha: float
) -> str | None:
    """How often a row and its reference diverged, where so many seeds could show a difference."""
    (mine, ended), (others, of) = shares
    if not (mine or others) or stats.fisher_exact((ended, ended), (0, of)) >= alpha:
        return None
    p = stats.fisher_exact(*shares)
    small = "< .001" if p < 0.001 else f"= {p:.2g}".replace("= 0.", "= .")
    return (
        f"{row.label} diverged in {mine} of {ended} seeds, {other.label} in {others} of {of}: "
        f"Fisher's exact p {small}, not corrected"
    )


def notes(
    table: Table, grid: Sequence[Sequence[SeedValue]], metric: Metric, *, alpha: float = 0.05
) -> list[str]:
    """Seeds that diverged and are left out of a row's numbers, and tricks that changed nothing."""
    found = []
    for row, line in zip(table.rows, grid, strict=True):
        if no_effect(line):
            why = next((c.message for c in line if c.status == "no_effect" and c.message), "")
            found.append(f"{row.label}: no effect" + (f": {why}" if why else ""))
        lost = [str(cell.seed) for cell in line if diverged([cell], metric)]
        if share := share_diverged(line, metric, alpha=alpha):
            seeds = f"seed{'s' * (len(lost) > 1)} {', '.join(lost)}"
            how_often = numbers.share(share, alpha)
            found.append(f"{row.label}: {seeds} diverged ({how_often}), left out of mean and Δ")
        if row.above is not None:
            other = table.rows[row.above]
            shares = _ended(line, metric), _ended(grid[row.above], metric)
            found += filter(None, [_beside(row, other, shares, alpha)])
        lacking = [
            cell.seed for cell in line if cell.status == "done" and metric.name not in cell.values
        ]
        if lacking:
            seeds = f"seed{'s' * (len(lacking) > 1)} {', '.join(map(str, lacking))}"
            found.append(f"{row.label}: no {metric.label} of {seeds}")
    return found


def failures(table: Table, grid: Sequence[Sequence[SeedValue]]) -> list[str]:
    """A line for each trial that failed: key, place, why."""
    return [
        f"{cell.key[:6]} {table.dataset} · {row.label} · seed {cell.seed}: {_why(cell)} "
        f"(ablate logs {cell.key[:6]})"
        for row, line in zip(table.rows, grid, strict=True)
        for cell in line
        if cell.status in _WORDS
    ]


def _why(cell: SeedValue) -> str:
    """ "out of memory; tried 2.1 GiB"; of a failure its message alone."""
    word = _WORDS[cell.status]
    if cell.message and (cell.status == "failed" or cell.message.startswith(word)):
        return cell.message
    return "; ".join(part for part in (word, cell.message) if part)


def identical_rows(
    table: Table, references: Sequence[int | None], results: Mapping[str, TrialResultLike]
) -> list[str]:
    """Rows whose curves equal their reference's to the last bit, though they are other trials."""
    found = []
    for i, reference in enumerate(references):
        if reference is None:
            continue
        row, other = table.rows[i], table.rows[reference]
        pairs = [
            (results[a], results[b])
            for a, b in zip(row.keys, other.keys, strict=True)
            if a in results and b in results
        ]
        same = pairs and all(a.curves.same(b.curves, tuple(MEASURED)) for a, b in pairs)
        if row.keys != other.keys and same:
            found.append(
                f"{row.label} and {other.label} have bit-identical curves: "
                f"what differs between them changed nothing"
            )
    return found
