"""Hostile SQL: what `ablate query` never does. Values of one enormous size are in tests/cli."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from ablate.errors import AblateError
from ablate.sql.statement import ask
from ablate.store.store import Store
from tests.helpers.small_stores import make_trial, new_store, train

if TYPE_CHECKING:
    from tests.helpers.fault_table import Proved

SECRET = "kept-from-everybody"


def rows(store: Store, sql: str, timeout: float = 30.0) -> list[tuple[Any, ...]]:
    with ask(store, sql, timeout=timeout, warn=lambda _: None) as answer:
        return [row for piece in answer.pieces() for row in piece]


REFUSED = [
    "create table x (a int)",
    "create temp table x as select 1",
    "create or replace view trials as select 1",
    "create macro f() as 1",
    "create schema s",
    "create sequence s",
    "create type t as enum ('a')",
    "insert into spool.metric values (1, 1, 1, 'x', 1)",
    "update spool.ending set status = 'done'",
    "delete from spool.ending",
    "truncate spool.metric",
    "drop view trials",
    "drop table spool.metric",
    "alter table spool.metric add column y int",
    "comment on table spool.metric is 'x'",
    "merge into spool.ending using spool.attempt on true when matched then delete",
    "with x as (select 1) insert into spool.version select * from x",
    "copy trials to '{out}'",
    "copy (select 1) to '{out}' (format parquet)",
    "copy spool.version from '{secret}'",
    "export database '{out}'",
    "import database '{folder}'",
    "attach '{out}' as other",
    "attach ':memory:' as other",
    "detach memory",
    "use memory",
    "install httpfs",
    "load '{secret}'",
    "force install json",
    "set memory_limit = '100GB'",
    "set enable_external_access = true",
    "set global lock_configuration = false",
    "reset all",
    "set variable x = 1",
    "pragma enable_profiling",
    "pragma database_list",
    "call pragma_version()",
    "call force_checkpoint()",
    "checkpoint",
    "force checkpoint",
    "vacuum",
    "analyze",
    "begin",
    "commit",
    "prepare p as select 1",
    "execute p",
    "deallocate p",
    "explain analyze select 1",
    "create secret s (type s3, key_id 'a')",
    "select 1; select 2",
    "select 1; copy trials to '{out}'",
    "/* select */ copy trials to '{out}'",
    "-- select\ncopy trials to '{out}'",
    "select * from read_csv('{secret}')",
    "select * from read_csv_auto('{secret}')",
    "select * from sniff_csv('{secret}')",
    "select * from read_text('{secret}')",
    "select * from read_blob('{secret}')",
    "select * from read_json('{secret}')",
    "select * from read_parquet('{secret}')",
    "select * from parquet_metadata('{secret}')",
    "select * from glob('{folder}/*')",
    "select * from '{secret}'",
    "select * from '{folder}/*.csv'",
    'select * from "{secret}"',
    "select * from query('select * from read_text(''{secret}'')')",
    "select * from query_table('{secret}')",
    "describe select * from read_text('{secret}')",
    "summarize '{secret}'",
    "select * from 'https://example.com/x.csv'",
    "select * from read_text('s3://bucket/key')",
    "select getenv('ABLATE_SECRET')",
    "select * from answer",
    "select * from connection",
    "select * from python_scan(1)",
    "select " + "(" * 20_000 + "1" + ")" * 20_000,
    "select " + "not " * 20_000 + "true",
    "selec 1",
    "\x00",
    "",
    ";",
    "select '" + "x" * 2_000_000 + "'",
]
# Allowed, as they tell nothing that is not the store's own.
HARMLESS = [
    "select * from duckdb_settings()",
    "select * from duckdb_databases()",
    "select * from duckdb_secrets()",
    "select * from duckdb_temporary_files()",
    "select * from duckdb_extensions()",
    "select current_setting('home_directory')",
    "select * from spool.source",
    "show all tables",
]


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = new_store(tmp_path / "ablate-results")
    train(store, make_trial(0), 0.9)
    return store


@pytest.fixture
def watched(store: Store, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Fills a statement's places in; whatever was asked, no file has changed at the end."""
    secret = tmp_path / "secret.csv"
    secret.write_text(f"a,b\n{SECRET},1\n")
    places = {"secret": secret, "folder": tmp_path, "out": tmp_path / "out"}
    rows(store, "from trials")
    before, here = contents(tmp_path), sorted(os.listdir())

    def fill(sql: str) -> str:
        return sql.format_map(places) if "{" in sql else sql

    yield fill
    assert contents(tmp_path) == before
    assert sorted(os.listdir()) == here
    assert rows(store, "SELECT status, top1 FROM trials") == [("done", 0.9)]


def test_the_secret_can_be_read_without_the_guard(watched: Callable[[str], str]) -> None:
    with duckdb.connect(":memory:") as plain:
        found = plain.execute(watched("select * from read_csv('{secret}')")).fetchall()
    assert found == [(SECRET, 1)]


def test_hostile_statements_are_refused_in_a_line_and_change_nothing(
    watched: Callable[[str], str],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    proved: Proved,
) -> None:
    monkeypatch.setenv("ABLATE_SECRET", SECRET)
    for sql in map(watched, REFUSED):
        with pytest.raises(AblateError) as refused:
            rows(store, sql, timeout=5)
        message = refused.value.message
        assert message.startswith("query: "), sql
        assert "\n" not in message, sql
        assert SECRET not in message, sql
    proved(
        "safety", "a query that writes, reads files, attaches, loads, sets, asks for two things",
        "statements to `ablate.sql.statement.ask`; every file compared", len(REFUSED),
        "nothing is read or written; one line",
    )  # fmt: skip


def test_what_the_database_tells_of_itself_holds_nothing_of_others(
    watched: Callable[[str], str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_SECRET", SECRET)
    told = 0
    for sql in map(watched, HARMLESS):
        with contextlib.suppress(AblateError):  # versions of DuckDB differ in what they refuse
            assert SECRET not in str(rows(store, sql)), sql
            told += 1
    assert told > 5
    settings = dict(rows(store, "select name, value from duckdb_settings()"))
    assert settings["enable_external_access"] == settings["python_enable_replacements"] == "false"
    assert settings["lock_configuration"] == "true"


ENDLESS = [
    "select count(*) from range(1000000000000)",
    "with recursive t(n) as (select 1 union all select n + 1 from t) select count(*) from t",
    "select count(*) from range(1000000) a, range(1000000) b, range(1000000) c",
    "select levenshtein(repeat('a', 100000), repeat('b', 100000))",
]


def test_what_takes_too_long_or_too_much_is_stopped(
    watched: Callable[[str], str], store: Store, proved: Proved
) -> None:
    for sql in ENDLESS:
        began = time.monotonic()
        with pytest.raises(AblateError, match=r"stopped after 0\.3 s"):
            rows(store, sql, timeout=0.3)
        assert time.monotonic() - began < 20
    with pytest.raises(AblateError, match="GB of memory"):
        rows(store, "select string_agg(repeat('x', 1000), '') from range(100000000)")
    proved(
        "safety", "a query without end, or larger than the memory", "recursion, products, one "
        "enormous text", len(ENDLESS) + 1, "it is stopped in its time; nothing goes to the disk",
    )  # fmt: skip
