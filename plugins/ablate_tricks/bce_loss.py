"""BCE loss: a binary cross-entropy in every class of its own, in place of softmax.

ℓ = −Σₖ [yₖ·log σ(zₖ) + (1 − yₖ)·log(1 − σ(zₖ))], averaged over the batch. Beyer et al., 2020,
https://arxiv.org/abs/2006.07159; Wightman et al., 2021, https://arxiv.org/abs/2110.00476.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ablate import Trick, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


class BceLoss(Trick):
    """Takes the dense targets as they come, smoothed and mixed.

    With a `threshold`, a target above it counts as 1 and any other as 0, after smoothing and
    mixing: both images of a mixed pair are then fully present. Evaluation stays the softmax's
    cross-entropy and accuracy; of the two, only the accuracy compares with other rows.
    """

    version: ClassVar[int] = 1

    threshold: float | None = Field(
        None, ge=0, lt=1, description="targets above it are 1, others 0; none: as they are"
    )
    classes: Literal["sum", "mean"] = Field("sum", description="over the classes, before the batch")

    @hookimpl
    def compute_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        from torch.nn.functional import binary_cross_entropy_with_logits

        if self.threshold is not None:
            targets = targets.gt(self.threshold).to(targets.dtype)
        loss = binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
        each = loss.sum(1) if self.classes == "sum" else loss.mean(1)
        return each.mean()

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        threshold = "" if self.threshold is None else f", targets above {self.threshold:g} are 1"
        mean = "" if self.classes == "sum" else ", mean over classes"
        return f"loss: cross-entropy → binary cross-entropy{mean}{threshold}"
