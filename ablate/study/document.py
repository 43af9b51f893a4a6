"""A study's table after `extends` and `--set`, with the place each part of it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ablate.errors import Problem
from ablate.study.source import Source
from ablate.study.toml_positions import Path

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Origin:
    """Where a value stands: in which source under which path; `parts` came from elsewhere."""

    source: Source
    path: Path = ()
    parts: Mapping[str | int, Origin] = field(default_factory=dict)

    def of(self, part: str | int) -> Origin:
        """The origin of `value[part]`."""
        return self.parts.get(part) or Origin(self.source, (*self.path, part))


@dataclass(frozen=True)
class Document:
    """The merged table and its origins; `sources` has every file that was read, the first first."""

    table: dict[str, Any]
    origin: Origin
    sources: tuple[Source, ...]

    def origin_of(self, path: Path) -> Origin:
        """Where the value at `path` came from."""
        origin = self.origin
        for part in path:
            origin = origin.of(part)
        return origin

    def problem(
        self, path: Path, message: str, *, hint: str | None = None, key: bool = False
    ) -> Problem:
        """A problem at `path`, its value underlined, or with `key` its name."""
        origin = self.origin_of(path)
        name = dotted(origin.path)
        if origin.source.path is None:
            return Problem(origin.source.file, 0, name, message, hint)
        positions = origin.source.positions
        span = positions.span(origin.path, key=key)
        if span is None:
            return Problem(origin.source.file, 1, name, message, hint)
        return Problem(
            origin.source.file,
            span.line,
            name,
            message,
            hint,
            positions.line(span.line),
            (span.column, span.length),
        )


def document_of(source: Source) -> Document:
    """A document of one source alone."""
    return Document(source.table, Origin(source), (source,))


def merged(parent: Document, child: Document) -> Document:
    """`child` over `parent`: tables merge, lists replace, ablations match by name."""
    table, origin = _merged_tables(parent.table, parent.origin, child.table, child.origin, top=True)
    return Document(table, origin, (*child.sources, *parent.sources))


def _merged_tables(
    below: dict[str, Any], below_at: Origin, above: dict[str, Any], above_at: Origin, top: bool
) -> tuple[dict[str, Any], Origin]:
    table: dict[str, Any] = {}
    parts: dict[str | int, Origin] = {}
    for key in [*below, *(key for key in above if key not in below)]:
        if key not in above:
            table[key], parts[key] = below[key], below_at.of(key)
        elif key in below and isinstance(below[key], dict) and isinstance(above[key], dict):
            table[key], parts[key] = _merged_tables(
                below[key], below_at.of(key), above[key], above_at.of(key), top=False
            )
        elif top and key == "ablation" and _named(below.get(key)) and _named(above[key]):
            table[key], parts[key] = _merged_ablations(
                below[key], below_at.of(key), above[key], above_at.of(key)
            )
        else:
            table[key], parts[key] = above[key], above_at.of(key)
    return table, Origin(above_at.source, above_at.path, parts)


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _merged_ablations(
    below: list[dict[str, Any]], below_at: Origin, above: list[dict[str, Any]], above_at: Origin
) -> tuple[list[dict[str, Any]], Origin]:
    blocks = list(below)
    parts: dict[str | int, Origin] = {i: below_at.of(i) for i in range(len(below))}
    names = {ablation_name(block): i for i, block in enumerate(below)}
    for number, block in enumerate(above):
        index = names.get(ablation_name(block), len(blocks))
        if index < len(below):
            blocks[index], parts[index] = _merged_tables(
                blocks[index], parts[index], block, above_at.of(number), top=False
            )
        else:
            parts[len(blocks)] = above_at.of(number)
            blocks.append(block)
    return blocks, Origin(above_at.source, above_at.path, parts)


def ablation_name(block: Mapping[str, Any]) -> Any:
    """An ablation's name; one without is called after its kind."""
    name = block.get("name", block.get("kind", "cumulative"))
    return name if isinstance(name, str) else repr(name)


def dotted(path: Path) -> str:
    """("study", "stack", 1) -> "study.stack[1]"."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _BARE.fullmatch(part) else f'"{printable(part)}"'
            text += f".{name}" if text else name
    return text


def printable(text: str, limit: int = 60) -> str:
    """User text for a message: control and bidirectional characters spelled out, not too long."""
    import unicodedata

    def shown(char: str) -> str:
        if unicodedata.category(char) not in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"):
            return char
        return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"

    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return "".join(map(shown, cut))
