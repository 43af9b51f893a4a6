"""What may be asked, what never happens, and that the views say what the spool says."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import numpy as np
import pytest
from store_samples import make_trial

import ablate
from ablate.attempt import Attempt
from ablate.errors import AblateError
from ablate.index import connect, ingest
from ablate.sql import VIEWS, ask
from ablate.store import Store

Train = Callable[..., str]
SECRET = "kept-from-everybody"


def rows(store: Store, sql: str, timeout: float = 30.0) -> list[tuple[Any, ...]]:
    with ask(store, sql, timeout=timeout, warn=lambda _: None) as answer:
        return [row for piece in answer.pieces() for row in piece]


# ----------------------------------------------------------------------------------- the views


def test_epochs_are_as_written_last_whenever_they_were_taken_in(store: Store) -> None:
    """Against `Store.epochs`, which reads the lines themselves, for random histories."""
    chance = random.Random(0)
    for seed in range(3):
        key = make_trial(seed).key
        store.register(make_trial(seed), "x")
        with Attempt.begin(store.path, key) as attempt:
            for _ in range(25):
                epoch = chance.randint(1, 6)
                metrics = {name: chance.random() for name in chance.sample("abcd", 2)}
                attempt.record("epoch", epoch=epoch, metrics=metrics, seconds=chance.random())
                if chance.random() < 0.2:
                    ingest(store.path)
        found = rows(store, f"SELECT epoch, metric, value FROM epochs WHERE key = '{key}'")
        expected = [
            (epoch["epoch"], name, value)
            for epoch in store.epochs(key)
            for name, value in epoch.items()
            if name != "epoch"
        ]
        assert sorted(found) == sorted(expected)


def test_trials_have_their_times_costs_machine_and_settings(store: Store) -> None:
    trial = make_trial(0, "mixup")
    store.register(trial, "digits · + mixup · seed 0")
    seconds = [9.0, 2.0, 1.0, 4.0, 3.0]
    with Attempt.begin(store.path, trial.key) as attempt:
        for epoch, each in enumerate(seconds, 1):
            attempt.record("epoch", epoch=epoch, metrics={"top1": 0.5}, seconds=each, images=640)
        environment = {"device": "cuda:1", "torch": "2.9.0", "shared_device": True, "ablate": 7}
        attempt.save_environment(environment)
        attempt.finish("done", parameters=25_557_032, macs=4_089_000_000, precision="float16")
    columns = (
        "epochs, epoch_seconds, images_per_second, seconds, parameters, macs, number_format, "
        "device, torch, shared_device, ablate, lr, batch_size, planned_epochs, numerics, tricks"
    )
    middle = median(seconds[1:])  # as the report: the first epoch warms up
    assert rows(store, f"SELECT {columns} FROM trials") == [
        (5, middle, 640 / middle, sum(seconds), 25_557_032, 4_089_000_000, "float16", "cuda:1",
         "2.9.0", True, None, 0.025, 64, 3, "exact", ["mixup"])
    ]  # fmt: skip
    result = store.result(trial.key)
    assert result is not None
    assert result.curves.seconds == middle
    defined = "SELECT definition->>'$.recipe.momentum' FROM trials"
    assert rows(store, defined) == [("0.9",)]


def test_predictions_say_what_was_predicted(store: Store) -> None:
    scores = np.random.default_rng(0).normal(size=(30, 10)).astype(np.float32)
    wide = np.random.default_rng(1).normal(size=(30, 200)).astype(np.float32)
    labels = np.arange(30) % 10
    for seed, values in enumerate((scores, wide)):
        store.register(make_trial(seed), "x")
        with Attempt.begin(store.path, make_trial(seed).key) as attempt:
            attempt.save_predictions(np.arange(30), labels, values)
            attempt.finish("done")
        asked = f"SELECT predicted, correct FROM predictions WHERE seed = {seed} ORDER BY id"
        best = values.argmax(axis=1)
        expected = [(int(b), bool(b == label)) for b, label in zip(best, labels, strict=True)]
        assert rows(store, asked) == expected


def test_python_gets_a_copy(store: Store, trained: Train) -> None:
    trained(0, "mixup")
    found = ablate.query("select seed, seed as seed, tricks, top1 from trials", store=store.path)
    assert found == [{"seed": 0, "seed_1": 0, "tricks": ["mixup"], "top1": 0.9}]
    trained(1)
    assert ingest(store.path) == 4  # nothing was left open
    assert len(ablate.query("from trials", store=store.path)) == 2
    with pytest.raises(AblateError, match="did you mean 'trials'"):
        ablate.query("from trial", store=store.path)


# ------------------------------------------------------------------------------------- safety

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
def watched(store: Store, trained: Train, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Fills a statement's places in; whatever was asked, no file has changed at the end."""
    trained()
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
    watched: Callable[[str], str], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_SECRET", SECRET)
    assert len(REFUSED) > 60
    for sql in map(watched, REFUSED):
        with pytest.raises(AblateError) as refused:
            rows(store, sql, timeout=5)
        message = refused.value.message
        assert message.startswith("query: "), sql
        assert "\n" not in message, sql
        assert SECRET not in message, sql


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


@pytest.mark.parametrize("sql", ENDLESS)
def test_what_takes_too_long_is_stopped(
    watched: Callable[[str], str], store: Store, sql: str
) -> None:
    began = time.monotonic()
    with pytest.raises(AblateError, match=r"stopped after 0\.3 s"):
        rows(store, sql, timeout=0.3)
    assert time.monotonic() - began < 20


def test_what_does_not_fit_in_memory_is_refused_and_not_written_to_disk(
    watched: Callable[[str], str], store: Store
) -> None:
    with pytest.raises(AblateError, match="GB of memory"):
        rows(store, "select string_agg(repeat('x', 1000), '') from range(100000000)")


def test_time_that_the_reader_takes_is_not_counted(store: Store, trained: Train) -> None:
    trained()
    with ask(store, "from range(50)", timeout=1.0, warn=lambda _: None) as answer:
        total = 0
        for piece in answer.pieces(10):
            total += len(piece)
            time.sleep(0.3)
    assert total == 50
    assert answer.seconds < 1.0


# ------------------------------------------------------------------------------- with others


HELD = """
    import sys, time
    from pathlib import Path
    from ablate.store import Store
    from ablate.sql import ask
    with ask(Store(Path(sys.argv[1])), "from trials", warn=print) as answer:
        print("ready", flush=True)
        time.sleep(600)
"""


def test_two_may_ask_at_once(store: Store, trained: Train) -> None:
    trained(0)
    ingest(store.path)
    command = [sys.executable, "-c", textwrap.dedent(HELD), str(store.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        began = time.monotonic()
        assert rows(store, "select count(*) from trials") == [(1,)]
        assert time.monotonic() - began < 4  # no waiting for what only reads
        trained(1)  # which cannot be taken in now, and is seen all the same
        assert rows(store, "select count(*) from trials") == [(2,)]
        other.kill()


def test_a_damaged_database_and_none_at_all_can_be_asked(store: Store, trained: Train) -> None:
    trained(0)
    for damage in (b"garbage", b""):
        (store.path / "results.duckdb").write_bytes(damage)
        assert rows(store, "select count(*) from trials") == [(1,)]
    (store.path / "results.duckdb").unlink()
    assert rows(store, "select count(*) from epochs where metric = 'top1'") == [(3,)]


def test_the_views_are_those_that_are_listed(store: Store) -> None:
    assert {name for (name,) in rows(store, "show tables")} == set(VIEWS)
    with connect(store.path) as connection:  # the effects are a table of the connection alone
        listed = connection.execute("show tables").fetchall()
    assert {name for (name,) in listed} == set(VIEWS) - {"effects"}
