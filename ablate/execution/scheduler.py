"""Which trial goes to which free worker: pure, so that it can be simulated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

W = TypeVar("W", bound=Hashable)


def choose(
    waiting: Sequence[str],
    free: Sequence[W],
    compiled: Mapping[W, frozenset[int]],
    graph: Callable[[str], int | None],
    block: Callable[[str], int],
) -> tuple[str, W]:
    """The next trial and the worker that gets it.

    waiting: trials in the order of work, of which any may be next. free: workers without a trial,
    at least one. compiled: the graphs that each worker, free or not, has compiled. graph: that of
    a trial, None if unknown. block: which seed of its row a trial is of.

    A seed of every row goes before the next of any. Among these a worker gets a trial whose graph
    it has; else one whose graph no worker has; else, so that no device is idle, one of the graph
    that most trials wait for. With one worker, or graphs unknown, the order of work decides.
    """
    first = min(map(block, waiting))
    waiting = [key for key in waiting if block(key) == first]
    if len(compiled) == 1:
        return waiting[0], free[0]
    graphs = {key: graph(key) for key in waiting}
    for key in waiting:
        for worker in free:
            if graphs[key] in compiled[worker]:
                return key, worker
    everywhere = frozenset().union(*compiled.values())
    for key in waiting:
        if graphs[key] is None or graphs[key] not in everywhere:
            return key, free[0]
    most = Counter(graphs.values()).most_common(1)[0][0]
    return next(key for key in waiting if graphs[key] == most), free[0]
