"""A stranger's `results.duckdb`: programs in a database's catalogue, logs and links beside it.

Whatever it holds, `query` gives the spool's numbers, nothing of it runs, no other file is read or
written, and it is told and set aside. Each was opened without a limit, or followed, before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from ablate.index import database, vetting
from ablate.index.database import connect, in_memory, ingest, standing
from ablate.store.store import Store
from tests.helpers.fault_runs import Run
from tests.helpers.fault_table import Proved
from tests.helpers.small_stores import make_study, make_trial, new_store, train

ENDLESS = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*)"
TRIALS = "select key, label, status, top1, epochs from trials order by all"
SECRET = "kept-from-everybody"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = new_store(tmp_path / "store")
    make_study(made, {"baseline": [0.80, 0.82]})
    ingest(made.path)
    (tmp_path / "secret.csv").write_text(f"number,path\n6,{SECRET}\n")
    return made


def numbers(store: Store) -> list[tuple[object, ...]]:
    with in_memory(store.path) as index:
        return index.execute(TRIALS).fetchall()


def asked(store: Store, told: list[str]) -> list[tuple[object, ...]]:
    with connect(store.path, told.append) as index:
        return index.execute(TRIALS).fetchall()


def aside(store: Store) -> list[Path]:
    return sorted(store.path.glob("results.duckdb.corrupt-*"))


# What to make of a database of ours, and what is told of it. {secret}: a file of the user's.
PROGRAMS = {
    "a view without end in the place of `trials`": [
        f"CREATE VIEW trials AS {ENDLESS} AS top1 FROM t"
    ],
    "a view without end in the place of the version": [
        f"DROP TABLE spool.version; CREATE VIEW spool.version AS {ENDLESS} AS number FROM t"
    ],
    "a view without end in the place of what was read": [
        "DROP TABLE spool.source",
        f"CREATE VIEW spool.source AS {ENDLESS} AS bytes, 'x' AS path, 1 AS epoch, 1 AS seq FROM t",
    ],
    "a view that reads a file as CSV": [
        "DROP TABLE spool.source",
        "CREATE VIEW spool.source AS SELECT path, 1 AS bytes, 1 AS epoch, 1 AS seq "
        "FROM read_csv('{secret}')",
    ],
    "a view that reads a file as text": [
        "CREATE VIEW epochs AS SELECT * FROM read_text('{secret}')"
    ],
    "a view that lists a folder": ["CREATE VIEW epochs AS SELECT * FROM glob('/etc/*')"],
    "views that double fourteen times": [
        "CREATE VIEW v0 AS SELECT 1 AS a",
        *(f"CREATE VIEW v{i} AS SELECT x.a FROM v{i - 1} x, v{i - 1} y" for i in range(1, 15)),
    ],
    "macros with the names of functions": [
        f"CREATE MACRO max(x) AS ({ENDLESS} FROM t)",
        f"CREATE MACRO spool.coalesce(x, y) AS ({ENDLESS} FROM t)",
    ],
    "a macro that is a table": ["CREATE MACRO m() AS TABLE SELECT * FROM read_text('{secret}')"],
    "a default that counts": [
        "CREATE SEQUENCE s",
        "ALTER TABLE spool.epoch ALTER seconds SET DEFAULT nextval('s')",
    ],
    "a default that computes": [
        "ALTER TABLE spool.set_aside ALTER byte SET DEFAULT length(repeat('x', 10000000))"
    ],
    "a column that is computed": [
        "DROP TABLE spool.source",
        "CREATE TABLE spool.source (path VARCHAR, bytes BIGINT, epoch INTEGER, "
        "seq BIGINT GENERATED ALWAYS AS (bytes * 2) VIRTUAL)",
    ],
    "a condition": [
        "DROP TABLE spool.source",
        "CREATE TABLE spool.source (path VARCHAR, bytes BIGINT, epoch INTEGER, seq BIGINT, "
        "CHECK (length(repeat(path, 1000000)) > 0))",
    ],
    "a collation": [
        "DROP TABLE spool.source",
        "CREATE TABLE spool.source (path VARCHAR COLLATE NOCASE, bytes BIGINT, epoch INTEGER, "
        "seq BIGINT)",
    ],
    "an index over an expression": ["CREATE INDEX i ON spool.trial ((length(key) * 2))"],
    "a type": ["CREATE TYPE mood AS ENUM ('a', 'b')"],
    "a sequence": ["CREATE SEQUENCE s"],
    "a schema": ["CREATE SCHEMA more"],
    "a table more": ["CREATE TABLE thesis (x INTEGER)"],
    "a table less": ["DROP TABLE spool.final"],
    "a column more": ["ALTER TABLE spool.final ADD COLUMN x INTEGER"],
    "a column of another type": ["ALTER TABLE spool.final ALTER value SET DATA TYPE VARCHAR"],
    "a hundred thousand columns": [
        f"CREATE TABLE wide ({', '.join(f'c{i} INTEGER' for i in range(100_000))})"
    ],
    "two versions": ["INSERT INTO spool.version VALUES (1)"],
    "more rows than its bytes can hold": [
        "INSERT INTO spool.metric SELECT 1, 1, 1, 'x', 1 FROM range(20_000_000)"
    ],
    "a length below 0": ["INSERT INTO spool.source VALUES ('trials/x', -5, 1, 1)"],
    "a file without a name": ["INSERT INTO spool.source VALUES (NULL, 1, 1, 1)"],
}


@pytest.mark.timeout(300)
def test_nothing_in_a_database_runs(store: Store, proved: Proved, tmp_path: Path) -> None:
    path, expected, slowest = store.path / "results.duckdb", numbers(store), 0.0
    whole = path.read_bytes()
    for name, statements in PROGRAMS.items():
        path.write_bytes(whole)
        with duckdb.connect(str(path)) as stranger:
            for sql in statements:
                stranger.execute(sql.replace("{secret}", str(tmp_path / "secret.csv")))
        told: list[str] = []
        began = time.monotonic()
        assert asked(store, told) == expected, name
        slowest = max(slowest, time.monotonic() - began)
        (kept,) = aside(store)
        assert len(told) == 1, (name, told)
        assert told[0].startswith("results.duckdb "), name
        assert told[0].endswith(f"set aside as {kept.name}, and made anew"), name
        assert SECRET not in told[0]
        kept.unlink()
        assert asked(store, told) == expected, name
        assert aside(store) == [], name
        assert len(told) == 1, name
    assert slowest < 20
    proved(
        "safety", "a database with programs in it: views, macros, defaults, conditions, indexes",
        "made with DuckDB from one of ablate's, then asked", len(PROGRAMS),
        "nothing of it runs or is read; set aside, told and made anew",
    )  # fmt: skip


def test_the_commands_say_so_and_go_on(store: Store, run: Run) -> None:
    path = store.path / "results.duckdb"
    expected = run("query", TRIALS, "--format", "csv")
    for command in (("query", TRIALS, "--format", "csv"), ("doctor",), ("reindex",)):
        with duckdb.connect(str(path)) as stranger:
            stranger.execute(f"CREATE OR REPLACE VIEW trials AS {ENDLESS} AS top1 FROM t")
        done = run(*command)
        if command[0] == "query":
            assert done.stdout == expected.stdout
            assert "results.duckdb has a view main.trials, so ablate did not make it" in done.stderr
        elif command[0] == "doctor":
            assert "database not made by ablate" in done.stdout
            assert "ablate reindex" in done.stdout
        else:
            assert done.returncode == 0, done.stderr
    assert run("query", TRIALS, "--format", "csv") == expected


def logged(path: Path, sql: str) -> None:
    """A log of this statement beside the database, as a process leaves it that is killed."""
    code = "import duckdb, os, sys\n"
    code += "c = duckdb.connect(sys.argv[1]); c.execute(\"SET checkpoint_threshold = '1GB'\")\n"
    code += "c.execute(sys.argv[2]); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(path), sql], check=False)
    assert Path(f"{path}.wal").stat().st_size > 0


def test_a_log_beside_the_database_is_not_carried_out(store: Store, proved: Proved) -> None:
    path, expected = store.path / "results.duckdb", numbers(store)
    whole, times = path.read_bytes(), 0
    for sql in (
        f"CREATE VIEW trials AS {ENDLESS} AS top1 FROM t",
        "UPDATE spool.final SET value = 0.999",
        "DELETE FROM spool.ending",
        "CREATE TABLE big AS SELECT range AS x FROM range(2000000)",
    ):
        path.write_bytes(whole)
        logged(path, sql)
        assert standing(store.path).state == "busy"  # it is not opened by who may not remove it
        told: list[str] = []
        assert asked(store, told) == expected, sql
        assert told == []
        assert not Path(f"{path}.wal").exists()
        times += 1
    proved(
        "safety", "a log of changes beside the database", "left there by a process that was killed",
        times, "none is carried out; 0 numbers",
    )  # fmt: skip


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A database of the user's, which is as it was at the end."""
    path = tmp_path / "precious"
    with duckdb.connect(str(path)) as own:
        own.execute("CREATE TABLE thesis AS SELECT range AS x FROM range(1000)")
    before = path.read_bytes()
    stamp = path.stat().st_mtime_ns
    yield path
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == stamp
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("precious.")]


LINKS = (
    *("results.duckdb", "results.duckdb.wal", "results.duckdb.wal.checkpoint"),
    *("results.duckdb.wal.recovery", ".index.lock"),
)


def test_links_in_the_databases_places_are_not_followed(
    store: Store, victim: Path, tmp_path: Path, proved: Proved
) -> None:
    times = 0
    for name in LINKS:
        for target in (victim, tmp_path / "missing", tmp_path / "other.duckdb"):
            if target.name == "other.duckdb":  # one of ablate's own, elsewhere
                if name != "results.duckdb":
                    continue
                shutil.copy(store.path / "results.duckdb", target)
            place = store.path / name
            place.unlink(missing_ok=True)
            place.symlink_to(target)
            train(store, make_trial(20 + times), 0.5)
            ingest(store.path)
            expected = numbers(store)
            assert asked(store, []) == expected, (name, target)
            assert not place.is_symlink(), (name, target)
            assert not (tmp_path / "missing").exists(), (name, target)
            assert (store.path / "results.duckdb").is_file()
            for leftover in aside(store):
                leftover.unlink()
            times += 1
    proved(
        "safety", "links in the places of the database, its logs and its lock",
        "to a database of the user's, to nothing, to another index; then ingested and asked", times,
        "none is followed; 0 bytes of what they lead to",
    )  # fmt: skip


def a_pipe(place: Path) -> None:
    os.mkfifo(place)


def a_folder(place: Path) -> None:
    place.mkdir()
    (place / "notes.txt").write_text("mine")


@pytest.mark.parametrize("make", [a_pipe, a_folder])
def test_what_is_no_file_beside_the_database_hangs_nothing(
    store: Store, make: Callable[[Path], None]
) -> None:
    for name in LINKS[:4]:
        expected, place = numbers(store), store.path / name
        place.unlink(missing_ok=True)
        make(place)
        assert asked(store, []) == expected, name
        for leftover in aside(store):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        assert not place.exists() or place.is_file(), name


def encrypted(path: Path) -> None:
    path.unlink()
    with duckdb.connect(":memory:") as other:
        try:
            other.execute(f"ATTACH '{path}' AS e (ENCRYPTION_KEY 'secret')")
            other.execute("CREATE TABLE e.x AS SELECT 1")
        except duckdb.Error as error:  # as DuckDB 2 without a library for it
            pytest.skip(str(error).partition("\n")[0])


def of_a_later_duckdb(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[12:20] = (2**40).to_bytes(8, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [encrypted, of_a_later_duckdb])
def test_what_duckdb_cannot_open_is_made_anew(store: Store, damage: Callable[[Path], None]) -> None:
    expected = numbers(store)
    damage(store.path / "results.duckdb")
    assert asked(store, []) == expected
    assert len(aside(store)) == 1


def test_what_is_opened_is_limited(
    store: Store, proved: Proved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes more than its share of memory or time only to be opened costs one process."""
    path, expected = store.path / "results.duckdb", numbers(store)
    with duckdb.connect(str(path)) as stranger:
        stranger.execute("BEGIN")
        text = "x" * 100_000
        for i in range(2000):  # 200 MB of views: a few times that is the machine's memory
            stranger.execute(f"CREATE VIEW v{i} AS SELECT '{text}' AS a")
        stranger.execute("COMMIT")
    limits: dict[str, dict[str, object]] = {
        "takes too much memory to open": {"_MEMORY": 800 << 20},
        "takes more than 1 s to open": {"_PROCESSOR": 1, "SOURCES": f"{ENDLESS} FROM t"},
    }
    times = 0
    for why, patches in limits.items():
        os.utime(path)  # as if somebody had written to it
        told: list[str] = []
        with monkeypatch.context() as patch:
            for name, value in patches.items():
                patch.setattr(vetting, name, value)
            ingest(store.path, told.append)
        assert [why in one for one in told] == [True], told
        assert asked(store, []) == expected
        times += 1
    proved(
        "safety", "a database that takes all memory or time when it is opened",
        "2,000 views of 100 kB, a table without end; with lower limits", times,
        "one process of ablate's, which is ended; set aside and made anew",
    )  # fmt: skip


def test_every_connection_is_locked(store: Store) -> None:
    wanted = {"enable_external_access": "false", "lock_configuration": "true"}
    wanted |= {"autoload_known_extensions": "false", "autoinstall_known_extensions": "false"}
    wanted |= {"allow_persistent_secrets": "false", "temp_directory": ""}
    seen = 0
    path = store.path / "results.duckdb"
    with connect(store.path) as reading, in_memory(store.path) as memory:
        for connection in (reading, memory):
            seen += _holds(connection, wanted)
    with vetting.writing(path) as connection:
        seen += _holds(connection, wanted)
        with pytest.raises(duckdb.Error, match="disabled"):
            connection.execute("ATTACH '/tmp/other.duckdb' AS other")
    assert seen == 3
    assert path.name == database.FILE


def _holds(connection: duckdb.DuckDBPyConnection, wanted: dict[str, str]) -> int:
    found = dict(connection.execute("SELECT name, value FROM duckdb_settings()").fetchall())
    assert {name: found[name] for name in wanted} == wanted
    assert found["memory_limit"].endswith("GiB")
    assert float(found["memory_limit"].split()[0]) < 2
    with pytest.raises(duckdb.Error):
        connection.execute("SELECT * FROM read_text('/etc/passwd')")
    return 1
