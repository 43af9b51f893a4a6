"""What a model returns, as `Outputs`."""

from __future__ import annotations

from torch import Tensor, nn

from ablate.core.hook_types import Outputs
from ablate.errors import AblateError


def outputs(model: nn.Module, images: Tensor) -> Outputs:
    """The model's `Outputs` for images [B, C, H, W].

    A model returns logits [B, K], or `Outputs` itself where it has auxiliary heads: it knows their
    weights. `AblateError` for anything else.
    """
    value = model(images)
    if isinstance(value, Tensor):
        return Outputs(value)
    if isinstance(value, Outputs):
        return value
    raise AblateError(
        f"{type(model).__name__} returned {type(value).__name__}, not logits [B, K]",
        hint="a model with auxiliary heads returns ablate.Outputs(logits, aux)",
    )
