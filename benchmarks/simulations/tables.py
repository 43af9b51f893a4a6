"""How simulated accuracies come about: [tables, rows, seeds], and what is true of each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
IMAGENETTE = 3925  # test images
_CHUNK = 2_000_000  # numbers held at a time


class Source(Protocol):
    """Draws tables of accuracies whose rows have the expected error rates asked for."""

    @property
    def name(self) -> str:
        """In words."""

    @property
    def examples(self) -> int:
        """Test images."""

    def draw(
        self, rng: np.random.Generator, tables: int, errors: Sequence[float], seeds: int
    ) -> Floats:
        """Accuracies in [0, 1], [tables, rows, seeds]."""


@dataclass(frozen=True)
class Normal:
    """Normal run-to-run noise of variance `ratio` · √(.1 e) / 2N, around 1 − e.

    ratio: the variance at 10% error over err/2N, what a training's accuracy varies by if half of
    the images in error are luck. shared: standard deviation of the seed effect, common to all rows,
    over the noise of a row at 10% error. exponent: of e in the variance; the fit assumes 1/2.
    """

    ratio: float = 1.0
    shared: float = 0.0
    exponent: float = 0.5
    examples: int = IMAGENETTE

    @property
    def name(self) -> str:
        """In words."""
        law = "" if self.exponent == 0.5 else f", variance ∝ e^{self.exponent:g}"
        return f"normal noise, {'' if self.shared else 'no '}seed effect{law}"

    def draw(
        self, rng: np.random.Generator, tables: int, errors: Sequence[float], seeds: int
    ) -> Floats:
        """Accuracies."""
        e = np.asarray(errors)[:, None]
        at_ten = (self.ratio * 0.1 / (2 * self.examples)) ** 0.5
        noise = at_ten * (e / 0.1) ** (self.exponent / 2)
        seed = self.shared * at_ten * rng.standard_normal((tables, 1, seeds))
        return 1 - e + seed + noise * rng.standard_normal((tables, len(e), seeds))


@dataclass(frozen=True)
class Classes:
    """Per-example model: an image is right if row + difficulty + class effects + noise > 0.

    Images have fixed difficulties (of their class, and within it `bins` quantiles of a normal
    distribution); a training shifts each class by a normal effect of its own (`own`) and by one
    that all rows share at that seed (`shared`); what is left is independent noise of an image.
    Counts are therefore drawn exactly, a binomial for each class and bin.
    """

    classes: int
    examples: int
    bins: int
    shared: float = 0.0
    own: float = 0.1
    spread: float = 1.5  # of difficulties, latent units

    @property
    def name(self) -> str:
        """In words."""
        return (
            f"images of {self.classes} classes, N = {self.examples:,}, "
            f"{'' if self.shared else 'no '}seed effect"
        )

    @property
    def _difficulty(self) -> Floats:
        """[classes, bins]."""
        from scipy.special import ndtri

        def quantiles(n: int) -> Floats:
            found: Floats = ndtri((np.arange(n) + 0.5) / n)
            return found

        between = 0.5 if self.bins > 1 else self.spread
        return between * quantiles(self.classes)[:, None] + self.spread * quantiles(self.bins)

    def _level(self, error: float) -> float:
        """What a row adds to have this expected error rate."""
        from scipy.optimize import brentq
        from scipy.special import ndtr

        scale = (1 + self.shared**2 + self.own**2) ** 0.5
        difficulty = self._difficulty

        def excess(level: float) -> float:
            return float(ndtr((level + difficulty) / scale).mean()) - (1 - error)

        return float(brentq(excess, -20, 20))

    def draw(
        self, rng: np.random.Generator, tables: int, errors: Sequence[float], seeds: int
    ) -> Floats:
        """Accuracies."""
        from scipy.special import ndtr

        each, rest = divmod(self.examples, self.classes * self.bins)
        if rest:
            raise ValueError("examples: as many in every class and bin")
        levels = np.array([self._level(e) for e in errors])[:, None, None]
        difficulty = self._difficulty
        found = []
        for count in self._chunks(tables, len(errors) * seeds):
            shape = (count, len(errors), seeds, self.classes)
            latent = levels + self.own * rng.standard_normal(shape)
            latent += self.shared * rng.standard_normal((count, 1, seeds, self.classes))
            right = np.zeros(shape[:3], dtype=np.int64)
            for b in range(self.bins):
                p = ndtr(latent + difficulty[:, b])
                right += rng.binomial(each, p).sum(axis=-1)
            found.append(right / self.examples)
        return np.concatenate(found)

    def _chunks(self, tables: int, cells: int) -> Iterator[int]:
        size = max(1, _CHUNK // (cells * self.classes))
        for start in range(0, tables, size):
            yield min(size, tables - start)
