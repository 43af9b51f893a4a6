"""What a number of seeds can resolve, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ablate.core.metrics import metric_named
from ablate.core.table_looks import look_at
from ablate.stats import error_rates, fit
from ablate.store.past_looks import past_looks

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
MOST_SEEDS = 20  # of a row that are looked for in the store


@dataclass(frozen=True)
class Resolution:
    """A table's smallest detectable difference by number of seeds, in points.

    label: data set, column or ablation where they tell tables apart, and what of a table whose rows
    are sets: "digits · main effects". comparisons: the family's
    size. error: share of wrong images assumed; measured: from stored trials of the baseline.
    noise: standard deviation of one trial, in points; stored: of how many stored trials, 0 where it
    is what error and images let expect. by_seeds: None where it cannot be. levels: of the tests at
    each number of seeds, as they were looked at or will be.
    """

    label: str
    comparisons: int
    error: float
    measured: bool
    images: int
    noise: float
    by_seeds: Mapping[int, float | None]
    levels: Mapping[int, float]
    stored: int = 0


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
    known = stored_noise(resolved, table, store, images)
    noise, trials = known or (expected_noise(max(error, 0.5 / images), images), 0)
    noise *= scale
    alphas = levels(resolved, table, store)
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
                for n, alpha in alphas.items()
            },
            levels=alphas,
            stored=trials,
        )
        for part, squares in _squares(table).items()
    ]


def levels(resolved: ResolvedStudy, table: Table, store: Store | None) -> dict[int, float]:
    """The numbers of seeds to show, and the level of the tests at each: that of a look which was
    made, or of the next one."""
    if resolved.until is not None:
        return dict(resolved.until.looks)
    before = past_looks(resolved, table, store) if store is not None else ()
    declared = len(resolved.seeds)
    return {
        n: look_at(before, table.seeds if n == declared else tuple(range(n))).alpha
        for n in seeds_to_show(declared)
    }


def stored_noise(
    resolved: ResolvedStudy, table: Table, store: Store | None, images: int
) -> tuple[float, int] | None:
    """(standard deviation of one trial as stored, from how many) that finished trials have.

    As the report's fit has it, for the pair of rows that it is largest for; None where nothing is
    stored that tells it.
    """
    if store is None:
        return None
    from ablate.core.comparisons import distinct, row_questions

    kept, place = distinct(table)
    values = np.array([_stored(resolved, table, row, store) for row in kept])
    there = np.isfinite(values)
    values = values[:, there.sum(axis=0) > 1]
    if not values.size:
        return None
    metric = metric_named(resolved.metric)
    right = metric.right(values)
    found = fit(values, error_rates(right, accuracy=metric.of_examples, examples=images))
    pairs = {(place[a], place[b]) for a, b in row_questions(table) if place[a] != place[b]}
    if not pairs:  # of sets: every row takes part in every question
        pairs = {(i, 0) for i in range(1, len(kept))}
    variances = [
        contrast.variance_per_seed / 2
        for a, b in sorted(pairs)
        if (contrast := found.difference(a, b)) is not None and contrast.variance_per_seed
    ]
    return (math.sqrt(max(variances)), int(there.sum())) if variances else None


def _stored(resolved: ResolvedStudy, table: Table, row: int, store: Store) -> list[float]:
    """The metric of a row's trials: of the table's seeds, and of others that are stored."""
    keys = list(table.rows[row].keys)
    first = resolved.trials.get(keys[0])
    if first is not None and first.teacher is None and table.tuning is None:
        more = (s for s in range(MOST_SEEDS) if s not in table.seeds)
        keys += [first.model_copy(update={"seed": seed}).key for seed in more]
    else:
        keys += [""] * sum(s not in table.seeds for s in range(MOST_SEEDS))
    results = [store.result(key) if key else None for key in keys]
    return [
        float(r.final.get(resolved.metric, math.nan)) if r is not None else math.nan
        for r in results
    ]


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
