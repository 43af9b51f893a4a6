"""Contrasts over rows that are sets of tricks, for designs that share trials.

Each function returns coefficients [rows] for `BlockFit.contrast`, given the rows' sets of tricks. A
set that the design lacks raises KeyError with the set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import factorial

import numpy as np

from ablate.stats.noise import Floats

Sets = Sequence[frozenset[str]]


def single(rows: Sets, trick: str) -> Floats:
    """`trick` alone against nothing."""
    return _sum(rows, [(1.0, {trick}), (-1.0, ())])


def leave_out(rows: Sets, trick: str) -> Floats:
    """What is lost when `trick` leaves the full set."""
    full = _all(rows)
    return _sum(rows, [(1.0, full), (-1.0, full - {trick})])


def redundancy(rows: Sets, trick: str) -> Floats:
    """How much more `trick` brings alone than on top of all others."""
    difference: Floats = single(rows, trick) - leave_out(rows, trick)
    return difference


def shapley(rows: Sets, trick: str) -> Floats:
    """`trick`'s share: its marginal averaged over all orders, |S|!(k − |S| − 1)!/k! (Shapley)."""
    tricks = _all(rows)
    k = len(tricks)
    terms: list[tuple[float, Iterable[str]]] = []
    for size in range(k):
        weight = factorial(size) * factorial(k - size - 1) / factorial(k)
        for others in combinations(sorted(tricks - {trick}), size):
            terms += [(weight, {*others, trick}), (-weight, others)]
    return _sum(rows, terms)


def main_effect(rows: Sets, trick: str) -> Floats:
    """Mean with `trick` minus mean without, over a full factorial: ±2^(1−k)."""
    weight = 2.0 / len(rows)
    return np.array([weight if trick in row else -weight for row in rows])


def interaction(rows: Sets, first: str, second: str) -> Floats:
    """How `first`'s effect changes with `second`, over a full factorial: +, −, −, +."""
    weight = 4.0 / len(rows)
    return np.array([weight if (first in row) == (second in row) else -weight for row in rows])


def _all(rows: Sets) -> frozenset[str]:
    return frozenset().union(*rows)


def _sum(rows: Sets, terms: Iterable[tuple[float, Iterable[str]]]) -> Floats:
    index = {row: i for i, row in enumerate(rows)}
    coefficients = np.zeros(len(rows))
    for weight, members in terms:
        coefficients[index[frozenset(members)]] += weight
    return coefficients
