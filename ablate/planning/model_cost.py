"""What a trained model costs: multiply-adds of one test image, counted without computing any.

Counted where a study is run and not where a trial is trained: once for each distinct model, on the
meta device, with tricks of its own, so that no trial's arithmetic or random numbers can notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ablate.models.build import isolated_rng
from ablate.planning.model_card import multiply_adds
from ablate.tricks.guard import contained
from ablate.tricks.hooks import Hooks

if TYPE_CHECKING:
    from ablate.core.trial import Trial


class Costs:
    """Multiply-adds of the models of trials; each distinct model is built and counted once."""

    def __init__(self, *, bundled_only: bool = False) -> None:
        self._bundled_only = bundled_only
        self._asked: dict[tuple[Any, ...], int | None] = {}  # by what may matter: seeds share it
        self._models: dict[tuple[Any, ...], int | None] = {}  # by what does

    def macs(self, trial: Trial) -> int | None:
        """Multiply-adds of one image at the size of the evaluation, through the trial's model.

        The model is the one that is trained, with the surgery of the trial's tricks, in evaluation
        mode. None where it cannot be built or run on the meta device.
        """
        asked = (trial.recipe, trial.dataset.num_classes, trial.tricks_key())
        if asked not in self._asked:
            try:
                self._asked[asked] = self._count(trial)
            except Exception:  # noqa: BLE001 - a model's own code raises anything, and may yet train
                self._asked[asked] = None
        return self._asked[asked]

    def _count(self, trial: Trial) -> int | None:
        import torch

        from ablate.tricks.construct import construct

        recipe, classes = trial.recipe, trial.dataset.num_classes
        size = recipe.eval_size or recipe.image_size
        if size is None:
            return None
        tricks = construct(trial.tricks, bundled_only=self._bundled_only)
        hooks = Hooks(tricks, may_idle=frozenset(t.name for t in trial.tricks if t.bundle))
        builders = {name.removesuffix(" *") for name in hooks.acting["build_model"]}
        building = [spec for spec in trial.tricks if spec.name in builders]
        same: tuple[Any, ...] = (recipe.model, classes, size)
        if building:  # they may look at the whole recipe
            same += (recipe, trial.model_copy(update={"tricks": tuple(building)}).tricks_key())
        if same not in self._models:
            with isolated_rng(), torch.device("meta"), contained("a model to count its cost"):
                model = hooks.build_model(recipe, classes)
            self._models[same] = multiply_adds(model, size)
        return self._models[same]
