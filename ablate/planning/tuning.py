"""Which setting a row chooses: the one that does best on the images held out of its training.

Never the test images: the trials looked at here were evaluated on none. What was stored decides,
so the same store always gives the same choice, whoever asks: `run`, `plan` or `report`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from ablate.core.metrics import metric_named
from ablate.core.resolved_study import NOT_YET
from ablate.design.tuning_grid import Choice, Choose, nothing_chosen

if TYPE_CHECKING:
    from ablate.store.store import Store

_FAILED = {"failed": "failed", "oom": "ran out of memory", "no_effect": "had no effect"}


def chooser(store: Store | None, metric: str, *, without: AbstractSet[str] = frozenset()) -> Choose:
    """Choices from what is stored now. without: keys whose results do not count (`--retrain`)."""
    if store is None:
        return nothing_chosen

    higher = metric_named(metric).higher_is_better
    known: dict[tuple[str, ...], Choice] = {}

    def choose(keys: tuple[str, ...]) -> Choice:
        if keys not in known:
            asked = [key for key in keys if key not in without]
            states = store.states(asked)
            results = store.results(states)
            known[keys] = best(
                [states[key].status if key in states else "new" for key in keys],
                [results[key].final if key in results else {} for key in keys],
                metric,
                higher_is_better=higher,
            )
        return known[keys]

    return choose


def best(
    statuses: Sequence[str],
    finals: Sequence[Mapping[str, float]],
    metric: str,
    *,
    higher_is_better: bool,
) -> Choice:
    """The setting with the best metric at the last epoch; the first of equals.

    A diverged setting is the worst there is. While one has no result, or failed, none is chosen: a
    row would have had a smaller choice than the others. None, too, where all diverged.
    """
    failed = [name for status, name in _FAILED.items() if status in statuses]
    if failed:
        count = sum(status in _FAILED for status in statuses)
        how = failed[0] if len(failed) == 1 else "failed"
        return Choice(reason=f"{count} of {len(statuses)} trials {how}")
    if any(status not in ("done", "diverged") for status in statuses):
        return Choice(reason=NOT_YET)
    if any(s == "done" and metric not in f for s, f in zip(statuses, finals, strict=True)):
        return Choice(reason=f"{metric} was not measured")
    chosen, value = None, math.inf
    for index, (status, final) in enumerate(zip(statuses, finals, strict=True)):
        if status != "done" or not math.isfinite(measured := final[metric]):
            continue
        loss = -measured if higher_is_better else measured
        if loss < value:
            chosen, value = index, loss
    if chosen is None:
        return Choice(reason="every setting diverged")
    return Choice(chosen)
