"""One study file as text and table, or the one problem that makes it unreadable."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tomli

from ablate.errors import Problem, StudyError
from ablate.study.toml_positions import Positions, find_positions

MAX_BYTES = 2**20
MAX_DEPTH = 20  # tables in tables; a study needs five
MAX_VALUES = 5000  # keys and list entries; the checks are quick for so many
_TOO_DEEP = "tables or lists are nested too deeply"
_ORDINARY = "ablate init FILE writes a study to begin with"


@dataclass(frozen=True)
class Source:
    """A file, or an option of the command line: as shown to the user, its text and its table."""

    file: str
    text: str
    table: dict[str, Any]
    path: Path | None = None  # None: an option

    @cached_property
    def positions(self) -> Positions:
        """Where everything stands; found only once a problem has to be shown."""
        return find_positions(self.text)


def read_source(path: Path, shown: str, blame: Problem | None = None) -> Source:
    """Read and parse one file. `blame`: the problem to report instead of "no such file"."""
    try:
        if path.is_dir():
            raise _refused(shown, "is a folder, not a study file", blame, "name a file in it")
        if path.exists() and not path.is_file():
            raise _refused(shown, "is not a regular file", blame, _ORDINARY)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise _refused(shown, "no such file", blame) from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise _refused(shown, f"cannot be read: {reason}", blame, _ORDINARY) from error
    if len(data) > MAX_BYTES:
        raise _refused(shown, "is larger than 1 MiB; a study file is not", blame, _ORDINARY)
    try:
        text = data.decode("utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        hint = "save it as UTF-8: every editor can"
        raise StudyError([Problem(shown, line, "", "is not UTF-8 text", hint)]) from error
    return Source(shown, text, parse(text, shown), path)


def parse(text: str, shown: str) -> dict[str, Any]:
    """The table of a TOML text, or a `StudyError` with the place of what is wrong with it."""
    try:
        table = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise StudyError([_syntax_problem(text, shown, error)]) from error
    except RecursionError as error:
        raise _refused(shown, _TOO_DEEP, hint=_ORDINARY) from error
    except ValueError as error:  # Python refuses to convert integers of over 4,300 digits
        match = re.search(r"[0-9_]{4300,}", text)
        line = text.count("\n", 0, match.start()) + 1 if match else 0
        problem = Problem(shown, line, "", "a number has more than 4,300 digits", _ORDINARY)
        raise StudyError([problem]) from error
    if reason := _oversized(table):
        raise _refused(shown, reason, hint=_ORDINARY)
    return table


def _syntax_problem(text: str, shown: str, error: tomli.TOMLDecodeError) -> Problem:
    line, column = getattr(error, "lineno", 0), getattr(error, "colno", 0)
    message = getattr(error, "msg", None) or re.sub(r" \(at .*\)$", "", str(error))
    if not line:  # tomli before 2.1 has the place in its message only
        place = re.search(r"at line (\d+), column (\d+)", str(error))
        line, column = (int(part) for part in place.groups()) if place else (0, 1)
    lines = text.replace("\r\n", "\n").split("\n")
    source = lines[line - 1] if 0 < line <= len(lines) else None
    return Problem(
        shown,
        line,
        "",
        f"is not valid TOML: {message[:1].lower()}{message[1:]}",
        source=source,
        span=(max(column - 1, 0), 1) if source is not None else None,
    )


def _refused(
    shown: str, message: str, blame: Problem | None = None, hint: str | None = None
) -> StudyError:
    return StudyError([blame or Problem(shown, 0, "", message, hint)])


def _oversized(table: dict[str, Any]) -> str | None:
    depth, count = 0, 0
    level: list[dict[str, Any] | list[Any]] = [table]
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return _TOO_DEEP
        count += sum(map(len, level))
        if count > MAX_VALUES:
            return f"has more than {MAX_VALUES:,} values; a study file has not"
        level = [
            item
            for value in level
            for item in (value.values() if isinstance(value, dict) else value)
            if isinstance(item, dict | list)
        ]
    return None
