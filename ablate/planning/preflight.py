"""Refuse before training: a trick that changes nothing, a model that cannot be built or fed.

Both are found on the meta device: no weights, nothing computed, nothing trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.baseline import Baseline
from ablate.core.recipe import Recipe
from ablate.core.resolved_study import ResolvedStudy
from ablate.core.trial import Trial
from ablate.errors import AblateError, NoEffect, TrickError
from ablate.models.catalogue import is_foreign
from ablate.planning.targets import check_targets
from ablate.planning.updates import check_updates
from ablate.tricks.base import Trick
from ablate.tricks.construct import catalogue_of, construct
from ablate.tricks.guard import contained
from ablate.tricks.hooks import Hooks, blaming
from ablate.tricks.installed import BUNDLED
from ablate.util.own_code import is_function

if TYPE_CHECKING:
    from torch import nn

    from ablate.core.resolved_study import ResolvedStudy
    from ablate.core.trial import Trial
    from ablate.tricks.discovery import Catalogue


# The hooks whose work on a model can be seen without training.
_MODEL_HOOKS = ("build_model", "init_model", "param_groups")
_MOST_PROBED = 1000
_PROBED: dict[tuple[Any, ...], dict[str, Effect]] = {}  # by what it depends on


@dataclass(frozen=True)
class Effect:
    """changed: modules or parameters that the trick changes, None where it does not act on the
    model; idle: why it changes nothing, None if it does or cannot be told without training."""

    changed: int | None = None
    idle: str | None = None


def probe(trial: Trial, *, bundled_only: bool = False) -> dict[str, Effect]:
    """What each trick of the trial does to its model, by the trick's name."""
    tricks = construct(trial.tricks, bundled_only=bundled_only)
    acting = [trick for trick in tricks if _on_model(trick)]
    # What is said of a model depends on nothing else: rows that differ in a schedule share it.
    recipe, classes = trial.recipe, trial.dataset.num_classes
    settings = tuple((type(trick), trick.model_dump_json()) for trick in acting)
    key = (recipe.model, recipe.image_size, recipe.weight_decay, classes, frozenset(settings))
    if key not in _PROBED:
        _PROBED[key] = {t.name: _effect(t, acting, recipe, classes) for t in acting}
        if len(_PROBED) > _MOST_PROBED:
            del _PROBED[next(iter(_PROBED))]
    return {trick.name: Effect() for trick in tricks} | _PROBED[key]


def _on_model(trick: Trick) -> bool:
    return any(hasattr(getattr(type(trick), h, None), "ablate_impl") for h in _MODEL_HOOKS)


def check_effects(resolved: ResolvedStudy, *, bundled_only: bool = False) -> list[str]:
    """Refuse rows with a trick that does nothing; returns notes on idle members of bundles.

    A bundle is refused only if none of its members acts. A trick's own `preflight` refuses what it
    cannot be trained with.

    A model that cannot be built, or cannot take its images, is refused, too.
    """
    check_models(resolved)
    notes: dict[str, None] = {}
    seen: set[tuple[Any, ...]] = set()
    for table in resolved.tables:
        for row in table.rows:
            trial = resolved.trials[row.keys[0]]
            same = (trial.recipe.model, trial.dataset.num_classes, row.tricks, trial.tricks_key())
            if same in seen:
                continue
            seen.add(same)
            try:
                with contained(f"row '{row.label}' to build its model"):
                    effects = probe(trial, bundled_only=bundled_only)
            except TrickError as error:  # refused beforehand, so not a trial that failed
                raise AblateError(
                    f"{resolved.name}: row '{row.label}': {error.message}", where=resolved.file
                ) from error
            groups: dict[str, list[str]] = {}
            for spec in trial.tricks:
                groups.setdefault(spec.bundle or spec.label, []).append(spec.name)
            for label, names in groups.items():
                idle = {n: why for n in names if (why := effects[n].idle) is not None}
                if len(idle) == len(names):
                    reason = "; ".join(dict.fromkeys(idle.values()))
                    raise AblateError(
                        f"{resolved.name}: row '{row.label}': {label} has no effect on "
                        f"{trial.recipe.model}: {reason}",
                        where=resolved.file,
                        hint=f'[[override]] when = {{ model = "{trial.recipe.model}" }} '
                        f'drop = ["{label}"]',
                    )
                for name, why in idle.items():
                    notes[f"{label}: {name} changes nothing on {trial.recipe.model}: {why}"] = None
    check_sizes(resolved, bundled_only=bundled_only)
    check_updates(resolved, bundled_only=bundled_only)
    notes |= dict.fromkeys(_preflight(resolved, bundled_only))
    notes |= dict.fromkeys(check_targets(resolved, bundled_only=bundled_only))
    return list(notes)


def _preflight(resolved: ResolvedStudy, bundled_only: bool) -> Iterator[str]:
    """Every distinct trial, those that others learn from included; notes on idle members of
    bundles."""
    specs = [spec for trial in resolved.trials.values() for spec in trial.tricks]
    catalogue = catalogue_of(specs, bundled_only=bundled_only)
    names = {spec.name for spec in specs}
    asking = {name for name in names if catalogue.load(name).cls.preflight is not Trick.preflight}
    seen: set[tuple[Any, ...]] = set()
    for key in resolved.order:
        trial = resolved.trials[key]
        same = (trial.recipe, trial.dataset, trial.tricks_key())
        if same in seen or not asking & {spec.name for spec in trial.tricks}:
            continue
        seen.add(same)
        bundles = {spec.name: spec.bundle for spec in trial.tricks}
        try:
            for trick in construct(trial.tricks, bundled_only=bundled_only):
                try:
                    with contained(f"preflight of {trick.name}"), blaming(trick.name, "preflight"):
                        trick.preflight(trial)
                except NoEffect as error:
                    if not bundles[trick.name]:
                        raise
                    yield f"{bundles[trick.name]}: {trick.name} changes nothing: {error.reason}"
        except AblateError as error:
            raise AblateError(
                f"{resolved.name}: {resolved.labels[key]}: {error.message}",
                where=resolved.file,
                hint=error.hint,
            ) from error


def _effect(trick: Trick, tricks: Sequence[Trick], recipe: Recipe, classes: int) -> Effect:
    acting = Hooks(tricks).acting
    own = {hook for hook, names in acting.items() if trick.name in {_bare(n) for n in names}}
    on_model = [hook for hook in _MODEL_HOOKS if hook in own]
    elsewhere = bool(own - set(_MODEL_HOOKS))
    if not on_model:
        return Effect()
    # What the others cannot do is their own matter here.
    others = tuple(t for t in tricks if t is not trick)
    may_idle = frozenset(t.name for t in others)
    before, after = Hooks(others, may_idle=may_idle), Hooks(tricks, may_idle=may_idle)
    count = {"build_model": _built, "init_model": _initialised, "param_groups": _grouped}
    try:
        changed = sum(count[hook](trick, before, after, recipe, classes) for hook in on_model)
    except NoEffect as error:
        return Effect(0, None if elsewhere else error.reason)
    return Effect(changed, "it changes nothing" if changed == 0 and not elsewhere else None)


def _bare(name: str) -> str:
    return name.removesuffix(" *")


def _model(hooks: Hooks, recipe: Recipe, classes: int) -> nn.Module:
    import torch

    with torch.device("meta"):
        model: nn.Module = hooks.build_model(recipe, classes)
    return model


def _built(trick: Trick, before: Hooks, after: Hooks, recipe: Recipe, classes: int) -> int:
    return _differences(
        _modules(_model(after, recipe, classes)), _modules(_model(before, recipe, classes))
    )


def _modules(model: nn.Module) -> dict[str, str]:
    """Every leaf's description, and every container's class, by name."""
    return {
        name: repr(module) if not list(module.children()) else type(module).__name__
        for name, module in model.named_modules()
    }


def _initialised(trick: Trick, before: Hooks, after: Hooks, recipe: Recipe, classes: int) -> int:
    model = _model(after, recipe, classes)
    tensors = [*model.parameters(), *model.buffers()]
    versions = [t._version for t in tensors]
    # Nothing is initialised before the trick: what is written to, the trick wrote to.
    Hooks([trick], default=_AsItIs()).init_model(model, 0)
    return sum(t._version != v for t, v in zip(tensors, versions, strict=True))


def _grouped(trick: Trick, before: Hooks, after: Hooks, recipe: Recipe, classes: int) -> int:
    model = _model(after, recipe, classes)
    names = {id(p): name for name, p in model.named_parameters()}
    return _differences(
        _settings(after.param_groups(model, recipe), names),
        _settings(before.param_groups(model, recipe), names),
    )


def _settings(groups: list[dict[str, Any]], names: Mapping[int, str]) -> dict[str, str]:
    return {
        names[id(p)]: repr({k: v for k, v in group.items() if k != "params"})
        for group in groups
        for p in group["params"]
    }


def _differences(a: Mapping[str, str], b: Mapping[str, str]) -> int:
    return sum(a.get(name) != b.get(name) for name in {*a, *b})


class _AsItIs(Baseline):
    """The defaults, but no initialisation."""

    def init_model(self, model: nn.Module, seed: int) -> nn.Module:
        return model


def check_models(
    resolved: ResolvedStudy, *, foreign_only: bool = False, uncalled: bool = False
) -> None:
    """Raise AblateError, with file and line, for the first model that cannot be built.

    `foreign_only`: only models of timm and of one's own functions, whose names say nothing; a study
    without one then needs no torch. `uncalled`: none of one's own functions.
    """
    for name, classes in dict.fromkeys(
        (trial.recipe.model, trial.dataset.num_classes) for trial in resolved.trials.values()
    ):
        if uncalled and is_function(name):
            continue
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


def slow_formats(resolved: ResolvedStudy, catalogue: Catalogue) -> list[str]:
    """A warning for tricks that compute in FP16, which processors do slowly."""
    formats: dict[str, str] = {}
    for trial in resolved.trials.values():
        for spec in trial.tricks:
            if spec.name not in formats:
                formats[spec.name] = _number_format(catalogue, spec.name, spec.given())
    slow = [name for name, dtype in formats.items() if dtype == "float16"]
    if not slow:
        return []
    # A trick that no study names is not imported, so that ablate's own alone are looked at.
    ours = [name for name in catalogue.names if catalogue.source(name).split(" ")[0] == BUNDLED]
    faster = [name for name in ours if _number_format(catalogue, name) == "bfloat16"]
    choice = f"; {faster[0]} is the faster choice here" if faster else ""
    return [f"{name} on this CPU is slow and its times are not shown{choice}" for name in slow]


def _number_format(catalogue: Catalogue, name: str, params: dict[str, object] | None = None) -> str:
    """The number format that a trick chooses, "" if it chooses none."""
    try:
        cls = catalogue.load(name).cls
    except AblateError:
        return ""
    options = getattr(getattr(cls, "precision", None), "ablate_impl", None)
    if options is None or options.get("wrapper"):
        return ""
    try:
        return str(cls(**(params or {})).precision().dtype)  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - a third party's code; its trial will tell
        return ""
