"""Knowledge distillation: learn from a larger trained network's softened predictions too.

Hinton et al., 2015, https://arxiv.org/abs/1503.02531; He et al., 2019,
https://arxiv.org/abs/1812.01187, section 5.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import Trick, hookimpl
from ablate.errors import AblateError

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.types import Batch, Outputs, Run


class Distill(Trick):
    """ℓ(p, softmax(z)) + T²·ℓ(softmax(r/T), softmax(z/T)), ℓ the cross-entropy.

    z are the student's logits, r the teacher's on the same images, mixed ones included, p the
    targets. The teacher is a trial of the study, trained once per data set and in evaluation mode.
    T² keeps the gradient of the second term as large as that of the first.
    """

    version: ClassVar[int] = 1
    provides: ClassVar[frozenset[str]] = frozenset({"teacher"})
    exclusive: ClassVar[frozenset[str]] = frozenset({"teacher"})

    teacher: str = Field(pattern=r"^@", description='a trial of the study: "@NAME" is [trial.NAME]')
    temperature: float = Field(20, gt=0, le=1000, description="T, divides both networks' logits")

    @hookimpl
    def extra_losses(self, run: Run, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        import torch
        from torch.nn.functional import cross_entropy

        if run.teacher is None:
            raise AblateError(
                "distill has no teacher", hint='[tricks] distill = { teacher = "@NAME" }'
            )
        dtype = getattr(torch, run.precision.dtype)
        with (
            torch.no_grad(),
            torch.autocast(run.device.type, dtype=dtype, enabled=dtype != torch.float32),
        ):
            taught = run.teacher(batch.images)
        t = self.temperature
        soft = (taught.float() / t).softmax(1)
        return {"distill": t**2 * cross_entropy(outputs.logits.float() / t, soft)}

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        return f"loss: + a teacher's predictions, T {self.temperature:g}"
