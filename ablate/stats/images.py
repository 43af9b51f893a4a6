"""What single test images say of two rows: on new images too, or of two checkpoints exactly.

The default interval answers "new seeds, this test set". In `new_images` both are drawn anew: images
i and seeds s are two crossed random samples, D_is = correct in the row − correct in the reference,
and the variance of their grand mean is that of a two-way layout without repetition. `mcnemar` has
one seed of each, which says something of these two checkpoints and no more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ablate.stats.combine import MeanEffect
from ablate.stats.fit import Contrast


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


FEWEST_SEEDS = 3  # with two, one degree of freedom says nothing of the seeds


def new_images(
    correct: Any, correct_reference: Any, *, seeds: Contrast | None = None, level: float = 0.95
) -> MeanEffect | None:
    """Mean difference of two rows with its interval over new seeds and new images.

    correct, correct_reference: [n seeds, N images], 0 or 1, the same seeds and images in the same
    places. seeds: the same difference for these images, whose noise then is that of the seeds, as
    in every other interval; None for that of these two rows alone. V = (MS_E + max(0, MS_S −
    MS_R)) / (nN), with the mean squares of images (E), seeds (S) and the residual (R), MS_S/(nN)
    being the seeds' variance, and at least that; degrees of freedom by Satterthwaite (1946), N − 1
    where seeds add nothing. None below three seeds or two images, and where every image of every
    seed agrees.
    """
    row, reference = (np.asarray(each, dtype=float) for each in (correct, correct_reference))
    if row.ndim != 2 or row.shape != reference.shape:
        raise ValueError(f"[seeds, images] twice, not {row.shape} and {reference.shape}")
    apart = row - reference
    n, N = apart.shape
    if n < FEWEST_SEEDS or N < 2:
        return None
    by_image, by_seed, delta = apart.mean(axis=0), apart.mean(axis=1), float(apart.mean())
    residual = apart - by_image - by_seed[:, None] + delta
    of_images = float(np.sum((by_image - delta) ** 2)) / (N - 1) / N
    of_seeds, seeds_df = float(np.sum((by_seed - delta) ** 2)) / (n - 1) / n, float(n - 1)
    if seeds is not None and seeds.se is not None:
        of_seeds, seeds_df = seeds.se**2, seeds.df
    left = float(np.sum(residual**2)) / ((n - 1) * (N - 1)) / (n * N)
    variance = of_images + max(0.0, of_seeds - left)
    if not variance > 0:
        return None
    df = float(N - 1)
    if of_seeds > left:
        parts = ((of_images, N - 1), (of_seeds, seeds_df), (left, (n - 1) * (N - 1)))
        df = variance**2 / sum(part**2 / each for part, each in parts)
    if of_seeds > variance:  # images that say less than their own noise
        variance, df = of_seeds, seeds_df
    from scipy.special import stdtrit

    half = float(stdtrit(df, 0.5 + level / 2)) * variance**0.5
    return MeanEffect(delta, variance**0.5, df, delta - half, delta + half)
