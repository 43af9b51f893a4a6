"""One row on one data set: its recipe, its set of configured tricks, its trial.

Precedence of a setting, weakest first: recipe, column of `over`, override, a trick's `set`,
override with `when.trick`, the own settings of a `[trial.NAME]`, `--set`, an option of `tune`, and
what the tricks' `resolve_recipe` makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ablate.core.recipe import Recipe
from ablate.core.trial import TrickSpec
from ablate.design.kept_parameters import keep
from ablate.design.local_files import find_files
from ablate.design.rows import RowProblem, configs_behind
from ablate.design.tuning_grid import with_option
from ablate.errors import AblateError, brief
from ablate.hookspecs import HOOKS
from ablate.models import catalogue
from ablate.study.messages import findings
from ablate.study.model import Override, Settings, Study
from ablate.study.settings import flat, over
from ablate.study.trick_configs import make_trick
from ablate.tricks.hooks import resolve_recipe
from ablate.tricks.ordering import stack_problems

if TYPE_CHECKING:
    from ablate.data.catalogue import DatasetInfo
    from ablate.tricks.base import Trick


@dataclass(frozen=True)
class Variant:
    """recipe: resolved, no field None. image_size: before the tricks changed the recipe, which is
    what the data set's edition goes by. tricks: label and trick of each in force. specs: of those
    that act while training; a trick that only resolves the recipe has done all it does, so that at
    batch 256 linear scaling's row is the trial of the row without it. teachers: names of trials.
    bases: what the factors of an option of `tune` multiplied. cautions: warnings that hold for a
    training of this many steps."""

    recipe: Recipe
    image_size: int
    tricks: tuple[tuple[str, Trick], ...]
    specs: tuple[TrickSpec, ...]
    teachers: tuple[str, ...]
    warnings: tuple[str, ...]
    bases: Settings = field(default_factory=dict)
    cautions: tuple[str, ...] = ()


def resolve_variant(
    study: Study,
    dataset: str,
    info: DatasetInfo,
    column: Settings,
    active: Sequence[str],
    side: Sequence[str] = (),
    own: Settings | None = None,
    option: Settings | None = None,
    *,
    need_files: bool = True,
) -> Variant:
    """The tricks named by `active`, and of `side` only their settings. `own`: of a named trial.
    `option`: of what the row chooses among.

    need_files: refuse a file that a trick is configured with and that is not there; else the
    variant's key is not the one that training it would give. Raises RowProblem.
    """
    settings = over(study.recipe, column)
    model = {**over(settings, study.final), **(own or {}), **(option or {})}.get("model")
    plain, by_trick = _matching(study.rules, dataset, str(model))

    dropped = {label for rule in plain for label in rule.drop}
    labels = _present(study, [*active, *side], dropped)
    by_trick = [rule for rule in by_trick if labels & set(rule.tricks or ())]
    dropped |= {label for rule in by_trick for label in rule.drop}
    rules = [*plain, *by_trick]

    for rule in plain:
        settings = over(settings, rule.settings)
    settings = over(settings, _side_settings(study, [*active, *side], dropped))
    for rule in by_trick:
        settings = over(settings, rule.settings)
    settings = over(settings, study.final)
    settings, bases = with_option(over(settings, own or {}), option or {})

    leaves = _leaves(study, active, dropped)
    tricks, specs, teachers = [], [], []
    for label, bundle in leaves.items():
        trick, spec, teacher = _configured(study, label, bundle, rules, need_files)
        tricks.append((label, trick))
        specs.append(spec)
        teachers += teacher
    _check_twice(specs)
    filled = fill(settings, info)
    recipe, warnings = _with_tricks(filled, [trick for _, trick in tricks])
    acting = tuple(
        spec for (_, trick), spec in zip(tricks, specs, strict=True) if not _only_plans(trick)
    )
    assert filled.image_size is not None
    return Variant(
        recipe, filled.image_size, tuple(tricks), acting, tuple(teachers), warnings, bases
    )


def fill(settings: Settings, info: DatasetInfo) -> Recipe:
    """The recipe of these settings; what nobody set comes from data set and model."""
    try:
        recipe = Recipe.model_validate(settings)
    except ValidationError as error:
        details = error.errors(include_url=False)
        finding = findings(details, settings, tuple(Recipe.model_fields), "setting")[0]
        raise RowProblem(f"{'.'.join(map(str, finding.path))}: {finding.message}") from error
    size = recipe.image_size or catalogue.model_image_size(recipe.model) or info.image_size
    eval_size = recipe.eval_size or size
    defaults = {
        "image_size": size,
        "eval_size": eval_size,
        # He et al., 2015: 256 pixels before a crop of 224
        "eval_resize": round(eval_size * 256 / 224),
        "crop": info.crop,
        "flip": info.flip,
        "mean": info.mean,
        "std": info.std,
    }
    missing = {key: value for key, value in defaults.items() if getattr(recipe, key) is None}
    return recipe.model_copy(update=missing)


def _matching(
    rules: Sequence[Override], dataset: str, model: str
) -> tuple[list[Override], list[Override]]:
    """The overrides for this data set and model: those that hold, those that wait for a trick."""
    fitting = [
        rule
        for rule in rules
        if (rule.datasets is None or dataset in rule.datasets)
        and (rule.models is None or model in rule.models)
    ]
    return (
        [rule for rule in fitting if rule.tricks is None],
        [rule for rule in fitting if rule.tricks is not None],
    )


def _present(study: Study, labels: Sequence[str], dropped: set[str]) -> set[str]:
    """The labels, with bundles' members, that are not dropped, themselves or with their bundle."""
    found: set[str] = set()
    for label in labels:
        if label not in dropped:
            found.add(label)
            found |= _present(study, study.config(label).members, dropped)
    return found


def _leaves(study: Study, labels: Sequence[str], dropped: set[str]) -> dict[str, str]:
    """The tricks' labels, bundles replaced by their members, each with the bundle it came in."""
    found: dict[str, str] = {}
    for label in labels:
        if label in dropped:
            continue
        members = study.config(label).members
        if not members:
            found.setdefault(label, "")
        for leaf in _leaves(study, members, dropped):
            found.setdefault(leaf, label)
    return found


def _side_settings(study: Study, labels: Sequence[str], dropped: set[str]) -> dict[str, Any]:
    """What the tricks bring along; two that set one key are refused."""
    settings: dict[str, Any] = {}
    setters: dict[str, str] = {}
    present = _present(study, labels, dropped)
    configs = {c.label: c for label in labels for c in configs_behind(study, label)}
    for config in configs.values():
        if config.label not in present:
            continue
        for key in flat(config.settings):
            for other, setter in setters.items():
                if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):
                    raise RowProblem(
                        f"{setter} and {config.label} both set {key}",
                        hint=f"keep one, or put each in a branch: "
                        f'stack = [["{setter}"], ["{config.label}"]]',
                    )
            setters[key] = config.label
        settings = over(settings, config.settings)
    return settings


def _configured(
    study: Study, label: str, bundle: str, rules: Sequence[Override], need_files: bool
) -> tuple[Trick, TrickSpec, list[str]]:
    config = study.config(label)
    params = dict(config.params)
    for rule in rules:
        params |= rule.params.get(label, {})
    params |= study.final_params.get(label, {})
    loaded = study.catalogue.load(config.trick)
    try:
        checked = make_trick(loaded.cls, params)
        files = find_files(study, label, checked, rules, need=need_files)
        if files.paths:
            params |= files.paths
            checked = make_trick(loaded.cls, params)
    except ValidationError as error:
        details = error.errors(include_url=False)
        known = tuple(loaded.cls.model_fields)
        finding = findings(details, params, known, "parameter")[0]
        where = ".".join(("tricks", label, *map(str, finding.path)))
        raise RowProblem(f"{where}: {finding.message}") from error
    except (AblateError, RowProblem):
        raise
    except Exception as error:  # the trick's own: a validator, a default that is computed
        raise RowProblem(f"trick '{label}' cannot be made: {brief(error)}") from error
    kept = keep(checked, params, label)
    teachers = [v[1:] for v in params.values() if isinstance(v, str) and v.startswith("@")]
    # The teacher's key is the trial's own; its name in this study must not enter the key.
    keyed = {
        key: "@" if isinstance(value, str) and value.startswith("@") else value
        for key, value in kept.params.items()
        if key not in files.unused
    } | dict(files.digests)
    spec = TrickSpec(
        name=loaded.name,
        label=label,
        source=loaded.source,
        params=keyed,
        behaviour=loaded.behaviour,
        bundle=bundle,
        files=dict(files.paths),
        exact=tuple(name for name in kept.exact if name in keyed),
    )
    return kept.trick, spec, teachers


def _check_twice(specs: Sequence[TrickSpec]) -> None:
    labels: dict[str, str] = {}
    for spec in specs:
        if spec.name in labels:
            first = labels[spec.name]
            raise RowProblem(
                f"{first} and {spec.label} are both {spec.name}, which a row can have once",
                hint=f"keep one in the stack, or put each in a branch: "
                f'stack = [["{first}"], ["{spec.label}"]]',
            )
        labels[spec.name] = spec.label


def _only_plans(trick: Trick) -> bool:
    hooks = {hook for hook in HOOKS if hasattr(getattr(trick.__class__, hook, None), "ablate_impl")}
    return hooks == {"resolve_recipe"}


def _with_tricks(recipe: Recipe, tricks: Sequence[Trick]) -> tuple[Recipe, tuple[str, ...]]:

    try:
        if problems := stack_problems(tricks):
            raise RowProblem(problems[0], hint=_advice(problems[0], tricks))
        resolved = Recipe.model_validate(resolve_recipe(tricks, recipe).model_dump())
    except AblateError as error:
        raise RowProblem(error.message, hint=error.hint) from error
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        where = ".".join(map(str, detail["loc"]))
        if tricks:
            names = " or ".join(trick.name for trick in tricks)
            raise RowProblem(f"{names} made a recipe whose {where} is out of range") from error
        raise RowProblem(f"recipe.{where} comes to {detail['input']}, out of range") from error
    warnings = [text for trick in tricks for text in trick.warnings(resolved)]
    return resolved, tuple(dict.fromkeys(warnings))


def _advice(problem: str, tricks: Sequence[Trick]) -> str | None:
    named = [trick.name for trick in tricks if trick.name in problem.replace(",", " ").split()]
    if len(named) < 2:
        return None
    branches = ", ".join(f'["{name}"]' for name in named)
    return f"keep one in the stack, or put each in a branch: stack = [{branches}]"
