"""Epoch times of a table: which may be compared, and their ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ablate import stats
from ablate.core.comparisons import distinct
from ablate.core.resolved_study import ResolvedStudy, Table
from ablate.core.trial import Trial
from ablate.report.model import SeedValue, TrialResultLike


@dataclass(frozen=True)
class Times:
    """Keys of the trials whose time may not be compared, and why."""

    hidden: frozenset[str]
    notes: tuple[str, ...]


def comparable(
    resolved: ResolvedStudy, table: Table, results: Mapping[str, TrialResultLike]
) -> Times:
    """Hide times of other devices, of trials that shared theirs or were profiled, of FP16 on a CPU,
    and of trials on a CPU that lost it to others."""
    done = {key: results[key] for row in table.rows for key in row.keys if key in results}
    names = sorted({str(r.environment.get("device_name", "unknown")) for r in done.values()})
    if len(names) > 1:
        return Times(frozenset(done), (f"times not compared: {' and '.join(names)}",))
    shared = {key for key, r in done.items() if r.environment.get("shared_device")}
    profiled = {key for key, r in done.items() if r.environment.get("profiled")}
    slow = {
        key
        for key, r in done.items()
        if r.summary.get("precision") == "float16"
        and resolved.trials[key].numerics.device_type == "cpu"
    }
    hidden = shared | profiled | slow
    judged = {key: results[key] for key in done if key not in hidden}
    lost = busy(resolved.trials, judged)
    notes = []
    if done and all(r.curves.epochs < 2 for r in done.values()):
        notes.append("times not shown: the first epoch, which warms up, is the only one")
    if shared:
        notes.append("times not shown: trials ran side by side on one device")
    if profiled - shared:
        notes.append("times not shown of trials trained with --profile")
    if slow - shared - profiled:
        notes.append("times not shown for fp16 on a CPU")
    if lost:
        notes.append(f"times not compared of {len(lost)} of {len(done)} trials: {_busy(lost)}")
    return Times(frozenset(hidden | lost.keys()), tuple(notes))


def busy(trials: Mapping[str, Trial], results: Mapping[str, TrialResultLike]) -> dict[str, float]:
    """Of trials of one table, those that a busy machine kept waiting, and the share of a processor
    that each had.

    Only where a trial has one thread on a CPU: a GPU is waited for without a processor, and how
    much of several threads a model can use depends on the model.
    """
    alone = [key for key in results if _one_thread(trials[key])]
    shares = [results[key].curves.processor_share for key in alone]
    return {
        key: share
        for key, share, lost in zip(alone, shares, stats.disturbed(shares), strict=True)
        if lost and share is not None
    }


def _busy(shares: Mapping[str, float]) -> str:
    low, high = (f"{100 * end(shares.values()):.0f}" for end in (min, max))
    part = low if low == high else f"{low} to {high}"
    return f"the machine was busy, they had a processor for {part}% of the time"


def _one_thread(trial: Trial) -> bool:
    return trial.numerics.device_type == "cpu" and trial.numerics.threads == 1


class Ratios:
    """Times of a table's rows. seconds, to_reference: by row, None where not known."""

    def __init__(
        self, table: Table, grid: Sequence[Sequence[SeedValue]], references: Sequence[int | None]
    ) -> None:
        times = np.array(
            [[np.nan if c.epoch_seconds is None else c.epoch_seconds for c in row] for row in grid]
        )
        kept, self._place = distinct(table)
        self._fit = stats.time_fit(times[kept])
        # geometric means, whose quotients are the ratios
        self.seconds = [
            float(np.exp(np.log(row[np.isfinite(row)]).mean())) if np.isfinite(row).any() else None
            for row in times
        ]
        self.to_reference = [
            None if reference is None else self.between(i, reference)
            for i, reference in enumerate(references)
        ]

    def between(self, row: int, reference: int) -> stats.Ratio | None:
        """Time of a row over that of another; None where it is not known, or both are the same
        trials."""
        mine, other = self._place[row], self._place[reference]
        return None if mine == other else stats.time_ratio(self._fit, mine, other)
