"""Inception V3 with its auxiliary head in the loss: Szegedy et al., 2016,
https://arxiv.org/abs/1512.00567.
"""

from __future__ import annotations

from torch import Tensor
from torchvision.models.inception import Inception3

from ablate.core.hook_types import Outputs
from ablate.errors import AblateError
from ablate.models.catalogue import INCEPTION_SIZE

# Of the auxiliary head in the loss, as in torchvision's tutorial and the authors' own code.
AUXILIARY_WEIGHT = 0.4


class InceptionV3(Inception3):  # type: ignore[misc]
    """torchvision's; images [B, 3, H, W], in training of 299 pixels or more.

    In training it returns `Outputs` with the auxiliary head's logits, in evaluation the logits.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes=num_classes, aux_logits=True, init_weights=False)

    def forward(self, images: Tensor) -> Outputs | Tensor:
        """Logits of normalised images."""
        if self.training and min(images.shape[-2:]) < INCEPTION_SIZE:
            raise AblateError(
                f"inception_v3 cannot train on {min(images.shape[-2:])} pixels: of fewer than "
                f"{INCEPTION_SIZE}, too few reach its auxiliary head",
                hint=f"image_size = {INCEPTION_SIZE}, the model's own if the study sets none",
            )
        result: tuple[Tensor, Tensor | None] = self._forward(images)
        logits, auxiliary = result
        if auxiliary is None:
            return logits
        return Outputs(logits, ((AUXILIARY_WEIGHT, auxiliary),))
