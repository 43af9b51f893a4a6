"""A configured trick as its trial keeps it: what JSON does not give back is refused here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ablate.design.rows import RowProblem
from ablate.errors import brief
from ablate.study.trick_configs import make_trick
from ablate.tricks.base import Trick
from ablate.tricks.parameters import alike, made, plain, seen_as_written


@dataclass(frozen=True)
class Kept:
    """params: as JSON has them. exact: those that are keyed as they are written too. trick: made of
    the params, as the process that trains makes it."""

    params: Mapping[str, Any]
    exact: tuple[str, ...]
    trick: Trick


def keep(checked: Trick, params: Mapping[str, Any], label: str) -> Kept:
    """What is kept of a trick as the study's `params` make it: a trial is trained from that.

    Raises RowProblem for parameters that are not the same when they are read back.
    """
    cls, kept = type(checked), _dumped(checked, label)
    trick = _read_back(checked, params, kept, label)
    return Kept(kept, seen_as_written(cls, kept), trick)


def _read_back(
    checked: Trick, params: Mapping[str, Any], kept: dict[str, Any], label: str
) -> Trick:
    cls = type(checked)
    try:
        trick = made(cls, kept)
        strict = make_trick(cls, kept)  # as a study's values are read
        again = [_dumped(trick, label), _dumped(strict, label)]
    except Exception as error:  # pydantic's, or of the trick's own validators
        details = error.errors(include_url=False) if isinstance(error, ValidationError) else []
        said = details[0]["msg"] if details else brief(error)
        raise RowProblem(
            f"trick '{label}': its parameters cannot be read back from JSON: {said}",
            hint="no NaN, no aliases, no text that is not UTF-8",
        ) from error
    once_more = _dumped(make_trick(cls, params), label)  # a default may be computed
    if any(json.dumps(other) != json.dumps(kept) for other in (*again, once_more)):
        raise RowProblem(
            f"trick '{label}': its parameters are others when they are read back from JSON",
            hint="a default must be the same each time, and no validator may change what it made",
        )
    for name in cls.model_fields:
        before, between, after = (getattr(one, name) for one in (checked, strict, trick))
        teacher = isinstance(before, str) and before.startswith("@")  # the trial's own key has it
        whole = alike(before, after, checked=False) and alike(between, after)
        if not whole and not teacher:
            raise RowProblem(
                f"trick '{label}': its parameter '{name}' is {_shown(before)} where the study is "
                f"read and {_shown(after)} where it is trained",
                hint="declare a type that JSON gives back: no Secret, nothing excluded or rounded, "
                "no union of two kinds of list",
            )
    return trick


def _dumped(trick: Trick, label: str) -> dict[str, Any]:
    """Its parameters as a result keeps them. Raises RowProblem."""
    try:
        written = _ordered(trick.model_dump(), trick.model_dump(mode="json"))
        kept: dict[str, Any] = plain(json.loads(json.dumps(written)))  # as it travels
    except Exception as error:  # whatever its own types raise
        raise RowProblem(
            f"trick '{label}': its parameters cannot be written as JSON: {brief(error)}",
            hint="declare them as numbers, text, true and false, or tuples of these",
        ) from error
    return kept


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _ordered(value: Any, written: Any) -> Any:
    """What a set was written as, sorted: its order is another one in each process."""
    if isinstance(value, set | frozenset):
        return sorted(plain(written), key=json.dumps)
    if isinstance(value, dict) and isinstance(written, dict) and len(value) == len(written):
        pairs = zip(value.values(), written.items(), strict=True)
        return {key: _ordered(inside, item) for inside, (key, item) in pairs}
    if isinstance(value, list | tuple) and isinstance(written, list) and len(value) == len(written):
        return [_ordered(*pair) for pair in zip(value, written, strict=True)]
    return written
