"""Made-up tables whose rows are sets of tricks: keys go by the set, so that tables share trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ablate.core.resolved_study import Row, Table
from ablate.report import build_tables
from ablate.report.model import Block, BlockLine, ReportTable
from tests.helpers.report_studies import Result, key, study

Sets = Sequence[Sequence[str]]

PLANTED = {("a",): 0.03, ("b",): 0.02, ("c",): -0.02, ("a", "b"): -0.02, ("c", "d"): 0.03}


def label(members: Sequence[str]) -> str:
    return " + ".join(sorted(members)) or "baseline"


def subsets(tricks: Sequence[str]) -> list[tuple[str, ...]]:
    return [c for size in range(len(tricks) + 1) for c in combinations(tricks, size)]


def set_table(
    kind: str,
    sets: Sets,
    factors: Sequence[str],
    *,
    seeds: int = 3,
    dataset: str = "imagenette",
    base: Sequence[str] = (),
    **more: Any,
) -> Table:
    """Rows with these sets in force; the first is what the others are compared with, but in a
    cumulative table the one before."""
    above = (
        [None, *range(len(sets) - 1)] if kind == "cumulative" else [None, *[0] * (len(sets) - 1)]
    )
    reference = {"cumulative": "above", "leave_one_out": "full"}.get(kind, "baseline")
    rows = [
        Row(
            label=label(members),
            tricks=(*base, *members),
            role="baseline" if i == 0 else "step",
            above=above[i],
            keys=tuple(key(label(members), s, dataset) for s in range(seeds)),
            factors=tuple(f for f in factors if f in members),
        )
        for i, members in enumerate(sets)
    ]
    options = {"ablation": kind, "reference": reference, "total": False} | more
    return Table(
        kind=kind,
        dataset=dataset,
        column="",
        seeds=tuple(range(seeds)),
        rows=tuple(rows),
        factors=tuple(factors),
        **options,
    )


def orderings(orders: Sequence[Sequence[str]], **more: Any) -> Table:
    """A table of orderings, rows as the orders first reach them."""
    sets: list[frozenset[str]] = []
    for order in orders:
        for length in range(len(order) + 1):
            if frozenset(order[:length]) not in sets:
                sets.append(frozenset(order[:length]))
    paths = [[sets.index(frozenset(o[:n])) for n in range(len(o) + 1)] for o in orders]
    rows = [[t for t in orders[0] if t in members] for members in sets]
    return set_table("orderings", rows, orders[0], orders=tuple(map(tuple, paths)), **more)


def of_sets(
    values: Mapping[Sequence[str], Sequence[float]], *, examples: int = 3925, **more: Any
) -> dict[str, Result]:
    """By set: top-1 as a fraction for each seed."""
    found = {}
    for members, line in values.items():
        for seed, top1 in enumerate(line):
            final = {"top1": top1, "loss": 1 - top1}
            epochs = [{"epoch": 1, "seconds": 8.0, "train_loss": top1, **final}] * 2
            where = key(label(members), seed, **more)
            found[where] = Result(final, epochs, [8.0, 8.0], summary={"examples": examples})
    return found


def planted(
    effects: Mapping[Sequence[str], float], tricks: Sequence[str], *, seeds: int, noise: float
) -> dict[tuple[str, ...], np.ndarray]:
    """Accuracies of every subset: .8, effects of sets on whatever contains them, seed and noise."""
    generator = np.random.default_rng(7)
    luck = generator.normal(0, 0.005, seeds)
    return {
        members: 0.8
        + sum(e for s, e in effects.items() if set(s) <= set(members))
        + luck
        + generator.normal(0, noise, seeds)
        for members in subsets(tricks)
    }


def built(
    *tables: Table, results: Mapping[str, Any], states: Any = None, **more: Any
) -> list[ReportTable]:
    return build_tables(study(*tables, **more), results, states or {})


def block(table: ReportTable, name: str) -> Block:
    (found,) = (one for one in table.blocks if one.name == name)
    return found


def line(found: Block, name: str) -> BlockLine:
    (one,) = (one for one in found.lines if one.label == name)
    return one


def points(found: Block, name: str, head: str) -> tuple[float, float | None]:
    """(estimate, standard error) of a cell, in points."""
    cell = line(found, name).cells[found.heads.index(head)]
    assert cell is not None
    assert cell.value is not None
    se = cell.effect.se if cell.effect else None
    return 100 * cell.value, None if se is None else 100 * se
