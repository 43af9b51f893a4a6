"""The metric of every trial of a table, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablate.report.html.views import Epochs
from ablate.report.model import ReportTable


@dataclass(frozen=True)
class Trajectories:
    """Curves of one table in the unit printed; NaN where there is no number.

    epochs: numbers of those that are kept, from 1, the last one among them. rows: by row and seed,
    [epochs]; rows without a finished trial are not in it. means: by row, over the seeds there are.
    """

    epochs: tuple[int, ...]
    rows: Mapping[int, Mapping[int, tuple[float, ...]]]
    means: Mapping[int, tuple[float, ...]]

    def differences(self, row: int, other: int) -> dict[int, tuple[float, ...]]:
        """Row minus other of every seed that both have."""
        mine, theirs = self.rows[row], self.rows[other]
        return {
            seed: tuple(a - b for a, b in zip(mine[seed], theirs[seed], strict=True))
            for seed in mine
            if seed in theirs
        }

    def difference(self, row: int, other: int) -> tuple[float, ...]:
        """The mean of `differences`."""
        return _mean(list(self.differences(row, other).values()), len(self.epochs))


def trajectories(table: ReportTable, epochs: Epochs, every: int = 1) -> Trajectories:
    """Curves of the trials that are done; every `every`-th epoch, the first and the last."""
    name, scale = table.metric.name, table.metric.scale
    read: dict[int, dict[int, list[float]]] = {}
    length = 0
    for i, row in enumerate(table.rows):
        for cell in row.seeds:
            if cell.values:
                values = _by_epoch(name, scale, epochs(cell.key))
                if any(map(math.isfinite, values)):
                    read.setdefault(i, {})[cell.seed] = values
                    length = max(length, len(values))
    kept = sorted({0, *range(length - 1, -1, -every)}) if length else []
    rows = {
        i: {
            seed: tuple(v[k] if k < len(v) and math.isfinite(v[k]) else math.nan for k in kept)
            for seed, v in lines.items()
        }
        for i, lines in read.items()
    }
    means = {i: _mean(list(lines.values()), len(kept)) for i, lines in rows.items()}
    return Trajectories(tuple(k + 1 for k in kept), rows, means)


def _by_epoch(name: str, scale: float, epochs: Sequence[Mapping[str, float]]) -> list[float]:
    """The metric of every epoch from the first on; NaN for one that was not read."""
    found = {int(e.get("epoch") or i): e.get(name, math.nan) for i, e in enumerate(epochs, 1)}
    return [float(found.get(i, math.nan)) * scale for i in range(1, max(found, default=0) + 1)]


def _mean(lines: Sequence[Sequence[float]], length: int) -> tuple[float, ...]:
    """By epoch, over the numbers there are."""
    found = []
    for i in range(length):
        known = [line[i] for line in lines if math.isfinite(line[i])]
        found.append(sum(known) / len(known) if known else math.nan)
    return tuple(found)
