"""pydantic's findings in the words of this project."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from pydantic_core import ErrorDetails

from ablate.errors import did_you_mean
from ablate.study.document import printable
from ablate.study.toml_positions import Path

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


@dataclass(frozen=True)
class Finding:
    """One mistake in a value: where below it, what, and whether its name is to blame."""

    path: Path
    message: str
    key: bool = False


def findings(
    errors: Sequence[ErrorDetails], value: Any, known: Sequence[str], noun: str
) -> list[Finding]:
    """One finding for each place in `value`; `known` names what the top level may have.

    A union gives one error per member, all at one place: they become one sentence.
    """
    groups: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        groups.setdefault(_place(error, value), []).append(error)
    found = []
    for path, group in groups.items():
        kind = group[0]["type"]
        if kind == "extra_forbidden":
            names = known if len(path) == 1 else ()
            found.append(Finding(path, f"unknown {noun}{_alternatives(path, names, noun)}", True))
        elif kind == "missing" and not isinstance(group[0]["loc"][-1], int):
            found.append(Finding(path, "is missing", True))
        else:
            found.append(Finding(path, _sentence(group, path)))
    return found


def _alternatives(path: Path, known: Sequence[str], noun: str) -> str:
    if known:
        return did_you_mean(str(path[-1]), known)
    return f"; there are no {noun}s here" if len(path) == 1 else ""


def _place(error: ErrorDetails, value: Any) -> Path:
    """The error's place in the value, without the names of a union's members."""
    path: list[str | int] = []
    for part in error["loc"]:
        in_list = isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)
        if in_list or (isinstance(value, Mapping) and part in value):
            value = value[part]
        elif error["type"] == "missing" and isinstance(value, Mapping):
            path.append(part)
            break
        else:
            break
        path.append(part)
    return tuple(path)


def _sentence(group: Sequence[ErrorDetails], path: Path) -> str:
    first = group[0]
    value, context = first["input"], first.get("ctx", {})
    for error in group:
        if error["type"] in _BOUNDS:
            bound, word = _BOUNDS[error["type"]]
            limit = error.get("ctx", {}).get(bound)
            return f"{found(value)} is out of range; must be {word} {_number(limit)}"
    kinds = {error["type"] for error in group}
    if "finite_number" in kinds:
        return f"{found(value)} is not a finite number"
    if first["type"] == "literal_error":
        words = str(context.get("expected", ""))
        return f"expected {words}, found {found(value)}"
    if kinds & {"too_long", "too_short", "missing"}:
        return _length(group)
    expected = [_EXPECTED[kind] for kind in _EXPECTED if kind in kinds]
    if "a number" in expected:
        expected = [word for word in expected if word != "a whole number"]
    if expected:
        wanted = " or ".join(dict.fromkeys(expected))
        return expectation(wanted, value, next((p for p in path[::-1] if isinstance(p, str)), ""))
    if first["type"] in ("value_error", "assertion_error") and "error" in context:
        return printable(str(context["error"]), 300)
    message = first["msg"]
    return printable(message[:1].lower() + message[1:], 300)


def _length(group: Sequence[ErrorDetails]) -> str:
    for error in group:
        context = error.get("ctx", {})
        if error["type"] == "too_long":
            limit = context.get("max_length")
            return f"expected at most {limit} values, found {context.get('actual_length')}"
        if error["type"] == "too_short":
            limit = context.get("min_length")
            return f"expected at least {limit} values, found {context.get('actual_length')}"
    wanted = 1 + max(int(error["loc"][-1]) for error in group)
    return f"expected {wanted} values, found {len(group[0]['input'])}"


def expectation(wanted: str, value: Any, name: str) -> str:
    """'expected a whole number, found the text "20"; write epochs = 20'."""
    repair = _repair(wanted, value)
    advice = f"; write {name} = {repair}" if repair is not None and name else ""
    written = str(value) if isinstance(value, float) else found(value)  # 20.0, not 20
    return f"expected {wanted}, found {written}{advice}"


def _repair(wanted: str, value: Any) -> str | None:
    if isinstance(value, str):
        text = value.strip()
        if wanted == "true or false" and text.lower() in ("true", "false"):
            return text.lower()
        if wanted in ("a number", "a whole number") and len(text) < 30:
            try:
                number = float(text)
            except ValueError:
                return None
            if not abs(number) < 1e15:
                return None
            if number.is_integer() and wanted == "a whole number":
                return str(int(number))
            return text if wanted == "a number" else None
    if wanted == "a whole number" and isinstance(value, float) and value.is_integer():
        return str(int(value)) if abs(value) < 1e15 else None
    if wanted == "a text" and isinstance(value, int | float):
        return f'"{_number(value)}"'
    kinds = str | int | float if wanted == "a list of values" else str
    if wanted.startswith("a list") and isinstance(value, kinds):
        return f"[{json.dumps(value, ensure_ascii=False)}]" if len(str(value)) < 30 else None
    return None


def found(value: Any) -> str:
    """A value as it is named in a message: `the text "20"`, `-0.2`, `a list`."""
    if isinstance(value, str):
        return f'the text "{printable(value, 40)}"'
    if isinstance(value, bool | int | float):
        return _number(value)
    if isinstance(value, datetime | date | time):
        return "a date or time"
    if isinstance(value, Mapping):
        return "a table"
    return "a list" if isinstance(value, list | tuple) else "nothing"


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 2**63:
        return "a number of over 18 digits"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value)) if value else "0"
    return repr(value)
