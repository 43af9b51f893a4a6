"""What can be said of a trick from its class and its docstring."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.tricks.base import Trick
    from ablate.tricks.discovery import LoadedTrick

_CITATION = re.compile(
    r"([A-Z][\w’'-]+(?: et al\.| and [A-Z][\w’'-]+)?), (\d{4}), (https?://[^\s;,]+)"
)
_URL = re.compile(r"https?://[^\s;,]+")


@dataclass(frozen=True)
class Parameter:
    """One parameter: its type and bounds in words, its default as TOML has it.

    The default of one that may be left out for good is "none", which TOML cannot say.
    """

    name: str
    kind: str
    default: str
    description: str


def summary(trick: type[Trick]) -> str:
    """What it does, on one line: of the module's docstring, or of the class's."""
    # A class without its own docstring has the base class's.
    own = trick.__dict__.get("__doc__") or ""
    for text in (sys.modules[trick.__module__].__doc__, own):
        paragraph = (text or "").strip().partition("\n\n")[0]
        line = " ".join(paragraph.split()).removesuffix(".")
        head, colon, rest = line.partition(": ")
        if line:
            return rest if colon and len(head) <= 40 else line
    return ""


def citation(trick: type[Trick]) -> str:
    """ "Zhang et al., 2017 · arxiv.org/abs/1710.09412", or "" if the docstring names no paper."""
    text = " ".join((sys.modules[trick.__module__].__doc__ or "").split())
    if match := _CITATION.search(text):
        return f"{match[1]}, {match[2]} · {_short(match[3])}"
    url = _URL.search(text)
    return _short(url[0]) if url else ""


def _short(url: str) -> str:
    return re.sub(r"^https?://", "", url).rstrip(".")


def hooks(trick: type[Trick]) -> list[str]:
    """Hooks that it implements, in loop order; those that it replaces marked `*`."""
    from ablate.hookspecs import HOOKS

    found = []
    for name, info in HOOKS.items():
        options = getattr(getattr(trick, name, None), "ablate_impl", None)
        if options is not None:
            replaces = info.kind == "replaceable" and not options.get("wrapper")
            found.append(f"{name} *" if replaces else name)
    return found


def origin(source: str) -> str:
    """ "bundled", a file, or a distribution and its version."""
    from ablate.tricks.installed import BUNDLED

    return "bundled" if source.split(" ")[0] == BUNDLED else source


def parameters(trick: type[Trick]) -> list[Parameter]:
    """The trick's parameters, from its fields."""
    schema = trick.model_json_schema()
    shared = schema.get("$defs", {})
    found = []
    for name, field in trick.model_fields.items():
        described = schema["properties"][name]
        value = field.get_default(call_default_factory=True)
        default = "" if field.is_required() else "none" if value is None else toml(value)
        kind = _kind(described, shared)
        found.append(Parameter(name, kind, default, field.description or ""))
    return found


def _kind(schema: dict[str, Any], shared: dict[str, Any]) -> str:
    if "$ref" in schema:
        schema = shared.get(schema["$ref"].rpartition("/")[2], {}) | schema
    if "anyOf" in schema:
        kinds = [_kind(one, shared) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return " or ".join(toml(value) for value in schema["enum"])
    if "const" in schema:
        return toml(schema["const"])
    names = {"number": "number", "integer": "whole number", "boolean": "true or false",
             "string": "text", "array": "list", "object": "table"}  # fmt: skip
    kind = names.get(schema.get("type", ""), "value")
    bounds = []
    for key, word in (
        ("exclusiveMinimum", "above"), ("minimum", "at least"),
        ("exclusiveMaximum", "below"), ("maximum", "at most"),
    ):  # fmt: skip
        if key in schema:
            bounds.append(f"{word} {schema[key]:g}")
    return " ".join([kind, ", ".join(bounds)]).strip()


def toml(value: Any) -> str:
    """A value as a study file has it."""
    import json

    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    return str(value)


def in_a_study(trick: type[Trick]) -> str:
    """What to paste into a study."""
    given = [f"{p.name} = {p.default or '…'}" for p in parameters(trick) if p.default != "none"]
    if not given:
        return f'stack = ["{trick.name}"]'
    return f"{trick.name} = {{ {', '.join(given)} }}"


def together(loaded: LoadedTrick, others: list[LoadedTrick]) -> str:
    """With which of the others it cannot stand in a row, and how it shares a batch."""
    trick = loaded.cls
    against = sorted(
        other.name
        for other in others
        if other.name != loaded.name
        and (trick.exclusive & other.cls.exclusive or trick.conflicts & other.cls.provides)
    )
    if against:
        return f"not with {', '.join(against)}"
    if "batch_mixers" in hooks(trick):
        mixers = [o.name for o in others if o.name != trick.name and "batch_mixers" in hooks(o.cls)]
        return f"with {', '.join(mixers)}: one of them per batch" if mixers else ""
    return ""
