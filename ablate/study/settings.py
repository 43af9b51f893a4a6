"""Settings as nested tables: merging, flattening and comparing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ablate.study.toml_positions import Path


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`: tables merge, everything else is replaced."""
    result = dict(below)
    for key, value in above.items():
        inner = result.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        result[key] = over(inner, value) if both else value  # type: ignore[arg-type]
    return result


def leaves(settings: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """(key path, value) of everything that is not a table."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"schedule.gamma": 0.1, ...}."""
    return {".".join(map(str, path)): value for path, value in leaves(settings)}
