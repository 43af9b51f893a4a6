"""Parts of a split: the tenths of train held out to choose settings on, and `--limit N`.

Which images these are follows from their labels and a fixed stream: the same for every row, and as
many of every class as can be. Test images are never held out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ablate.core import rng
from ablate.errors import AblateError

TENTH = 10  # one image of so many


def held_out(
    labels: NDArray[np.int64], ids: NDArray[np.int64], one_in: int = TENTH, fold: int = 0
) -> NDArray[np.int64]:
    """Sorted members of `ids` that are held out: of every class its share, rounded.

    labels: int64 [whole split], indexed by id. ids: those in use, within the limit. fold: which of
    the `one_in` parts, from 0. Within a class images are in the order of their draws, and the parts
    follow one another in it: they are disjoint, and together all of the class. A class with fewer
    images than parts gives one to each, by turns, so that each class can be got right, and keeps at
    least one; one image alone is never held out. Raises AblateError where no class has two.
    """
    if not 0 <= fold < one_in:
        raise ValueError(f"fold: 0 to {one_in - 1}, not {fold}")
    draws = rng.uniforms(rng.stream_key("held out"), ids, 1)[:, 0]
    of = labels[ids]
    order = np.lexsort((draws, of))  # by class, then draw
    rank = np.empty(len(ids), dtype=np.int64)  # within the class
    starts = np.searchsorted(of[order], of[order], side="left")
    rank[order] = np.arange(len(ids)) - starts
    sizes = np.bincount(of)
    begin, end = ((2 * part * sizes + one_in) // (2 * one_in) for part in (fold, fold + 1))
    few = sizes < one_in
    begin = np.where(few, fold % np.maximum(sizes, 1), begin)
    end = np.where(few, begin + (sizes > 1), end)
    chosen = np.sort(ids[(begin[of] <= rank) & (rank < end[of])]).astype(np.int64)
    if not len(chosen):
        raise AblateError(
            f"{len(ids):,} training images are too few to hold some out: no class has two",
            hint="a larger --limit, or no tune",
        )
    return chosen


def limited(labels: NDArray[np.int64], limit: int | None, split: str) -> NDArray[np.int64]:
    """Sorted positions of at most `limit` images, class-balanced.

    Classes share the limit equally, lower labels get what does not divide, and what a small class
    cannot give goes to the others. Within a class, the images with the smallest draws of a fixed
    stream: the same ones for every seed, and more of them for a larger limit.
    """
    count = len(labels)
    if limit is None or limit >= count:
        return np.arange(count, dtype=np.int64)
    draws = rng.uniforms(rng.stream_key("limit", split), np.arange(count, dtype=np.int64), 1)[:, 0]
    order = np.lexsort((draws, labels))  # by class, then draw
    rank = np.empty(count, dtype=np.int64)  # within the class
    starts = np.searchsorted(labels[order], labels[order], side="left")
    rank[order] = np.arange(count) - starts
    # round robin over the classes: everyone's first, then everyone's second, …
    chosen = np.lexsort((labels, rank))[:limit]
    return np.sort(chosen).astype(np.int64)
