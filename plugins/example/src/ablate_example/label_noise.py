"""Label noise: in every batch, give a share of the images a class drawn at random.

Xie et al., 2016 ("DisturbLabel"), https://arxiv.org/abs/1605.00055.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PrivateAttr

from ablate import Draws, Trick, hookimpl

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from ablate import Run


class LabelNoise(Trick):
    """Each label is replaced with probability `share`, by any of the K classes alike.

    The true class is among the K, so that (1 − share) + share/K of the labels stay as they were.
    """

    version: ClassVar[int] = 1

    share: float = Field(0.1, gt=0, le=1, description="probability that a label is drawn anew")

    _draws: Draws | None = PrivateAttr(None)

    @hookimpl
    def on_epoch_start(self, run: Run, epoch: int) -> None:
        """A stream of this trick's own, for the epoch: resuming needs no saved state."""
        self._draws = Draws(run.seed, "trick", self.name, epoch)

    @hookimpl(wrapper=True)
    def encode_targets(self, labels: Tensor, num_classes: int) -> Generator[None, Tensor, Tensor]:
        """Targets of the new labels: two columns change places, whatever else has acted on them."""
        import torch

        targets = yield
        assert self._draws is not None
        count = len(labels)
        noisy = torch.from_numpy(self._draws.uniform(count) < self.share).to(labels.device)
        drawn = torch.from_numpy(self._draws.uniform(count) * num_classes).to(labels)
        new = torch.where(noisy, drawn, labels)
        rows = torch.arange(count, device=labels.device)
        changed = targets.clone()
        changed[rows, labels] = targets[rows, new]
        changed[rows, new] = targets[rows, labels]
        return changed

    def describe(self, changed: int | None = None) -> str:
        """As `ablate plan` prints it."""
        return f"targets: {self.share:g} of the labels random"
