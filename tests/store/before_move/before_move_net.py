"""A small network with an auxiliary head, as an author wrote one before modules moved."""

from __future__ import annotations

from torch import Tensor, nn

from ablate.models.forward import outputs
from ablate.models.pooling import BlurPool, adaptive_average
from ablate.types import Outputs


class Net(nn.Module):
    """One convolution, a blur, two heads of which one only trains."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.blur = BlurPool(3)
        self.head = nn.Linear(32, num_classes)
        self.aux = nn.Linear(32, num_classes)

    def forward(self, images: Tensor) -> Outputs | Tensor:
        """Logits, and the other head's in training."""
        seen = self.blur(self.norm(self.conv(images)).relu())
        seen = adaptive_average(seen, 2).flatten(1)
        logits = outputs(self.head, seen).logits
        return Outputs(logits, ((0.3, self.aux(seen)),)) if self.training else logits


def build(num_classes: int) -> nn.Module:
    """What the study's `model` names."""
    return Net(num_classes)
