"""Damage to a file: bits that flip, pieces that vanish, and values that no writer of ours wrote."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, [], {}, -1, 0, 1.5, 2**40, 10**30, 10**400, float("inf"), float("nan")),
    *("x", "\ud800", "\x1b[31m", "2026-01-01", [[]], {"a": 1}),
)
_VALUE = re.compile(rb':\s*("[^"]*"|[-\d.e+]+|null|true|false|\{\}|\[\])')


def mutate(path: Path, chance: random.Random) -> str:
    """Damage the file's bytes; what was done, in a word."""
    data = bytearray(path.read_bytes())
    kind = chance.choice(["flip", "flip", "cut", "zeros", "value", "twice", "nested"])
    place = chance.randrange(len(data))
    if kind == "flip":
        data[place] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del data[place:]
    elif kind == "zeros":
        data[place : place + 64] = bytes(len(data[place : place + 64]))
    elif kind == "value" and (found := [*_VALUE.finditer(data)]):
        start, end = chance.choice(found).span(1)
        value = chance.choice(VALUES)
        data[start:end] = json.dumps(value).encode()
    elif kind == "nested":
        data = bytearray(b"[" * 10_000)
    else:
        data[place:place] = data[max(0, place - 200) : place]
    path.write_bytes(data)
    return kind


def retype(path: Path, chance: random.Random) -> str:
    """Give a value of a JSON document, or of a line, another type; no checksum tells of it."""
    data = path.read_bytes()
    lines = data.splitlines() if path.suffix == ".jsonl" else [data]
    number = chance.randrange(len(lines))
    document = json.loads(lines[number])
    for name in ("checksum", "crc"):
        document.pop(name, None)
    inside, key = chance.choice(_places(document))
    if chance.random() < 0.15:
        del inside[key]
    else:
        inside[key] = chance.choice(VALUES)
    lines[number] = json.dumps(document).encode()
    path.write_bytes(b"\n".join(lines) + b"\n")
    return "retyped"


def _places(document: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value within."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        inside = waiting.pop()
        items = inside.items() if isinstance(inside, dict) else enumerate(inside)
        for key, value in list(items):
            found.append((inside, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found
