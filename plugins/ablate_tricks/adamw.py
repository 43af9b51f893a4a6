"""AdamW: Adam with the weight decay apart from the gradient.

w ← w − η·λ·w − η·m̂/(√v̂ + ε), with m̂ and v̂ as in Adam. Loshchilov and Hutter, 2017,
https://arxiv.org/abs/1711.05101.
"""

from __future__ import annotations

from typing import ClassVar

from ablate_tricks._adam_family import AdamFamily


class Adamw(AdamFamily):
    """torch's AdamW in place of SGD; the recipe's momentum and Nesterov play no part.

    Learning rate and weight decay are the recipe's. The decay is multiplied by the learning rate of
    the step, so that values much larger than SGD's are usual, such as 0.01 to 0.1.
    """

    version: ClassVar[int] = 1
    optimizer: ClassVar[str] = "AdamW"
