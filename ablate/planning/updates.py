"""Optimizers that take a model to judge: built on the meta device before anything is trained.

What needs no model is refused where a study is resolved (`design.updates`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ablate.core.resolved_study import ResolvedStudy
from ablate.core.trial import Trial
from ablate.design.updates import Updates
from ablate.errors import AblateError
from ablate.tricks.construct import construct
from ablate.tricks.guard import contained
from ablate.tricks.installed import BUNDLED
from ablate.util.own_code import is_function

if TYPE_CHECKING:
    from torch import nn


def check_updates(
    resolved: ResolvedStudy, *, bundled_only: bool = False, uncalled: bool = False
) -> None:
    """Refuse an optimizer that refuses its settings, or a momentum that a schedule moves too far.

    Of optimizers that are not ablate's own, and of parameter groups with momenta of their own; a
    study without these needs no torch. uncalled: not where the model is a function of one's own.
    """
    seen: set[tuple[Any, ...]] = set()
    for key, trial in resolved.trials.items():
        same = (trial.recipe, trial.dataset.num_classes, trial.tricks_key())
        if same in seen or not trial.tricks:
            continue
        seen.add(same)
        if uncalled and is_function(trial.recipe.model):
            continue
        tricks = construct(trial.tricks, bundled_only=bundled_only, check_files=False)
        labels = [spec.label for spec in trial.tricks]
        updates = Updates(trial.recipe, list(zip(labels, tricks, strict=True)), None)
        makers = {name.removesuffix(" *") for name in updates.hooks.acting["build_optimizer"]}
        grouping = makers | set(updates.hooks.acting["param_groups"])
        foreign = {s.name for s in trial.tricks if s.source.split(" ")[0] != BUNDLED}
        if not grouping & foreign:
            continue
        try:
            updates.check(partial(_model, trial, updates))
        except AblateError as error:
            raise AblateError(
                f"{resolved.name}: {resolved.labels[key]}: {error.message}",
                where=resolved.file,
                hint=error.hint,
            ) from error


def _model(trial: Trial, updates: Updates) -> nn.Module:
    import torch

    with contained("a model to build its optimizer"), torch.device("meta"):
        model: nn.Module = updates.hooks.build_model(trial.recipe, trial.dataset.num_classes)
    return model
