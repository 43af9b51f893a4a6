"""A trick's share from several orders of one set: its marginals, averaged, with a standard error.

Three cases. *All orders*: the average is the Shapley value. *A pair*, one order and its reverse:
the average is the Shapley value as far as interactions are between two tricks at most, because each
pair's interaction is counted once in one of the two; the orders are given and not drawn, so the
interval is "in these two orders". *A sample*: the orders are drawn at random and which ones were
drawn is a second source of error, besides the noise of the trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import factorial, sqrt
from typing import Literal

import numpy as np

from ablate.stats.attribution import Sets
from ablate.stats.fit import BlockFit, Contrast

Orders = Sequence[Sequence[int]]
Kind = Literal["all", "pair", "sample"]


def ordering_share(
    fitted: BlockFit, steps: Sequence[tuple[int, int]], *, complete: bool
) -> Contrast | None:
    """A trick's marginal averaged over M orders; None where the cells cannot tell it.

    steps: for every order the row with the trick and the row just before it in that order, see
    `order_steps`; where both are the same trials, the trick changed nothing there and its marginal
    is 0. complete: these orders are all that is asked about (`kind_of_orders` says "all"
    or "pair"); the share is then a plain contrast with the averaged coefficients.

    Else the orders are a random sample of all: V = V_noise + max(0, S² − E)/M, where V_noise is the
    noise of the averaged contrast, S² the variance of the M marginals and E what S² would be by
    noise alone, (Σ_j V_j − M·V_noise)/(M − 1); V, V_j from the fit, so that cells may be missing.
    Degrees of freedom are M − 1, or those of the averaged contrast if they are fewer. Over random
    games of 4–6 tricks that covers 95–100% from 3 orders on; Satterthwaite's, M − 1 for the orders'
    part only, 91–93% with 3 or 4 orders and strong interactions, and S/√M with M − 1 79–94%, since
    it misses what the marginals share (docs/statistics.md). Two orders have one degree of freedom
    and a very wide interval. One order has no standard error. variance_per_seed is None where the
    orders differ by more than noise: seeds cannot make that part smaller.
    """
    if not steps:
        raise ValueError("steps: at least one order")
    rows, orders = len(fitted.values), len(steps)
    each = np.zeros((orders, rows))
    for marginal, (with_trick, before) in zip(each, steps, strict=True):
        marginal[with_trick] += 1.0
        marginal[before] -= 1.0
    share = fitted.contrast(each.mean(axis=0))
    if complete or share is None:
        return share
    marginals = [fitted.contrast(c) for c in each]
    if any(m is None for m in marginals):
        return None
    noises = [m.se for m in marginals if m is not None and m.se is not None]
    if share.se is None or len(noises) < orders or orders < 2:
        return Contrast(share.estimate, None, min(orders - 1, share.df), None)
    spread = float(np.var([m.estimate for m in marginals if m is not None], ddof=1))
    noise = share.se**2
    expected = (sum(se**2 for se in noises) - orders * noise) / (orders - 1)
    between = max(0.0, spread - expected) / orders
    return Contrast(
        share.estimate,
        sqrt(noise + between),
        min(orders - 1, share.df),
        share.variance_per_seed if between == 0 else None,
    )


def order_steps(rows: Sets, orders: Orders, trick: str) -> list[tuple[int, int]]:
    """For every order the row that adds `trick` and the row just before it.

    rows: the tricks in each. orders: rows in the order in which they are gone through, the empty
    set's first. KeyError with the trick if an order never adds it.
    """
    steps = []
    for order in orders:
        found = [
            (row, before)
            for before, row in pairwise(order)
            if trick in rows[row] and trick not in rows[before]
        ]
        if not found:
            raise KeyError(trick)
        steps += found[:1]
    return steps


def kind_of_orders(rows: Sets, orders: Orders) -> Kind:
    """Whether the orders are all k! of them, an order and its reverse, or neither ("sample")."""
    if not orders:
        return "sample"
    paths = [tuple(rows[row] for row in order) for order in orders]
    full = paths[0][-1]
    if len(set(paths)) == len(paths) == factorial(len(full)):
        return "all"
    if len(paths) == 2 and paths[1] == tuple(full - members for members in reversed(paths[0])):
        return "pair"
    return "sample"
