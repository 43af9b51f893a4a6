"""`tune`: the settings that a row chooses among, in force and in words.

What is chosen is decided elsewhere (`ablate.planning.tuning`), from what the trials here measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.core.recipe import Recipe
from ablate.core.resolved_study import NOT_YET, by_seeds, unchosen_in_words
from ablate.core.trial import Trial
from ablate.design.rows import RowProblem
from ablate.design.text import value_in_words
from ablate.study.model import Ablation, Settings
from ablate.study.settings import over

TENTH = 10  # one training image of so many is held out

# Provisional trials of rows whose settings are not chosen: their data set is nobody's, so that no
# stored trial is ever taken for theirs.
_OPEN = "not chosen: "


@dataclass(frozen=True)
class Choice:
    """Which of its settings a seed of a row chooses; None and why, while or where none is."""

    index: int | None = None
    reason: str = ""


# From the keys of the trials that are chosen by, one for each setting in the declared order.
Choose = Callable[[tuple[str, ...]], Choice]


def nothing_chosen(keys: tuple[str, ...]) -> Choice:
    """Before anything is trained."""
    return Choice(reason=NOT_YET)


def options(tune: Settings) -> tuple[dict[str, Any], ...]:
    """Every combination, the last setting varying fastest: {"lr": {"factor": 0.3}}, or a value."""
    axes = []
    for key, choices in tune.items():
        if isinstance(choices, Mapping):
            axes.append([(key, {"factor": factor}) for factor in choices["factor"]])
        else:
            axes.append([(key, value) for value in choices])
    return tuple(dict(combination) for combination in itertools.product(*axes)) if axes else ()


def choosing(ablation: Ablation, seeds: Sequence[int]) -> int:
    """How many choices a row makes."""
    return 0 if not ablation.tune else 1 if ablation.once else len(seeds)


def with_option(settings: Settings, option: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """(settings with the option in force, what its factors multiply). Raises RowProblem."""
    settings, bases = dict(settings), {}
    for key, value in option.items():
        if is_factor(value):
            base = settings.get(key, Recipe.model_fields[key].default)
            if isinstance(base, bool) or not isinstance(base, int | float):
                raise RowProblem(f"{key} has no number that a factor could multiply")
            bases[key] = base
            product = base * value["factor"]
            whole = isinstance(base, int) and float(product).is_integer()
            settings[key] = int(product) if whole else product
        else:
            settings = over(settings, {key: value})
    return settings, bases


def is_factor(value: Any) -> bool:
    """Whether it multiplies what is there."""
    return isinstance(value, Mapping) and set(value) == {"factor"}


def option_in_words(option: Settings) -> str:
    """ "lr × 0.3, weight_decay 0.0005"."""
    return ", ".join(
        f"{key} × {value_in_words(value['factor'])}"
        if is_factor(value)
        else f"{key} {value_in_words(value)}"
        for key, value in option.items()
    )


def in_words(tune: Settings, bases: Sequence[Mapping[str, Any]]) -> str:
    """ "lr chosen of 0.3, 1, 3 × 0.1, weight_decay of 0.0001, 0.0005".

    bases: what the factors multiply, of every row; rows may differ in it.
    """
    parts = []
    for number, (key, choices) in enumerate(tune.items()):
        factors = isinstance(choices, Mapping)
        values = choices["factor"] if factors else choices
        said = f"{key} {'' if number else 'chosen '}of {', '.join(map(value_in_words, values))}"
        if factors:
            found = {base[key] for base in bases}
            said += f" × {value_in_words(found.pop())}" if len(found) == 1 else " × each row's own"
        parts.append(said)
    return ", ".join(parts)


def tuning_trial(trial: Trial, seed: int) -> Trial:
    """The same with this seed on nine tenths of train, evaluated on the tenth that is held out for
    it."""
    dataset = trial.dataset.model_copy(update={"held_out": TENTH, "fold": seed % TENTH})
    return trial.model_copy(update={"dataset": dataset, "seed": seed})


def provisional(trial: Trial) -> Trial:
    """In the place of a row's trial whose settings are not chosen."""
    fingerprint = f"{_OPEN}{trial.dataset.fingerprint}"
    return trial.model_copy(
        update={"dataset": trial.dataset.model_copy(update={"fingerprint": fingerprint})}
    )


def choices_in_words(
    keys: Sequence[str], recipes: Sequence[Recipe], reasons: Sequence[str | None]
) -> str:
    """ "lr 0.3 chosen", as the row is trained with it; "lr 0.3 (2 of 3 seeds), 0.1 (1 of 3)
    chosen"; "lr not chosen yet".

    recipes, reasons: of each seed, as `Row.reasons`.
    """
    values = [
        _values(keys, recipe) if why is None else None
        for recipe, why in zip(recipes, reasons, strict=True)
    ]
    said = []
    if chosen := by_seeds(values):
        said.append(f"{f'{keys[0]} ' if len(keys) == 1 else ''}{chosen} chosen")
    if any(why is not None for why in reasons):
        said.append(unchosen_in_words(keys, reasons))
    return "; ".join(said)


def _values(keys: Sequence[str], recipe: Recipe) -> str:
    """ "0.3" of one setting, "lr 0.3 and weight_decay 0.0005" of several."""
    values = recipe.model_dump(mode="json")
    if len(keys) == 1:
        return value_in_words(values[keys[0]])
    return " and ".join(f"{key} {value_in_words(values[key])}" for key in keys)
