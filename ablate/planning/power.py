"""What a number of seeds can resolve, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate.core.metrics import metric_named

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy, Table
    from ablate.store.store import Store

# Error rates at the end of a training, where nothing is stored yet: what one expects to meet.
_TYPICAL_ERROR = {
    "imagenette": 0.10,
    "imagewoof": 0.20,
    "cifar10": 0.06,
    "cifar100": 0.25,
    "imagenet": 0.24,
    "places365": 0.44,  # ResNet-50's
}
_OTHERWISE = 0.10


@dataclass(frozen=True)
class Resolution:
    """A table's smallest detectable difference by number of seeds, in points.

    label: data set, column or ablation where they tell tables apart, and what of a table whose rows
    are sets: "digits · main effects". comparisons: the family's
    size. error: share of wrong images assumed; measured: from stored trials of the baseline.
    noise: expected standard deviation of one trial, in points. by_seeds: None where it cannot
    be; with `--until resolved` those of the looks, each at its level.
    """

    label: str
    comparisons: int
    error: float
    measured: bool
    images: int
    noise: float
    by_seeds: Mapping[int, float | None]


def resolutions(resolved: ResolvedStudy, store: Store | None) -> tuple[Resolution, ...]:
    """One for each table whose metric is a share of the test images, which are counted."""
    if not metric_named(resolved.metric).of_examples:
        return ()
    several = len({table.ablation for table in resolved.tables}) > 1
    found = []
    for table in resolved.tables:
        parts = [table.dataset, table.column, table.ablation if several else ""]
        found += _resolutions(resolved, table, " · ".join(p for p in parts if p), store)
    return tuple(found)


def seeds_to_show(declared: int) -> tuple[int, ...]:
    """The declared number and three more."""
    steps = [n for n in (3, 5, 10, 20, 50, 100, 200) if n > declared][:3]
    return (declared, *steps) if declared > 1 else (2, *steps)


def _resolutions(
    resolved: ResolvedStudy, table: Table, label: str, store: Store | None
) -> list[Resolution]:
    """One of a table whose comparisons are all between two rows, else one for each part."""
    from ablate.core.comparisons import most_df
    from ablate.stats import expected_noise

    rows, comparisons = family(table)
    images = _test_images(resolved, table)
    if images is None or not comparisons:
        return []
    measured = _measured_error(resolved, table, store)
    error = measured if measured is not None else _TYPICAL_ERROR.get(table.dataset, _OTHERWISE)
    scale = metric_named(resolved.metric).scale
    noise = scale * expected_noise(max(error, 0.5 / images), images)
    return [
        Resolution(
            label=f"{label} · {part}" if part else label,
            comparisons=comparisons,
            error=error,
            measured=measured is not None,
            images=images,
            noise=noise,
            by_seeds={
                n: _detectable(noise, squares, rows, comparisons, n, most_df(table), alpha)
                for n, alpha in levels(resolved).items()
            },
        )
        for part, squares in _squares(table).items()
    ]


def levels(resolved: ResolvedStudy) -> dict[int, float]:
    """The numbers of seeds to show, and the level of the tests at each."""
    if resolved.until is not None:
        return dict(resolved.until.looks)
    return dict.fromkeys(seeds_to_show(len(resolved.seeds)), 0.05)


def _detectable(
    noise: float,
    squares: float,
    rows: int,
    comparisons: int,
    seeds: int,
    most: int | None,
    alpha: float,
) -> float | None:
    """In the unit of `noise`. squares: Σc² of the contrast. most: df that it has at most."""
    from ablate.stats import degrees_of_freedom, smallest_detectable

    se = noise * math.sqrt(squares / seeds)
    df = degrees_of_freedom(rows, seeds)
    if most is not None:
        df = min(df, most)
    return smallest_detectable(se, df, comparisons, alpha=alpha)


def _squares(table: Table) -> dict[str, float]:
    """Σc² of the least certain contrast of each part of the family; "" for pairs of rows."""
    from ablate.core.comparisons import questions

    found: dict[str, float] = {} if not table.judges_rows else {"": 2.0}
    for question in questions(table):
        squares = float((question.coefficients**2).sum())
        if not question.empty:
            found[question.part] = max(squares, found.get(question.part, 0.0))
    return found


def family(table: Table) -> tuple[int, int]:
    """(rows that differ, comparisons that are corrected together), as the report counts them."""
    from ablate.core.comparisons import distinct, questions, row_questions

    kept, place = distinct(table)
    pairs = {(place[row], place[reference]) for row, reference in row_questions(table)}
    comparisons = sum(row != reference for row, reference in pairs)
    return len(kept), comparisons + sum(not question.empty for question in questions(table))


def _test_images(resolved: ResolvedStudy, table: Table) -> int | None:
    from ablate.data.fingerprint import known_counts

    dataset = resolved.trials[table.rows[0].keys[0]].dataset
    counts = known_counts(dataset)
    return None if counts is None else min(counts[1], dataset.limit or counts[1])


def _measured_error(resolved: ResolvedStudy, table: Table, store: Store | None) -> float | None:
    if store is None:
        return None
    results = [store.result(key) for key in table.rows[0].keys]
    values = [r.final[resolved.metric] for r in results if r and resolved.metric in r.final]
    finite = [value for value in values if math.isfinite(value)]
    return metric_named(resolved.metric).error(sum(finite) / len(finite)) if finite else None
