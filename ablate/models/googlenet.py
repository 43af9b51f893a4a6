"""GoogLeNet with its auxiliary heads in the loss: Szegedy et al., 2015,
https://arxiv.org/abs/1409.4842.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.googlenet import BasicConv2d, GoogLeNet, Inception, InceptionAux

from ablate.core.hook_types import Outputs
from ablate.models.pooling import adaptive_average

AUXILIARY_WEIGHT = 0.3  # of each auxiliary head in the loss: the paper, section 5


class AuxiliaryHead(InceptionAux):  # type: ignore[misc]
    """torchvision's, with a pool that has a deterministic gradient on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits of features [B, C, H, W]."""
        x = torch.flatten(self.conv(adaptive_average(x, (4, 4))), 1)
        logits: Tensor = self.fc2(self.dropout(F.relu(self.fc1(x))))
        return logits


class AuxiliaryGoogLeNet(GoogLeNet):  # type: ignore[misc]
    """torchvision's, with batch norm; images [B, 3, H, W].

    In training it returns `Outputs` with the two auxiliary heads' logits, in evaluation the logits.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(
            num_classes=num_classes,
            init_weights=False,
            blocks=[BasicConv2d, Inception, AuxiliaryHead],
        )

    def forward(self, images: Tensor) -> Outputs | Tensor:
        """Logits of normalised images."""
        result: tuple[Tensor, Tensor | None, Tensor | None] = self._forward(images)
        logits, *auxiliary = result
        heads = tuple((AUXILIARY_WEIGHT, head) for head in auxiliary if head is not None)
        return Outputs(logits, heads) if heads else logits
