"""JSON Schema of study files, with the installed tricks' parameters, for editors.

It accepts every study that `ablate check` accepts; what needs more than one value to see (names of
aliases, tricks that do not fit together) is left to `check`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ablate.core.recipe import Recipe
from ablate.errors import AblateError
from ablate.study.ablations import KINDS, ONCE
from ablate.study.loader import ProtocolSection, StudySection
from ablate.study.orderings import MAX_ORDERS

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ablate.tricks.discovery import Catalogue

Schema = dict[str, Any]
_BOUNDS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
}


def study_schema(catalogue: Catalogue) -> Schema:
    """The schema of a study file, draft 2020-12. A trick that does not import has no parameters."""
    definitions: dict[str, Schema] = {}
    settings = _fields(Recipe, definitions, "")
    tricks = {name: _parameters(catalogue, name, definitions) for name in catalogue.names}
    definitions |= {
        "settings": _object(settings, "some settings of a recipe"),
        "name": {
            "anyOf": [{"enum": list(catalogue.names)}, {"type": "string"}],
            "description": "a trick, or a name from [tricks]",
        },
        "names": {"type": "array", "items": _ref("name")},
        "stack": {
            "type": "array",
            "items": {"anyOf": [_ref("name"), {**_ref("names"), "minItems": 1}]},
            "description": "tricks, in the order of the table's rows; [a list] is a branch",
        },
        "inherited": _inherited(),
        "alias": {"anyOf": [_bundle(), *(_alias(name, tricks[name]) for name in tricks)]},
    }
    definitions |= {f"trick.{name}": _trick(tricks[name]) for name in tricks}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ablate study",
        **_object(
            {
                "extends": {"type": "string", "description": "a study file that this one changes"},
                "study": _section(
                    StudySection, definitions, {"stack": {**_ref("stack"), "minItems": 1}}
                ),
                "recipe": {**_ref("settings"), "description": "the baseline"},
                "tricks": {
                    "type": "object",
                    "description": "parameters, aliases and bundles",
                    "properties": {
                        name: {"anyOf": [_ref(f"trick.{name}"), _ref("alias")]}
                        for name in catalogue.names
                    },
                    "additionalProperties": {"anyOf": [_ref("alias"), _ref("inherited")]},
                },
                "protocol": _section(ProtocolSection, definitions, {}),
                "ablation": {"type": "array", "items": _ablation(settings)},
                "override": {"type": "array", "items": _override()},
                "trial": {"type": "object", "additionalProperties": _trial()},
            }
        ),
        "$defs": definitions,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _object(properties: Schema, description: str = "", required: tuple[str, ...] = ()) -> Schema:
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    if description:
        schema["description"] = description
    if required:
        schema["required"] = list(required)
    return schema


def _fields(model: type[BaseModel], definitions: dict[str, Schema], prefix: str) -> Schema:
    """The schemas of a model's fields; the types that they use go to `definitions`."""
    text = json.dumps(model.model_json_schema(mode="validation"))
    schema: Schema = json.loads(text.replace('"#/$defs/', f'"#/$defs/{prefix}'))
    for name, definition in schema.pop("$defs", {}).items():
        definitions[prefix + name] = definition
    properties: Schema = schema.get("properties", {})
    for name, field in properties.items():
        # pydantic leaves out the bounds of a union, such as a number's
        for bound in model.model_fields[name].metadata:
            for ours, theirs in _BOUNDS.items():
                if hasattr(bound, ours):
                    field.setdefault(theirs, getattr(bound, ours))
        if "default" in field and field["default"] is None:  # TOML has no null
            del field["default"]
            if "anyOf" in field:
                field["anyOf"] = [one for one in field["anyOf"] if one != {"type": "null"}]
    return properties


def _section(
    model: type[BaseModel], definitions: dict[str, Schema], replaced: dict[str, Schema]
) -> Schema:
    fields = _fields(model, definitions, f"{model.__name__}.")
    return _object(fields | replaced, (model.__doc__ or "").splitlines()[0])


def _parameters(catalogue: Catalogue, name: str, definitions: dict[str, Schema]) -> Schema | None:
    try:
        cls = catalogue.load(name).cls
    except AblateError:
        return None
    return _fields(cls, definitions, f"{name}.")


def _configured(parameters: Schema | None, properties: Schema, *required: str) -> Schema:
    schema = _object((parameters or {}) | properties | {"set": _ref("settings")}, "", required)
    if parameters is None:
        schema["additionalProperties"] = True
    return schema


def _trick(parameters: Schema | None) -> Schema:
    return _configured(parameters, {})


def _alias(name: str, parameters: Schema | None) -> Schema:
    return _configured(parameters, {"use": {"const": name}}, "use")


def _bundle() -> Schema:
    bundle = {**_ref("names"), "minItems": 1, "uniqueItems": True}
    return _object({"bundle": bundle, "set": _ref("settings")}, "", ("bundle",))


def _inherited() -> Schema:
    """Changes to an alias or bundle of the file that this one extends: whose, is not known here."""
    named: Schema = {"anyOf": [{"required": ["use"]}, {"required": ["bundle"]}]}
    return {"type": "object", "properties": {"set": _ref("settings")}, "not": named}


def _ablation(settings: Schema) -> Schema:
    # an axis of a grid may be part of a setting: over = { schedule.gamma = [0.1, 0.2] }
    axis = {"anyOf": [{"type": "array", "minItems": 1}, {"type": "object", "minProperties": 1}]}
    grid = _object(dict.fromkeys(settings, axis))
    once = {"type": "boolean", "default": False, "description": "one choice for all seeds of a row"}
    return _object(
        {
            "name": {"type": "string"},
            "kind": {"enum": list(KINDS)},
            "base": {**_ref("names"), "description": "tricks in every row"},
            "stack": _ref("stack"),  # an empty one is a table of the baseline alone
            "orders": _orders(),
            "over": {
                "anyOf": [grid, {"type": "array", "minItems": 1, "items": _ref("settings")}],
                "description": "a grid or a list of settings, one table each",
            },
            "transpose": {"type": "boolean", "description": "columns of `over` as rows"},
            "tune": {
                **_object({**dict.fromkeys(settings, axis), ONCE: once}),
                "description": "settings that every seed of every row chooses among",
            },
        }
    )


def _orders() -> Schema:
    entry = {"anyOf": [_ref("name"), {**_ref("names"), "minItems": 1}]}
    order = {"type": "array", "minItems": 2, "items": entry}
    return {
        "anyOf": [
            {"type": "integer", "minimum": 2, "maximum": MAX_ORDERS},
            {"const": "all"},
            {"type": "array", "minItems": 2, "items": order},
        ],
        "default": 2,
        "description": 'of kind = "orderings": how many (forward and reverse first), or which',
    }


def _override() -> Schema:
    one_or_many = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    when = _object(dict.fromkeys(("model", "dataset", "trick"), one_or_many))
    return _object(
        {
            "when": {**when, "minProperties": 1},
            "set": _ref("settings"),
            "tricks": {"type": "object", "additionalProperties": {"type": "object"}},
            "drop": _ref("names"),
        },
        "a change that holds only where `when` says",
        ("when",),
    )


def _trial() -> Schema:
    seed = {"type": "integer", "minimum": 0, "default": 0}
    return _object(
        {"tricks": _ref("names"), "seed": seed, "set": _ref("settings")},
        "a training that others use, such as a teacher",
    )
