"""Adam: steps of m̂/(√v̂ + ε), from running means of the gradient and of its square.

m ← β₁·m + (1 − β₁)·g, v ← β₂·v + (1 − β₂)·g², m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ). Kingma and Ba,
2014, https://arxiv.org/abs/1412.6980.
"""

from __future__ import annotations

from typing import ClassVar

from ablate_tricks._adam_family import AdamFamily


class Adam(AdamFamily):
    """torch's Adam in place of SGD; the recipe's momentum and Nesterov play no part.

    Learning rate and weight decay are the recipe's. The decay is an L2 penalty: it is added to the
    gradient, and so divided by √v̂ too; `adamw` decays the weights apart from it.
    """

    version: ClassVar[int] = 1
    optimizer: ClassVar[str] = "Adam"
