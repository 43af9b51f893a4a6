"""Progressive resizing: train on small images first, and on larger ones epoch by epoch.

Howard, 2018, https://www.fast.ai/2018/08/10/fastai-diu-imagenet/.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    from collections.abc import Generator

    from ablate import Recipe, Trial


class ProgressiveResizing(Trick):
    """Side S·(start + (1 − start)·t), t from 0 in the first epoch to 1 at `until` of the epochs.

    S is the recipe's image size. Sides are S less a multiple of `step`, rounded up. Evaluation
    images keep their size.
    """

    version: ClassVar[int] = 1

    start: float = Field(0.5, gt=0, lt=1, description="first side, as a share of the recipe's")
    until: float = Field(
        0.75, gt=0, le=1, description="share of the epochs after which all are of full size"
    )
    step: int = Field(16, ge=1, le=4096, description="pixels by which the side grows at least")

    @hookimpl(wrapper=True)
    def train_size(self, recipe: Recipe, epoch: int) -> Generator[None, int, int]:
        full = yield
        if self.side(full, 0, recipe.epochs) == full:
            raise NoEffect(self.name, self._too_coarse(full))
        return self.side(full, epoch, recipe.epochs)

    def side(self, full: int, epoch: int, epochs: int) -> int:
        """Pixels in this epoch, counted from 0, of a training that ends at `full`."""
        done = min(epoch / (self.until * epochs), 1)
        missing = full * (1 - self.start) * (1 - done)
        # 160·(1 − 0.8) is 31.999… in floating point, and two steps of 16 all the same
        return full - self.step * math.floor(missing / self.step + 1e-9)

    def preflight(self, trial: Trial) -> None:
        """Refuse steps larger than what is missing at first."""
        full = trial.recipe.image_size
        if full is not None and self.side(full, 0, trial.recipe.epochs) == full:
            raise NoEffect(self.name, self._too_coarse(full))

    def warnings(self, recipe: Recipe) -> list[str]:
        """A training that never has smaller images, or that ends before they are of full size."""
        full, epochs = recipe.image_size, recipe.epochs
        if full is None:
            return []
        if self.side(full, 0, epochs) == full:
            return [f"progressive_resizing has no effect: {self._too_coarse(full)}"]
        last = self.side(full, epochs - 1, epochs)
        if last == full:
            return []
        return [f"progressive_resizing: the last epoch trains at {last} pixels, not at {full}"]

    def _too_coarse(self, full: int) -> str:
        return f"{full} pixels less {1 - self.start:.0%} is not one step of {self.step} pixels"

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return f"size: {self.start:.0%} → 100% over {self.until:.0%} of the epochs"
