"""One fit over rows, of a table or of several, and what of them is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ablate import stats
from ablate.core.metrics import Metric
from ablate.report.model import SeedValue
from ablate.report.tables import cells


@dataclass(frozen=True)
class Fitted:
    """A fit over rows of which those of the same trials are one.

    values: [rows, seeds], NaN where there is none. place: for every row, its place among the fit's.
    diverged, missing: for every row, how many seeds; a missing one is not trained, or failed.
    """

    fit: stats.BlockFit
    values: npt.NDArray[np.float64]
    place: tuple[int, ...]
    diverged: tuple[int, ...]
    missing: tuple[int, ...]

    def complete(self, *rows: int) -> bool:
        """Whether every seed of these rows, all without any named, has a value; several seeds."""
        asked = rows or range(len(self.place))
        lost = any(self.diverged[row] or self.missing[row] for row in asked)
        return self.values.shape[1] > 1 and not lost

    def weighted(self, terms: Sequence[tuple[float, int]]) -> stats.Contrast | None:
        """The contrast Σ weight · row, of rows by their own index; None where it cannot be told."""
        coefficients = np.zeros(len(self.fit.values))
        for weight, row in terms:
            coefficients[self.place[row]] += weight
        return self.fit.contrast(coefficients)


def fit_rows(
    keys: Sequence[tuple[str, ...]],
    grid: Sequence[Sequence[SeedValue]],
    metric: Metric,
    examples: int | None,
) -> Fitted:
    """Fit rows, [rows] of keys and of trials; examples: test images, for the noise of an error."""
    found = [[cells.value(cell, metric) for cell in line] for line in grid]
    values = np.array([[v if np.isfinite(v) else np.nan for v in line] for line in found])
    first = [keys.index(k) for k in keys]  # the row that stands for a row's trials
    kept = sorted(set(first))
    right = metric.right(values[kept])
    errors = stats.error_rates(right, accuracy=metric.of_examples, examples=examples)
    diverged = tuple(cells.diverged(line, metric) for line in grid)
    return Fitted(
        fit=stats.fit(values[kept], errors),
        values=values,
        place=tuple(kept.index(row) for row in first),
        diverged=diverged,
        missing=tuple(
            len(line) - int(np.isfinite(values[i]).sum()) - diverged[i]
            for i, line in enumerate(grid)
        ),
    )
