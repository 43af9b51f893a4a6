"""What a table asks: the comparisons that are corrected together.

Of most kinds each row asks for its difference from another row. A factorial asks for each trick's
main effect and each pair's interaction, a table of orderings for each trick's share, as contrasts
over all rows. `plan` counts these before anything is trained, and the report answers them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from ablate import stats
from ablate.core.resolved_study import Table

Floats = npt.NDArray[np.float64]
Part = Literal["main effects", "interactions", "shares"]


@dataclass(frozen=True)
class Question:
    """One contrast of a table.

    label: a trick, or a pair, "mixup × cosine". part: what it is one of. factors: that it is about.
    coefficients: [rows of the table that differ], see `distinct`. steps: of a share, for every
    order the row with the trick and the row before it, indices of such rows.
    """

    label: str
    part: Part
    factors: tuple[str, ...]
    coefficients: Floats
    steps: tuple[tuple[int, int], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the rows that it compares are the same trials: there is nothing to answer."""
        return bool(np.abs(self.coefficients).max(initial=0.0) < 1e-12)


def distinct(table: Table) -> tuple[list[int], list[int]]:
    """(rows that stand for themselves, for every row the place of its trials among those)."""
    keys = [row.keys for row in table.rows]
    first = [keys.index(k) for k in keys]
    kept = sorted(set(first))
    return kept, [kept.index(row) for row in first]


def total_question(table: Table) -> tuple[int, int] | None:
    """(last row of the trunk, baseline) where their difference is asked for too."""
    steps = [i for i, row in enumerate(table.rows) if row.role == "step"]
    if not (table.total and table.reference == "above" and steps):
        return None
    roles = [row.role for row in table.rows]
    return steps[-1], roles.index("baseline") if "baseline" in roles else 0


def row_questions(table: Table) -> tuple[tuple[int, int], ...]:
    """(row, reference) of every comparison of the family, the total's last; none of a table that
    does not judge its rows. Rows of the same trials are still apart, see `distinct`."""
    if not table.judges_rows:
        return ()
    asked = [(i, row.above) for i, row in enumerate(table.rows) if row.above is not None]
    total = total_question(table)
    return (*asked, *([total] if total else []))


def questions(table: Table) -> tuple[Question, ...]:
    """The family of a factorial or of orderings; none of other kinds, whose rows are the family."""
    sets = [frozenset(row.factors) for row in table.rows]
    if table.kind == "factorial":
        return (*_main_effects(table, sets), *_interactions(table, sets))
    if table.kind == "orderings":
        return tuple(_share(table, sets, trick) for trick in table.factors)
    return ()


def complete_orders(table: Table) -> bool:
    """Whether the shares are about the orders that there are: all, or one and its reverse.

    Else the orders are a sample, and the shares an estimate over all orders.
    """
    sets = [frozenset(row.factors) for row in table.rows]
    return stats.kind_of_orders(sets, table.orders) != "sample"


def most_df(table: Table) -> int | None:
    """Of shares from orders that were drawn: their number less 1, however many seeds there are."""
    sampled = table.kind == "orderings" and not complete_orders(table)
    return len(table.orders) - 1 if sampled else None


def _main_effects(table: Table, sets: Sequence[frozenset[str]]) -> list[Question]:
    return [
        Question(trick, "main effects", (trick,), _folded(table, stats.main_effect(sets, trick)))
        for trick in table.factors
    ]


def _interactions(table: Table, sets: Sequence[frozenset[str]]) -> list[Question]:
    return [
        Question(
            f"{first} × {second}",
            "interactions",
            (first, second),
            _folded(table, stats.interaction(sets, first, second)),
        )
        for first, second in combinations(table.factors, 2)
    ]


def _share(table: Table, sets: Sequence[frozenset[str]], trick: str) -> Question:
    _, place = distinct(table)
    steps = stats.order_steps(sets, table.orders, trick)
    weights = np.zeros(len(sets))
    for after, before in steps:
        weights[after] += 1 / len(steps)
        weights[before] -= 1 / len(steps)
    told = tuple((place[after], place[before]) for after, before in steps)
    return Question(trick, "shares", (trick,), _folded(table, weights), told)


def _folded(table: Table, weights: Floats) -> Floats:
    """Weights of rows that are the same trials, added up."""
    kept, place = distinct(table)
    total = np.zeros(len(kept))
    np.add.at(total, place, weights)
    return total
