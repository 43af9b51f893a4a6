"""The looks at a table: which there were, the number and the level of this one.

A look is a table at some seeds, judged by a metric. The first has 5%, later ones a small rest
(`ablate.stats.level_of`), so that all looks at a table keep 5.5% together. The same seeds again are
the same look, at the level that it had.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate import stats

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy, Table, Until
    from ablate.core.trial import Trial


@dataclass(frozen=True)
class EarlierLook:
    """A look that was made. verdicts: (row, verdict) as printed. planned: of `--until`."""

    seeds: tuple[int, ...]
    alpha: float
    verdicts: tuple[tuple[str, str], ...] = ()
    planned: bool = False


@dataclass(frozen=True)
class TableLook:
    """The look that a table is printed at.

    number: from 1, in the order in which seeds were first judged. earlier: those before it. later:
    how many came after it, where an old one is printed again. not_kept: why the next look will not
    know of it, "" where it will.
    """

    number: int
    alpha: float
    earlier: tuple[EarlierLook, ...] = ()
    later: int = 0
    not_kept: str = ""

    @property
    def error(self) -> float:
        """The share of tables of useless tricks that claim something in these looks, at most."""
        return min(1.0, self.alpha + sum(look.alpha for look in self.earlier))

    @property
    def promise(self) -> float:
        """That share over all looks, also those that may follow, where 5% were spent once."""
        return stats.MOST if self.error <= stats.MOST + 1e-9 else self.error

    @property
    def next_number(self) -> int:
        """Of a look with other seeds."""
        return self.number + self.later + 1

    @property
    def next_alpha(self) -> float:
        """Its level, where it was not planned."""
        return stats.level_of(self.next_number)


def look_at(
    history: Sequence[EarlierLook], seeds: tuple[int, ...], until: Until | None = None
) -> TableLook:
    """The look at a table with these seeds, after those of its history, oldest first.

    until: the look of an `--until` run, which has the level that was planned.
    """
    place = next((i for i, look in enumerate(history) if look.seeds == seeds), None)
    number = len(history) + 1 if place is None else place + 1
    alpha = stats.level_of(number) if place is None else history[place].alpha
    if until is not None:
        alpha = until.alpha
    later = 0 if place is None else len(history) - number
    return TableLook(number, alpha, tuple(history[: number - 1]), later)


def left_for(history: Sequence[EarlierLook], planned: Sequence[tuple[int, float]]) -> bool:
    """Whether (seeds, level) of planned looks can be spent on top of what others have spent."""
    others = sum(look.alpha for look in history if not look.planned)
    return others + sum(alpha for _, alpha in planned) <= stats.MOST + 1e-9


def identity(resolved: ResolvedStudy, table: Table, metric: str) -> str | None:
    """A digest of what a table compares: rows without their seeds, references, kind and metric.

    A row is known by its first seed's trial: None where that seed's settings are not chosen yet.
    """
    rows = []
    for row in table.rows:
        # a row whose seeds choose for themselves is what they choose among, whatever they chose
        chooses = row.tuning and table.tuning is not None and not table.tuning.once
        if not chooses and (row.open[0] or row.keys[0] not in resolved.trials):
            return None
        asked = row.tuning[0] if chooses else row.keys[:1]
        trials = [resolved.trials[key] for key in asked]
        rows.append((*(_without_seed(trial).key for trial in trials), row.above))
    asked_of_all = [table.kind, table.reference, table.total, metric, rows, table.orders]
    return hashlib.sha256(json.dumps(asked_of_all).encode()).hexdigest()


def _without_seed(trial: Trial) -> Trial:
    """The trial of seed 0, on the part of train that is held out for it."""
    dataset = trial.dataset.model_copy(update={"fold": 0})
    return trial.model_copy(update={"seed": 0, "dataset": dataset})
