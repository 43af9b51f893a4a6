"""Sets of a stack's entries, as indices: all of them, and those that some orders go through."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

Set = tuple[int, ...]  # ascending


def every_set(entries: int) -> tuple[Set, ...]:
    """All subsets: the empty one, each entry, each pair, ..., all."""
    return tuple(
        members for size in range(entries + 1) for members in combinations(range(entries), size)
    )


def sets_of_orders(
    orders: Sequence[Sequence[int]],
) -> tuple[tuple[Set, ...], tuple[tuple[int, ...], ...]]:
    """(the distinct sets that the orders go through, of each order the index of every set).

    The empty set comes first, then sets as orders first reach them: two orders that agree on which
    entries come first, whatever their order, share that row.
    """
    found: dict[Set, int] = {(): 0}
    paths = []
    for order in orders:
        path = [0]
        for length in range(1, len(order) + 1):
            members = tuple(sorted(order[:length]))
            path.append(found.setdefault(members, len(found)))
        paths.append(tuple(path))
    return tuple(found), tuple(paths)
