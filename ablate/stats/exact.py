"""Two checkpoints on the same images, exactly: what one seed can say, and no more."""

from __future__ import annotations

from typing import Any

import numpy as np


def disagreements(correct_a: Any, correct_b: Any) -> tuple[int, int]:
    """Images [N] that only the first, and that only the second, gets right."""
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"one entry per image twice, not {a.shape} and {b.shape}")
    return int(np.sum(a & ~b)), int(np.sum(b & ~a))


def mcnemar(correct_a: Any, correct_b: Any) -> float:
    """Two-sided p that both err equally often on images like these (McNemar, 1947; exact).

    correct_a, correct_b: [N]. Of the images on which they disagree half should go to each; 1 where
    they disagree on none.
    """
    only_a, only_b = disagreements(correct_a, correct_b)
    if only_a == only_b:
        return 1.0
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))
