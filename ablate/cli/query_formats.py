"""Answers of `ablate query` as text. Numbers are not rounded; hidden characters are shown."""

from __future__ import annotations

import csv as csv_
import io
import json as json_
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ablate.console.output import SCHEMA_VERSION, dumps
from ablate.sql.statement import names_of
from ablate.util.text import aligned, one_line, width

if TYPE_CHECKING:
    from ablate.sql.statement import Answer, Column

Row = tuple[Any, ...]


def text_of(value: Any) -> str:
    """A value as DuckDB writes it, times in UTC as ISO 8601; NULL is "NULL"."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{text_of(k)}: {text_of(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(text_of, value)) + "]"
    if isinstance(value, bytes | bytearray):
        return value.hex()
    return str(value)


def _shown(value: Any) -> str:
    """For people: 5.5 and not 5.499999999999982. Only what floating point left is rounded away."""
    if isinstance(value, float):
        whole, short = repr(value), f"{value:.13g}"
        return short if len(short) + 3 < len(whole) else whole
    return text_of(value)


def terminal(columns: Sequence[Column], rows: Sequence[Row], cells: int) -> list[str]:
    """Aligned lines of a table; where they are wider than `cells`, one block for each row."""
    head = [one_line(column.name) for column in columns]
    body = [[one_line(_shown(value)) for value in row] for row in rows]
    sides = "".join(">" if column.number else "<" for column in columns)
    lines = aligned([head, *body], sides)
    if len(head) < 2 or max(map(width, lines)) <= cells:
        return lines
    blocks: list[str] = []
    for row in body:
        blocks += [*([""] if blocks else []), *aligned(list(zip(head, row, strict=True)))]
    return blocks or aligned([[name] for name in head])


def csv(answer: Answer) -> Iterator[str]:
    """A heading and all rows; NULL is empty. What a spreadsheet would compute is a text."""
    yield _csv([[column.name for column in answer.columns]])
    for piece in answer.pieces():
        yield _csv(piece)


def markdown(answer: Answer) -> Iterator[str]:
    """A table of all rows."""
    from ablate.report.formats.escape import markdown as escaped

    columns = answer.columns
    yield f"| {' | '.join(escaped(column.name) for column in columns)} |"
    yield f"| {' | '.join('--:' if column.number else ':--' for column in columns)} |"
    for piece in answer.pieces():
        lines = (
            f"| {' | '.join('' if v is None else escaped(text_of(v)) for v in row)} |"
            for row in piece
        )
        yield "\n".join(lines)


def json(answer: Answer) -> Iterator[str]:
    """One document: schema_version, columns with their types, and every row as an object."""
    columns = [{"name": column.name, "type": column.type} for column in answer.columns]
    names = names_of(answer.columns)
    yield f'{{"schema_version": {SCHEMA_VERSION}, "columns": {json_.dumps(columns)}, "rows": ['
    before = ""
    for piece in answer.pieces():
        rows = (dumps(dict(zip(names, map(_plain, row), strict=True))) for row in piece)
        yield before + ",\n".join(rows)
        before = ","
    yield "]}"


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv_.writer(out, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> str:
    from ablate.report.formats.escape import spreadsheet

    if value is None:
        return ""
    text = text_of(value)
    return text if isinstance(value, int | float | Decimal) else spreadsheet(text)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {text_of(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return text_of(value)


def _moment(value: datetime) -> str:
    """Times in the index are UTC, without saying so."""
    return value.isoformat() + ("Z" if value.tzinfo is None else "")
