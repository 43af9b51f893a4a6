"""What happens with no trick: one default for every replaceable hook.

Plain mini-batch SGD with Nesterov momentum, weight decay on every parameter, steps of the learning
rate, random-resized crops and flips, FP32. torch is imported inside: `resolve_recipe` runs without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ablate.core.hook_types import Augmentation, Factors, Outputs, Precision, Schedule

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ablate.core.hook_types import Batch, Run, TrainBatches
    from ablate.core.recipe import Recipe


class Baseline:
    """The defaults, called by `tricks.hooks.Hooks` where no trick replaces them."""

    def resolve_recipe(self, recipe: Recipe) -> Recipe:
        """The recipe as it is."""
        return recipe

    def build_model(self, recipe: Recipe, num_classes: int) -> nn.Module:
        """The zoo's model of that name."""
        from ablate.models import build_model

        return build_model(recipe.model, num_classes)

    def init_model(self, model: nn.Module, seed: int) -> nn.Module:
        """He et al.'s initialisation, each module from its own stream."""
        from ablate.models.init import initialise

        return initialise(model, seed)

    def param_groups(self, model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
        """One group of everything that trains, all of it decayed."""
        params = [p for p in model.parameters() if p.requires_grad]
        return [{"params": params, "weight_decay": recipe.weight_decay}]

    def build_optimizer(
        self, groups: list[dict[str, Any]], recipe: Recipe
    ) -> torch.optim.Optimizer:
        """torch's SGD."""
        import torch

        return torch.optim.SGD(
            groups,
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov and recipe.momentum > 0,
        )

    def build_schedule(self, recipe: Recipe) -> Schedule:
        """× gamma at every milestone, a fraction of the whole training; `start` is ignored."""
        milestones, gamma = recipe.schedule.milestones, recipe.schedule.gamma

        def schedule(step: int, start: int, total: int) -> Factors:
            passed = sum(step / total >= milestone for milestone in milestones)
            return Factors(lr=gamma**passed)

        return schedule

    def precision(self) -> Precision:
        """FP32."""
        return Precision()

    def augmentations(self, recipe: Recipe) -> list[Augmentation]:
        """Random-resized crop, horizontal flip, normalise."""
        from ablate.data.augment import horizontal_flip, normalise, random_resized_crop

        assert recipe.crop is not None
        assert recipe.mean is not None
        assert recipe.std is not None
        flip = [horizontal_flip(recipe.flip)] if recipe.flip else []
        return [random_resized_crop(recipe.crop), *flip, normalise(recipe.mean, recipe.std)]

    def train_size(self, recipe: Recipe, epoch: int) -> int:
        """The recipe's image size in every epoch."""
        assert recipe.image_size is not None
        return recipe.image_size

    def encode_targets(self, labels: Tensor, num_classes: int) -> Tensor:
        """One-hot."""
        import torch

        # torch's one_hot reads the smallest and the largest label first, and gives integers.
        targets = labels.new_zeros((len(labels), num_classes), dtype=torch.float32)
        return targets.scatter_(1, labels[:, None], 1.0)

    def forward(self, model: nn.Module, batch: Batch) -> Outputs:
        """The model's logits, auxiliary heads' as the model says they are weighted."""
        from ablate.models.forward import outputs

        return outputs(model, batch.images)

    def compute_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy against dense targets, in FP32."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits.float(), targets)

    def transform_gradients(self, run: Run, grads: list[Tensor]) -> list[Tensor]:
        """As they are."""
        return grads

    def optimizer_step(
        self,
        run: Run,
        compute_gradients: Callable[[], None],
        apply_gradients: Callable[[], None],
    ) -> None:
        """One gradient, one update."""
        compute_gradients()
        apply_gradients()

    def eval_model(self, run: Run, model: nn.Module, train_batches: TrainBatches) -> nn.Module:
        """The model in training."""
        return model
