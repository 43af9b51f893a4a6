"""Parquet: the columns of CSV with their types, written by DuckDB."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablate.report.formats.csv_tables import fields, records
from ablate.report.model import ReportTable


def render_parquet(tables: Sequence[ReportTable]) -> bytes:
    """The file's content. Texts are as they are: what reads Parquet does not obey them."""
    import duckdb

    columns = fields(tables)
    lines = list(records(tables))
    filled = [[_held(line.get(name)) for line in lines] for name in columns]
    # One statement for all lines: DuckDB takes milliseconds for each.
    wanted = ", ".join(f"unnest(?::{kind}[]) AS {_quoted(name)}" for name, kind in columns.items())
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as base:
        file = Path(folder) / "report.parquet"
        base.execute(f"CREATE TABLE report AS SELECT {wanted}", filled)
        base.table("report").write_parquet(str(file), compression="zstd")
        return file.read_bytes()


def _quoted(name: str) -> str:
    """A name in SQL; ours are letters and digits, and this does not rely on it."""
    return '"' + name.replace('"', '""') + '"'


def _held(value: Any) -> Any:
    """A value that Parquet can hold: half a character, as in file names, is spelled out."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
