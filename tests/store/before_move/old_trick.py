"""Old trick: a little of everything, from every module that an author imported before they moved.

Its source is part of its trials' keys, for it declares no version: an edit retrains them.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, PrivateAttr
from torch import Tensor, nn

import ablate
import ablate.streams
import ablate.types as ablate_types
from ablate import Augmentation, Factors, LocalFile, Mixer, Outputs, Precision, Trick, hookimpl
from ablate.baseline import Baseline
from ablate.data.policy import OPERATIONS, SIGNED, Space, Step, apply_steps, operate
from ablate.data.upload import upload
from ablate.errors import AblateError, DataError, NoEffect, TrickError, brief, did_you_mean
from ablate.hookspecs import HOOKS, HookInfo, HookSpecs
from ablate.models import surgery as operations
from ablate.models.catalogue import ModelInfo, is_model, model_info, model_names
from ablate.models.forward import outputs as model_outputs
from ablate.models.init import initialise
from ablate.models.pooling import AdaptiveAverage, BlurPool, adaptive_average
from ablate.models.squeeze import squeeze_and_excite
from ablate.models.surgery import Block, Handles, attach, conv_like, handles, replace
from ablate.pretrained import check_file, load_file, placed
from ablate.recipe import Crop, Frozen, Recipe, StepSchedule
from ablate.streams import Draws, bits, key, mix, permutation, uniform, uniforms
from ablate.trial import ENGINE_BEHAVIOUR, DatasetRef, Numerics, Trial, TrickSpec
from ablate.tricks.base import RESERVED, hookspec, snake_case
from ablate.tricks.base import Trick as BaseTrick
from ablate.tricks.base import hookimpl as base_hookimpl
from ablate.tricks.files import IsFile, checked, digest, file_fields
from ablate.tricks.files import LocalFile as FilesLocalFile
from ablate.types import SLOTS, Batch, Ragged, Run, Schedule, TrainBatches

# One thing under two paths must stay one thing, else `isinstance` says no.
TWICE = (
    (Trick, BaseTrick),
    (hookimpl, base_hookimpl),
    (LocalFile, FilesLocalFile),
    (ablate.Augmentation, ablate_types.Augmentation),
    (ablate.Factors, ablate_types.Factors),
    (ablate.Mixer, ablate_types.Mixer),
    (ablate.Outputs, ablate_types.Outputs),
    (ablate.Precision, ablate_types.Precision),
    (ablate.streams.Draws, Draws),
    (operations.handles, handles),
)
if any(one is not other for one, other in TWICE):
    raise ImportError("one name under two paths is two things")
# What is imported only to be there.
NAMES = (
    *(SIGNED, Step, operate, DataError, TrickError, brief, HookInfo, HookSpecs, ModelInfo),
    *(AdaptiveAverage, Block, Handles, check_file, load_file, Crop, Frozen, StepSchedule),
    *(bits, mix, uniform, ENGINE_BEHAVIOUR, DatasetRef, TrickSpec, hookspec, IsFile, checked),
    *(digest, SLOTS, Ragged, TrainBatches, Precision, Trial, Numerics),
)
WIDE = Space(bins=31, shear=0.3, translate=2.0, relative=False, rotate=10.0, blend=0.3, bits=2)


class OldTrick(Trick):
    """Changes the model, its start, the images, the schedule, the loss and the gradients."""

    slot: ClassVar[dict[str, str]] = {"build_model": "branch"}

    weight: float = Field(0.01, gt=0, description="of the entropy in the loss")
    unused: LocalFile | None = Field(None, description="a file")

    _steps: Any = PrivateAttr(0)

    def preflight(self, trial: Trial) -> None:
        if not is_model(trial.recipe.model) or not isinstance(trial.numerics, Numerics):
            known = did_you_mean(trial.recipe.model, model_names())
            raise AblateError(f"{model_info('resnet8').name} is needed{known}")

    @hookimpl(wrapper=True)
    def resolve_recipe(self) -> Generator[None, Recipe, Recipe]:
        recipe = yield
        if not isinstance(recipe, Recipe) or "resolve_recipe" not in HOOKS or "use" not in RESERVED:
            raise AblateError("a recipe of another class")
        return recipe.model_copy(update={"weight_decay": 2 * recipe.weight_decay})

    @hookimpl(wrapper=True)
    def build_model(self) -> Generator[None, nn.Module, nn.Module]:
        model = yield
        if squeeze_and_excite(model, 8) == 0:
            raise NoEffect(self.name, "this model has no residual branch")
        conv = handles(model).blocks[-1].convs[0]
        replace(model, conv, conv_like(model.get_submodule(conv), stride=1))
        attach(model, conv, "blur", BlurPool(3))
        return model

    @hookimpl(wrapper=True)
    def init_model(self, seed: int) -> Generator[None, nn.Module, nn.Module]:
        model = yield
        return initialise(model, key(seed, snake_case("OldTrick")) % 1000)

    @hookimpl(wrapper=True)
    def build_schedule(self, recipe: Recipe) -> Generator[None, Schedule, Schedule]:
        inner = yield
        steps = Baseline().build_schedule(recipe)

        def schedule(step: int, start: int, total: int) -> Factors:
            lr = inner(step, start, total).lr + steps(step, start, total).lr
            return Factors(lr=lr / 2, momentum=0.99)

        return schedule

    @hookimpl
    def augmentations(self) -> list[Augmentation]:
        return [Augmentation("policy", self.name, 2, Slightly())]

    @hookimpl
    def batch_mixers(self) -> Mixer:
        return Mixer(self.name, turned)

    @hookimpl(wrapper=True)
    def forward(self, model: nn.Module, batch: Batch) -> Generator[None, Outputs, Outputs]:
        inner = yield
        if not isinstance(inner, Outputs):
            return model_outputs(model, batch.images)
        return Outputs(1.01 * inner.logits, inner.aux)

    @hookimpl
    def extra_losses(self, run: Run, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        noise = upload(batch.draws(self).uniform(len(batch.ids)).astype(np.float32), run.device)
        log_p = outputs.logits.float().log_softmax(1)
        return {"old_entropy": self.weight * ((log_p.exp() * log_p).sum(1) * noise).mean()}

    @hookimpl(wrapper=True)
    def transform_gradients(self, run: Run) -> Generator[None, list[Tensor], list[Tensor]]:
        grads = yield
        self._steps += 1
        factor = 0.9 + 0.2 * Draws(run.seed, "trick", self.name, run.step).number()
        return [factor * grad for grad in grads]

    @hookimpl(wrapper=True)
    def eval_model(self, run: Run) -> Generator[None, nn.Module, nn.Module]:
        model = yield
        return placed(copy.deepcopy(model), run.device, run.trial.numerics)

    @hookimpl
    def extra_metrics(self, run: Run) -> dict[str, float]:
        drawn = uniforms(key(run.seed, "old"), permutation(key(run.seed, "old"), 5), 1)
        pooled = adaptive_average(torch.ones(1, 1, 3, 3), 2)
        total = float(drawn.sum()) + float(pooled.sum()) + len(file_fields(OldTrick))
        return {"old_steps": float(self._steps), "old_sum": total}

    @hookimpl
    def on_epoch_end(self, run: Run, epoch: int, metrics: Mapping[str, float]) -> None:
        if not isinstance(run, Run) or not isinstance(run.trial, Trial) or "top1" not in metrics:
            raise AblateError("a run of another class")

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps = state["steps"]


@dataclass(frozen=True)
class Slightly:
    """uint8 [B, 3, size, size]: a small operation on each image."""

    def __call__(self, images: Tensor, u: np.ndarray[Any, Any], size: int) -> Tensor:
        steps = [
            WIDE.step(OPERATIONS[int(a * len(OPERATIONS))], int(5 * b), size, a < 0.5)
            for a, b in u.tolist()
        ]
        return apply_steps(images, steps)


def turned(images: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """A little of the same batch in the other order."""
    share = 0.1 * draws.beta(0.5, 0.5)
    return images.lerp(images.flip(0), share), targets.lerp(targets.flip(0), share)
