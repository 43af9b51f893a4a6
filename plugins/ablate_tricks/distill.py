"""Knowledge distillation: learn from a larger trained network's softened predictions too.

Hinton et al., 2015, https://arxiv.org/abs/1503.02531; He et al., 2019,
https://arxiv.org/abs/1812.01187, section 5.3.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PrivateAttr, model_validator

from ablate import AblateError, LocalFile, Trick, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from ablate import Batch, Outputs, Run, Trial


class Distill(Trick):
    """ℓ(p, softmax(z)) + T²·ℓ(softmax(r/T), softmax(z/T)), ℓ the cross-entropy.

    z are the student's logits, r the teacher's on the same images, mixed ones included, p the
    targets. The teacher is a trial of the study, trained once per data set, or a model with weights
    from a file; it is in evaluation mode, and sees the student's batches: of the recipe's size,
    normalised by the recipe's mean and std. T² keeps the gradient of the second term as large as
    that of the first.
    """

    version: ClassVar[int] = 1
    provides: ClassVar[frozenset[str]] = frozenset({"teacher"})
    exclusive: ClassVar[frozenset[str]] = frozenset({"teacher"})

    teacher: str = Field(
        min_length=1,
        description='a trial of the study: "@NAME" is [trial.NAME]; or a model, with weights',
    )
    weights: LocalFile | None = Field(
        None, description="a model's trained weights: .pth, .pt or .safetensors, beside the study"
    )
    temperature: float = Field(20, gt=0, le=1000, description="T, divides both networks' logits")

    _network: Any = PrivateAttr(None)  # the teacher from a file; never saved, it does not change

    @model_validator(mode="after")
    def _one_teacher(self) -> Distill:
        from ablate.models import model_info

        if self.teacher.startswith("@"):
            if self.weights is not None:
                raise ValueError(
                    f'"{self.teacher}" is trained by the study; weights belong to a model\'s name'
                )
        elif self.weights is None:
            raise ValueError(
                f'teacher "{self.teacher}" has no weights to teach from: add weights = "FILE", '
                f'or name a trial of the study, teacher = "@NAME"'
            )
        else:
            try:
                model_info(self.teacher)
            except AblateError as error:
                raise ValueError(f"teacher: {error.message}") from error
        return self

    def preflight(self, trial: Trial) -> None:
        if self.weights is not None:
            from ablate import check_teacher

            check_teacher(self.teacher, Path(self.weights), trial)

    @hookimpl
    def on_epoch_start(self, run: Run) -> None:
        if self.weights is not None and self._network is None:
            from ablate import load_teacher

            trial = run.trial
            self._network = load_teacher(
                self.teacher, Path(self.weights), trial.dataset, run.device, trial.numerics
            )

    @hookimpl
    def extra_losses(self, run: Run, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        import torch
        from torch.nn.functional import cross_entropy

        teacher = run.teacher if self._network is None else self._network
        if teacher is None:
            raise AblateError(
                "distill has no teacher", hint='[tricks] distill = { teacher = "@NAME" }'
            )
        dtype = getattr(torch, run.precision.dtype)
        with (
            torch.no_grad(),
            torch.autocast(run.device.type, dtype=dtype, enabled=dtype != torch.float32),
        ):
            taught = teacher(batch.images)
        t = self.temperature
        soft = (taught.float() / t).softmax(1)
        return {"distill": t**2 * cross_entropy(outputs.logits.float() / t, soft)}

    def describe(self, changed: int | None = None) -> str:
        """As `plan` prints it."""
        if self.weights is None:
            return f"loss: + a teacher's predictions, T {self.temperature:g}"
        return (
            f"loss: + predictions of {self.teacher} ({Path(self.weights).name}) on the student's "
            f"batches, their size, mean and std, T {self.temperature:g}"
        )
