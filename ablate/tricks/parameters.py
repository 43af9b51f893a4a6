"""A trick's parameters as a trial keeps them, and the trick that is made of them.

A key is made of JSON in which 1 and 1.0 are one number and tables are sorted by name, since most
types take no notice of either. Where a trick can see the difference, as of an `int | float` or in
the order of a `dict`, two trials with one key would be two trainings. `seen_as_written` finds these
parameters, whatever their types are: it writes each in the other ways that have the same key, and
looks whether the trick gets anything else.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from ablate.core.trial import WHOLE

if TYPE_CHECKING:
    from ablate.tricks.base import Trick


def made(cls: type[Trick], kept: Mapping[str, Any]) -> Trick:
    """The trick of what a trial keeps: the planner's and the one that trains are made here."""
    return cls(**kept)


def plain(value: Any) -> Any:
    """JSON with one zero: -0.0 has the key of 0.0, and 1 / x is another number for each."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return 0.0 if isinstance(value, float) and value == 0 else value


def seen_as_written(cls: type[Trick], kept: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the parameters whose value the trick sees in a way that sorted JSON with whole
    numbers for whole floats does not tell."""
    trick = made(cls, kept)
    return tuple(
        name
        for name, value in kept.items()
        if any(_shows(trick, kept, name, value, rewrite) for rewrite in (_floats, _ints, _reversed))
    )


def alike(one: Any, other: Any, *, checked: bool = True) -> bool:
    """Whether two values cannot be told apart: by type, content and, of what has one, order.

    checked: of both; else nothing has looked at `one`, which may be 0 for a `float` or a list for a
    tuple, as defaults are.
    """
    if one is other:
        return True
    if type(one) is not type(other):
        numbers = isinstance(one, int | float) and isinstance(other, int | float)
        return not checked and not isinstance(one, Enum) and (not numbers or bool(one == other))
    within = partial(alike, checked=checked)
    if isinstance(one, float):  # NaN is refused, and `plain` makes one zero of two
        return bool(one == other)
    if isinstance(one, BaseModel):
        fields = [(getattr(one, name), getattr(other, name)) for name in type(one).model_fields]
        return all(within(*pair) for pair in fields) and within(one.model_extra, other.model_extra)
    if isinstance(one, Mapping):
        return within(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(within, one, other))
    if isinstance(one, AbstractSet):  # in no order
        same = sorted(map(repr, one)) == sorted(map(repr, other))
        return bool(one == other) and (same or not checked)
    if dataclasses.is_dataclass(one) and hasattr(one, "__dict__"):
        return within(vars(one), vars(other))
    if not _defines(one, "__eq__"):
        return within(getattr(one, "__dict__", None), getattr(other, "__dict__", None))
    return bool(one == other) and (not _defines(one, "__repr__") or repr(one) == repr(other))


def _defines(value: object, method: str) -> bool:
    return getattr(type(value), method) is not getattr(object, method)


def _shows(
    trick: Trick, kept: Mapping[str, Any], name: str, value: Any, rewrite: Callable[[Any], Any]
) -> bool:
    """Whether the trick gets another value if this one is rewritten, all of it or in one place."""

    def differs(other: Any) -> bool:
        return not alike(getattr(trick, name), getattr(made(cls, {**kept, name: other}), name))

    cls = type(trick)
    places = list(_places(value, rewrite))
    if not places:
        return False
    with suppress(ValidationError):
        if not differs(_rewritten(value, rewrite)):
            return False
    # An `int` beside an `int | float` takes no 1.0, and no study can say what the types refuse.
    for other in (_at(value, place, rewrite) for place in places):
        with suppress(ValidationError):
            cls.model_validate_json(json.dumps({**kept, name: other}), strict=True)
            if differs(other):
                return True
    return False


def _floats(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < WHOLE
    return float(value) if whole else value


def _ints(value: Any) -> Any:
    whole = isinstance(value, float) and value.is_integer() and abs(value) < WHOLE
    return int(value) if whole else value


def _reversed(value: Any) -> Any:
    return dict(reversed(value.items())) if isinstance(value, dict) else value


def _rewritten(value: Any, rewrite: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return rewrite({key: _rewritten(item, rewrite) for key, item in value.items()})
    if isinstance(value, list):
        return [_rewritten(item, rewrite) for item in value]
    return rewrite(value)


def _places(value: Any, rewrite: Callable[[Any], Any]) -> Iterator[tuple[Any, ...]]:
    """Paths to what `rewrite` would change."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            for place in _places(item, rewrite):
                yield (key, *place)
        if isinstance(value, dict) and rewrite is _reversed and len(value) > 1:
            yield ()
    elif type(rewrite(value)) is not type(value):
        yield ()


def _at(value: Any, place: tuple[Any, ...], rewrite: Callable[[Any], Any]) -> Any:
    if not place:
        return rewrite(value)
    first, *rest = place
    if isinstance(value, dict):
        return {k: _at(v, tuple(rest), rewrite) if k == first else v for k, v in value.items()}
    return [_at(v, tuple(rest), rewrite) if k == first else v for k, v in enumerate(value)]
