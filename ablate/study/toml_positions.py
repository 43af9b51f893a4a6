"""Where in a TOML text every key and value stands, since tomli says nothing of it.

The text is one that tomli accepted: nothing is validated here. A key path is a tuple of table keys
and list indices, the elements of `[[tables]]` included.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK_OR_COMMA = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_INDENT = re.compile(r"[ \t]*")
# A closing delimiter may be preceded by up to two quotes that belong to the string.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?""""{0,2}'
    r"|'''.*?''''{0,2}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_VALUE = re.compile(r"[^,\]}\n#]*")
_BARE_KEY = re.compile(r"[^ \t\r\n.=\]#\"'{}\[,]*")


@dataclass(frozen=True)
class Span:
    """Part of one line: `line` counts from 1, `column` from 0."""

    line: int
    column: int
    length: int


@dataclass
class Positions:
    """Offsets of keys and values; `span` turns them into lines and columns."""

    text: str
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", self.text))]

    def span(self, path: Path, *, key: bool = False) -> Span | None:
        """Where `path` stands, its key or else its value; of what is nowhere, the enclosing one.

        None if not even the first part of the path is in the text.
        """
        while path:
            for spans in (self.keys, self.values) if key else (self.values, self.keys):
                if path in spans:
                    return self._span(*spans[path])
            path, key = path[:-1], True
        return None

    def line(self, number: int) -> str:
        """The text of line `number`, from 1, without its end."""
        start = self._starts[number - 1]
        end = self._starts[number] if number < len(self._starts) else len(self.text)
        return self.text[start:end].rstrip("\n")

    def _span(self, start: int, end: int) -> Span:
        number = bisect_right(self._starts, start)
        column = start - self._starts[number - 1]
        # what spans several lines is underlined on its first one
        length = min(end - start, len(self.line(number).rstrip()) - column)
        return Span(number, column, max(length, 1))


def find_positions(text: str) -> Positions:
    """The positions of everything in `text`, a document that tomli accepts."""
    text = text.replace("\r\n", "\n")  # as tomli does
    scanner = _Scanner(text)
    scanner.document()
    return scanner.found


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found = Positions(text)
        self.counts: dict[Path, int] = {}  # elements so far of each [[array of tables]]

    def document(self) -> None:
        table: Path = ()
        while True:
            self._skip(_BLANK)
            before = self.at
            if before >= len(self.text):
                return
            if self.text[before] == "[":
                table = self._header()
            else:
                self._pair(table)
            if self.at == before:  # cannot happen in valid TOML; never loop on what is not
                return

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match.group()

    def _key(self) -> list[tuple[str, int, int]]:
        """The parts of a dotted key: (name, start, end)."""
        parts = []
        while True:
            self._skip(_INDENT)
            start = self.at
            quoted = self.text[start : start + 1] in ("'", '"')
            raw = self._skip(_STRING) if quoted else self._skip(_BARE_KEY)
            parts.append((_unquoted(raw) if quoted else raw, start, self.at))
            self._skip(_INDENT)
            if self.text[self.at : self.at + 1] != ".":
                return parts
            self.at += 1

    def _header(self) -> Path:
        array = self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        parts = self._key()
        self._skip(re.compile(r"[ \t]*\]{1,2}"))
        path: Path = ()
        for number, (name, start, end) in enumerate(parts):
            path = (*path, name)
            self.found.keys.setdefault(path, (start, end))
            if number < len(parts) - 1:
                if path in self.counts:
                    path = (*path, self.counts[path] - 1)
            elif array:
                self.counts[path] = self.counts.get(path, 0) + 1
                path = (*path, self.counts[path] - 1)
                self.found.keys[path] = (parts[0][1], end)
            else:
                self.found.keys[path] = (parts[0][1], end)
        return path

    def _names(self, table: Path) -> Path:
        """Read `key =` and note where each part of the key stands."""
        path = table
        for name, start, end in self._key():
            path = (*path, name)
            self.found.keys.setdefault(path, (start, end))
        self._skip(re.compile(r"[ \t]*=[ \t]*"))
        return path

    def _pair(self, table: Path) -> None:
        path = self._names(table)
        containers: list[tuple[Path, str, int]] = []  # of the value being read, outermost first
        elements: list[int] = []
        while True:
            start = self.at
            opening = self.text[start : start + 1]
            if opening in ("[", "{"):
                containers.append((path, "]" if opening == "[" else "}", start))
                elements.append(0)
                self.at += 1
            else:
                quoted = opening in ("'", '"')
                raw = self._skip(_STRING if quoted else _BARE_VALUE)
                if not raw:  # no valid TOML: a value has a text
                    self.at = len(self.text)
                    return
                self.found.values[path] = (start, start + len(raw.rstrip() if not quoted else raw))
            while containers:
                self._skip(_BLANK_OR_COMMA)
                path, closing, start = containers[-1]
                following = self.text[self.at : self.at + 1]
                if following and following != closing:
                    break
                self.at += 1
                self.found.values[path] = (start, min(self.at, len(self.text)))
                containers.pop()
                elements.pop()
            else:
                return
            if closing == "]":
                path = (*path, elements[-1])
                elements[-1] += 1
            else:
                path = self._names(path)


def _unquoted(raw: str) -> str:
    if raw.startswith("'") or "\\" not in raw:
        return raw[1:-1]
    import tomli

    try:
        return next(iter(tomli.loads(f"{raw} = 0")))
    except tomli.TOMLDecodeError:
        return raw[1:-1]
