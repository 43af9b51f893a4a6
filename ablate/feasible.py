"""Whether every model that a study trains exists and can take the images it is to be given.

Found on the meta device: nothing is computed, and nothing is trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ablate.errors import AblateError

if TYPE_CHECKING:
    from ablate.resolved import ResolvedStudy
    from ablate.trial import Trial


def check_models(resolved: ResolvedStudy, *, foreign_only: bool = False) -> None:
    """Raise AblateError, with file and line, for the first model that cannot be built.

    `foreign_only`: only models of timm and of one's own functions, whose names say nothing; a study
    without one then needs no torch.
    """
    from ablate.models.catalogue import is_foreign

    for name, classes in dict.fromkeys(
        (trial.recipe.model, trial.dataset.num_classes) for trial in resolved.trials.values()
    ):
        if is_foreign(name) or not foreign_only:
            from ablate.models.check import check_built

            with _naming(resolved, name):
                check_built(name, classes)


def check_sizes(resolved: ResolvedStudy, *, bundled_only: bool = False) -> None:
    """Raise AblateError for the first model that cannot take the images it is to be given.

    Tricks' surgery is left out; the sizes of images that they choose are not.
    """
    from ablate.models.check import check_fed

    seen: set[tuple[Any, ...]] = set()
    chosen: dict[tuple[Any, ...], tuple[int, ...]] = {}  # the same for every seed
    for trial in resolved.trials.values():
        recipe = trial.recipe
        choice = recipe, trial.tricks_key()
        if choice not in chosen:
            chosen[choice] = _train_sizes(trial, bundled_only)
        sizes = chosen[choice]
        same = (
            *(recipe.model, trial.dataset.num_classes, sizes, recipe.eval_size),
            *(recipe.batch_size // recipe.micro_batches, trial.numerics),
        )
        if same not in seen:
            seen.add(same)
            with _naming(resolved, recipe.model):
                check_fed(trial, sizes)


@contextmanager
def _naming(resolved: ResolvedStudy, model: str) -> Iterator[None]:
    try:
        yield
    except AblateError as error:
        where = error.where or _line(resolved, model)
        raise AblateError(error.message, where=where, hint=error.hint) from error


def _train_sizes(trial: Trial, bundled_only: bool) -> tuple[int, ...]:
    """The smallest and the largest side of training images, in pixels."""
    recipe = trial.recipe
    if recipe.image_size is None:
        return ()
    sizes = {recipe.image_size}
    if trial.tricks:
        from ablate.training_process import construct
        from ablate.tricks.chains import Hooks

        tricks = construct(trial.tricks, bundled_only=bundled_only)
        hooks = Hooks(tricks)
        if hooks.acting["train_size"]:
            with suppress(AblateError):  # the trick's matter: the probe of effects reports it
                sizes |= {hooks.train_size(recipe, epoch) for epoch in range(recipe.epochs)}
    return tuple(sorted({min(sizes), max(sizes)}))


def _line(resolved: ResolvedStudy, model: str) -> str:
    """`file:line` where the model is first named, else the study's file."""
    named = re.compile(rf"""^[^#]*["']{re.escape(model)}["']""")
    for file, text in resolved.toml.items():
        for number, line in enumerate(text.splitlines(), start=1):
            if named.match(line):
                return f"{file}:{number}"
    return resolved.file
