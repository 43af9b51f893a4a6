"""Whose code a study runs besides ablate's own, told without running any of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ablate.errors import AblateError, Problem
from ablate.tricks.installed import BUNDLED
from ablate.util.own_code import is_function, plugins_refused, refusal
from ablate.util.unimported import look

if TYPE_CHECKING:
    from ablate.core.trial import Trial
    from ablate.study.model import Study

_Function = tuple[str, str]  # ("model", "mine:small")


def study_functions(study: Study) -> list[_Function]:
    """The functions that a study names, for data sets, then for models: its own, those of rows,
    overrides and teachers."""
    found = [("data set", name) for name in study.datasets if is_function(name)]
    found += [("model", name) for name in _models(study.document.table)]
    return list(dict.fromkeys(found))


def trial_functions(trials: Iterable[Trial]) -> list[_Function]:
    """The functions that trials name."""
    trials = list(trials)
    found = [("data set", trial.dataset.name) for trial in trials]
    found += [("model", trial.recipe.model) for trial in trials]
    return [each for each in dict.fromkeys(found) if is_function(each[1])]


def refuse_code(trials: Iterable[Trial]) -> None:
    """Raise AblateError for the first trick or function of these trials that must not run."""
    trials = list(trials)
    for spec in (spec for trial in trials for spec in trial.tricks):
        if plugins_refused() and spec.source.split(" ")[0] != BUNDLED:
            raise AblateError(f"trick '{spec.name}' of {spec.source} is refused by --no-plugins")
    for what, name in trial_functions(trials):
        if why := refusal(name):
            raise AblateError(f"{what} '{name}' {why[0]}", hint=why[1])


def in_words(functions: Iterable[_Function]) -> tuple[str, ...]:
    """ "/home/me/mine.py (model mine:small)": where each function is, as far as can be told."""
    found: dict[str, list[str]] = {}
    for what, name in functions:
        found.setdefault(_place(what, name), []).append(f"{what} {name}")
    return tuple(f"{place} ({', '.join(names)})" for place, names in found.items())


def others_code(trials: Iterable[Trial]) -> tuple[str, ...]:
    """Both kinds, of trials as they are stored."""
    trials = list(trials)
    specs = [spec for trial in trials for spec in trial.tricks]
    tricks = tricks_in_words((spec.source, spec.name) for spec in specs)
    return (*tricks, *in_words(trial_functions(trials)))


def tricks_in_words(sources: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """ "ablate-example 0.1 (label_noise)", of (source, trick) pairs; without ablate's own."""
    found: dict[str, dict[str, None]] = {}
    for source, trick in sources:
        if source.split(" ")[0] != BUNDLED:
            found.setdefault(source, {})[trick] = None
    return tuple(f"{source} ({', '.join(names)})" for source, names in found.items())


def function_problems(study: Study, models: Iterable[str]) -> list[Problem]:
    """What is wrong with a study's data sets and these models of its, where they are functions."""
    found = []
    for number, name in enumerate(study.datasets):
        if is_function(name) and (error := _wrong("data set", name)):
            path: tuple[str | int, ...] = ("study", "datasets", number)
            found.append(study.document.problem(path, error.message, hint=error.hint))
    for name in models:
        if is_function(name) and (error := _wrong("model", name)):
            path = _place_of(study.document.table, name) or ("recipe", "model")
            found.append(study.document.problem(path, error.message, hint=error.hint))
    return found


def _wrong(what: str, name: str) -> AblateError | None:
    try:
        look(what, name)
    except AblateError as error:
        return error
    return None


def _place(what: str, name: str) -> str:
    try:
        return look(what, name) or f"module {name.partition(':')[0]}"
    except AblateError:
        return f"module {name.partition(':')[0]}, which is not found"


def _models(value: Any, key: str = "") -> Iterator[str]:
    """Every text of a study that is a function: a model, or a parameter that a trick may take for
    one, as a teacher, if there is such a module."""
    if isinstance(value, str):
        if is_function(value) and (key == "model" or _is_there(value)):
            yield value
    elif isinstance(value, Mapping):
        for inner, item in value.items():
            if inner != "datasets":
                yield from _models(item, inner)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _models(item, key)


def _is_there(name: str) -> bool:
    try:
        return bool(look("model", name))
    except AblateError:
        return False


def _place_of(value: Any, name: str, path: tuple[str | int, ...] = ()) -> tuple[str | int, ...]:
    """Where in a study a text stands; () if nowhere."""
    if value == name and path[:2] != ("study", "datasets"):
        return path
    items: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for key, item in items:
        if found := _place_of(item, name, (*path, key)):
            return found
    return ()
