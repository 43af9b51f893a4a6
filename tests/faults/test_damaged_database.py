"""The database damaged, locked, replaced or removed: it is an index, and the spool has everything.

Every number that `query` gives is the spool's, whatever lies in the database's place.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from ablate.index.database import connect, in_memory, ingest
from ablate.store.store import Store
from tests.helpers.fault_runs import Run
from tests.helpers.fault_table import Proved
from tests.helpers.small_stores import make_study, make_trial, new_store, train

Damage = Callable[[Path, bytes], None]

ALL = (
    "select key, label, seed, status, top1, epochs from trials order by all",
    "select key, epoch, metric, value from epochs order by all",
    "select key, id, label, predicted, scores from predictions order by all",
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = new_store(tmp_path / "store")
    make_study(made, {"baseline": [0.80, 0.82], "mixup": [0.90, 0.91]})
    ingest(made.path)
    return made


def spooled(store: Store) -> list[list[tuple[object, ...]]]:
    """What the questions give of an index in memory, made of the spool alone."""
    with in_memory(store.path) as index:
        return [index.execute(sql).fetchall() for sql in ALL]


def asked(store: Store) -> list[list[tuple[object, ...]]]:
    with connect(store.path) as index:
        return [index.execute(sql).fetchall() for sql in ALL]


@pytest.mark.timeout(1200)
def test_bytes_flipped_anywhere(store: Store, run: Run, proved: Proved, long: bool) -> None:
    chance = random.Random(6)
    path = store.path / "results.duckdb"
    whole = path.read_bytes()
    used = [i for i in range(0, len(whole), 256) if any(whole[i : i + 256])]
    expected = [run("query", sql, "--format", "csv") for sql in ALL]
    rebuilt = 0
    for i in range(400 if long else 6):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 1, 8])):
            data[chance.choice(used) + chance.randrange(256)] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        place = i % len(ALL)
        done = run("query", ALL[place], "--format", "csv")
        assert done == expected[place], done.stderr
        aside = list(store.path.glob("results.duckdb.corrupt-*"))
        rebuilt += len(aside)
        for leftover in aside:
            leftover.unlink()
    assert rebuilt
    proved(
        "store",
        "bytes of the database flipped",
        "1 or 8 bits at random places, then query",
        i + 1,
        f"0 numbers; set aside and rebuilt {rebuilt} times, else the bits were not in use",
    )


def truncated(path: Path, data: bytes) -> None:
    path.write_bytes(data[: len(data) // 3])


def empty(path: Path, data: bytes) -> None:
    path.write_bytes(b"")


def random_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(os.urandom(len(data)))


def somebody_elses(path: Path, data: bytes) -> None:
    path.unlink()
    with duckdb.connect(str(path)) as other:
        other.execute("CREATE TABLE thesis (x INTEGER)")


def of_a_newer_ablate(path: Path, data: bytes) -> None:
    with duckdb.connect(str(path)) as other:
        other.execute("UPDATE spool.version SET number = 999; CREATE TABLE spool.more (x INTEGER)")


def of_an_older_ablate(path: Path, data: bytes) -> None:
    with duckdb.connect(str(path)) as other:
        other.execute("UPDATE spool.version SET number = 1; CREATE VIEW epochs AS SELECT 1")


def a_folder(path: Path, data: bytes) -> None:
    path.unlink()
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def a_loop_of_links(path: Path, data: bytes) -> None:
    path.unlink()
    path.symlink_to(path.name)


def with_a_log_of_another(path: Path, data: bytes) -> None:
    """A write-ahead log that belongs to another database, left beside it by a copy."""
    other = path.with_name("other.duckdb")
    code = f"""
import duckdb, os
other = duckdb.connect({str(other)!r})
other.execute("SET checkpoint_threshold = '1GB'; CREATE TABLE x AS SELECT range FROM range(9)")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code])
    shutil.move(f"{other}.wal", f"{path}.wal")
    other.unlink()


DAMAGES: list[Damage] = [
    *(truncated, empty, random_bytes, somebody_elses, of_a_newer_ablate, of_an_older_ablate),
    *(a_folder, a_loop_of_links, with_a_log_of_another),
]


def test_something_else_in_the_databases_place(store: Store, run: Run, proved: Proved) -> None:
    path = store.path / "results.duckdb"
    whole, expected, times = path.read_bytes(), spooled(store), 0
    shown = run("report", "group")
    for i, damage in enumerate(DAMAGES):
        damage(path, whole)
        if i % 3 == 0:
            assert run("reindex").returncode == 0
        elif i % 3 == 1:
            ingest(store.path)
        assert run("report", "group") == shown
        assert asked(store) == expected, damage
        assert path.is_file(), damage
        times += 1
        aside = [p for p in store.path.iterdir() if ".corrupt-" in p.name]
        if damage is a_folder:
            assert [(p / "notes.txt").read_text() for p in aside] == ["mine"]
        for leftover in aside:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    proved(
        "store",
        "something else in the database's place",
        "truncated, empty, random, another's, a newer or older ablate's, a folder, a loop of links,"
        " another's log",
        times,
        "0 numbers; set aside, not deleted, and rebuilt",
    )


HOLDER = """
    import sys, duckdb
    held = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "True")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(store: Store) -> Iterator[Callable[[bool], subprocess.Popen[str]]]:
    """Opens the database in another process and stays."""
    started: list[subprocess.Popen[str]] = []

    def hold(read_only: bool) -> subprocess.Popen[str]:
        code = [sys.executable, "-c", textwrap.dedent(HOLDER)]
        child = subprocess.Popen(
            [*code, str(store.path / "results.duckdb"), str(read_only)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        return child

    yield hold
    for child in started:
        child.kill()
        child.communicate()


def test_held_by_another_process(
    store: Store,
    run: Run,
    held: Callable[[bool], subprocess.Popen[str]],
    proved: Proved,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ablate.index.lock.PATIENCE", 0.3)
    monkeypatch.setattr("ablate.index.database._INGESTING", 0.1)
    times = 0
    for seed, read_only in enumerate((True, False), 10):
        holder = held(read_only)
        train(store, make_trial(seed), 0.5)
        assert ingest(store.path) == 0
        assert asked(store) == spooled(store)
        assert run("report", "group").returncode == 0
        refused = run("reindex")
        assert refused.returncode in (0, 2), refused.stderr
        assert "Traceback" not in refused.stderr
        times += 4
        holder.kill()
        holder.communicate()
    ingest(store.path)
    assert asked(store) == spooled(store)
    proved(
        "store",
        "the database is held by another process",
        "opened there to read, and to write, while lines come, are asked for and reindexed",
        times,
        "nothing: an index in memory answers",
    )


def test_removed_while_it_is_in_use(store: Store, run: Run, proved: Proved) -> None:
    expected = spooled(store)
    with connect(store.path) as index:
        (store.path / "results.duckdb").unlink()
        assert [index.execute(sql).fetchall() for sql in ALL] == expected
        assert run("report", "group").returncode == 0
    train(store, make_trial(10), 0.5)
    ingest(store.path)
    assert asked(store) == spooled(store)
    proved(
        "store",
        "the database is removed while in use",
        "unlink while a reader has it",
        1,
        "nothing",
    )
