"""Which test images each trial gets right, for the numbers that single images are needed for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.core.metrics import KNOWN, Metric
from ablate.report.model import ReportTable
from ablate.store.predictions import read_predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ablate.store.store import TrialResult


@dataclass(frozen=True)
class Hits:
    """One trial's test images in the order of their ids: ids, labels [N], correct bool [N]."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    correct: NDArray[np.bool_]
    classes: int

    def alike(self, other: Hits) -> bool:
        """Whether both trials were tested on the same images."""
        import numpy as np

        return (
            self.classes == other.classes
            and np.array_equal(self.ids, other.ids)
            and np.array_equal(self.labels, other.labels)
        )


class Stored:
    """Stored predictions of finished trials, each read once and only when asked for.

    Of the scores nothing is kept: a table of thirty trials on ImageNet takes 25 MB.
    """

    def __init__(self, store: Path, results: Mapping[str, TrialResult]) -> None:
        self._store = store
        self._results = results
        self._read: dict[tuple[str, str], Hits | None] = {}

    def hits(self, key: str, metric: Metric) -> Hits | None:
        """Of one trial, by top-1 or top-5; None without predictions. Raises AblateError for a
        damaged file."""
        place = key, metric.name
        if place not in self._read:
            self._read[place] = self._load(key, metric.among or 1)
        return self._read[place]

    def rows(self, table: ReportTable) -> list[list[Hits | None]]:
        """Of each row's seeds, in the order of `table.seeds`."""
        return [[self.hits(cell.key, table.metric) for cell in row.seeds] for row in table.rows]

    def _load(self, key: str, best: int) -> Hits | None:
        import numpy as np

        result = self._results.get(key)
        found = read_predictions(self._store, key, result.attempt) if result else None
        if found is None:
            return None
        order = np.argsort(found.ids, kind="stable")
        return Hits(
            found.ids[order], found.labels[order], found.correct(best)[order], found.classes
        )


def problem(table: ReportTable, rows: Sequence[Sequence[Hits | None]]) -> str | None:
    """Why images cannot be compared over the trials of a table; None if they can."""
    known = [hits for row in rows for hits in row if hits is not None]
    if not known:
        return "no trial has stored predictions"
    if not all(hits.alike(known[0]) for hits in known):
        return "its trials were tested on different images"
    return None


def lacking(table: ReportTable, rows: Sequence[Sequence[Hits | None]]) -> list[str]:
    """ "7c1e04 (+ mixup, seed 1)": trials that are done and have no predictions."""
    return [
        f"{cell.key[:6]} ({row.label}, seed {cell.seed})"
        for row, line in zip(table.rows, rows, strict=True)
        for cell, hits in zip(row.seeds, line, strict=True)
        if cell.status == "done" and hits is None
    ]


def by_images(metric: Metric) -> bool:
    """Whether a metric counts images that are right."""
    return metric.among is not None


def instead_of(metric: Metric) -> str:
    """Which metrics do, where `metric` does not: "--metric top1 or top5, not loss"."""
    counting = " or ".join(known.name for known in KNOWN.values() if by_images(known))
    return f"--metric {counting}, not {metric.name}"
