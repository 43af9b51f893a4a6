"""`--limit N`: at most N images of a split, as many of every class as can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ablate import streams


def limited(labels: NDArray[np.int64], limit: int | None, split: str) -> NDArray[np.int64]:
    """Sorted positions of at most `limit` images, class-balanced.

    Classes share the limit equally, lower labels get what does not divide, and what a small class
    cannot give goes to the others. Within a class, the images with the smallest draws of a fixed
    stream: the same ones for every seed, and more of them for a larger limit.
    """
    count = len(labels)
    if limit is None or limit >= count:
        return np.arange(count, dtype=np.int64)
    draws = streams.uniforms(streams.key("limit", split), np.arange(count, dtype=np.int64), 1)[:, 0]
    order = np.lexsort((draws, labels))  # by class, then draw
    rank = np.empty(count, dtype=np.int64)  # within the class
    starts = np.searchsorted(labels[order], labels[order], side="left")
    rank[order] = np.arange(count) - starts
    # round robin over the classes: everyone's first, then everyone's second, …
    chosen = np.lexsort((labels, rank))[:limit]
    return np.sort(chosen).astype(np.int64)
