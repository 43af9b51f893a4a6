"""A store of a newer format is refused by every command in one line, and nothing of it is touched;
one that an older ablate wrote goes on working."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

import ablate
from ablate.cli.main import main
from ablate.errors import AblateError
from ablate.index import database as index_database
from ablate.store import attempt_reader
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store
from tests.helpers.cli_process import STUDY, Done
from tests.helpers.small_stores import make_study, make_trial, new_store, train

if TYPE_CHECKING:
    from tests.helpers.fault_table import Proved

# Every command that opens a store; `doctor` is apart, since it reports and goes on.
COMMANDS = (
    ("run", "study.toml"), ("status",), ("status", "--watch"), ("report",), ("report", "group"),
    ("report", "study.toml"), ("query", "select 1"), ("diff", "group:baseline", "group:warmup"),
    ("export", "group", "-o", "out.zip"), ("merge", "other"), ("merge", "other", "--dry-run"),
    ("verify",), ("logs", "group:baseline/digits/0"), ("reindex",), ("gc",), ("gc", "--yes"),
    ("plan", "study.toml"),
)  # fmt: skip
FEW = (("run", "study.toml"), ("report",), ("gc", "--yes"))
Run = Callable[..., Done]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = new_store(tmp_path_factory.mktemp("small") / "store")
    make_study(store, {"baseline": [0.5, 0.51], "warmup": [0.6, 0.62]})
    index_database.ingest(store.path)
    return store.path


@pytest.fixture
def run(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str]) -> Run:  # fmt: skip
    """A folder with a store, a second one that is sound, and a study."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATE_STORE", "store")
    shutil.copytree(small, "store")
    new_store(Path("other"))
    Path("study.toml").write_text(STUDY)

    def run(*arguments: str) -> Done:
        capfd.readouterr()
        code = main(arguments)
        return Done(code, *capfd.readouterr())

    return run


def snapshot(path: Path) -> dict[str, tuple[int, bytes]]:
    """Every entry: its kind and times, and its content."""
    found = {}
    for each in path.rglob("*"):
        told = each.lstat()
        content = each.read_bytes() if each.is_file() else b""
        found[str(each)] = (told.st_mtime_ns, content)
    return found


def first_key(store: Path) -> str:
    return sorted(os.listdir(store / "trials"))[0]


def as_format(path: Path, number: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": number}))


def folder_for_format(store: Path) -> None:
    (store / "FORMAT").unlink()
    (store / "FORMAT").mkdir()


STORES: dict[str, Callable[[Path], object]] = {
    "format 2": lambda store: as_format(store / "FORMAT", 2),
    "format 10^30": lambda store: as_format(store / "FORMAT", 10**30),
    "format true": lambda store: as_format(store / "FORMAT", True),
    "format 1.5": lambda store: as_format(store / "FORMAT", 1.5),
    "FORMAT torn": lambda store: (store / "FORMAT").write_text('{"form'),
    "FORMAT binary": lambda store: (store / "FORMAT").write_bytes(b"\xff\x00" * 100),
    "FORMAT nested": lambda store: (store / "FORMAT").write_text("[" * 100_000),
    "FORMAT a number too long": lambda store: (store / "FORMAT").write_text(
        '{"format": ' + "9" * 10_000 + "}"
    ),
    "FORMAT empty": lambda store: (store / "FORMAT").write_bytes(b""),
    "FORMAT missing": lambda store: (store / "FORMAT").unlink(),
    "FORMAT a folder": folder_for_format,
}


def refused(done: Done, what: object) -> None:
    lines = done.stderr.splitlines()
    assert done.returncode == 2, (what, done)
    assert sum(line.startswith("error:") for line in lines) == 1, (what, done)
    assert all(line.startswith(("error:", "  ")) for line in lines), (what, done)
    assert len(lines) <= 2, (what, done)
    assert len(done.stderr) < 500, (what, done)


def test_no_command_touches_a_store_it_does_not_know(
    run: Run, small: Path, proved: Proved, long: bool
) -> None:
    times = 0
    for what, change in STORES.items():
        shutil.rmtree("store")
        shutil.copytree(small, "store")
        change(Path("store"))
        before = snapshot(Path("store"))
        full = long or what == "format 2"
        for command in COMMANDS if full or what == "FORMAT torn" else FEW:
            refused(run(*command), (what, command))
            assert snapshot(Path("store")) == before, (what, command)
            times += 1
        if not full:
            continue
        # As the store that is merged from.
        sound = snapshot(Path("other"))
        for dry in ([], ["--dry-run"]):
            refused(run("merge", "store", "--store", "other", *dry), what)
            assert snapshot(Path("store")) == before, what
            times += 1
        assert snapshot(Path("other")).keys() == sound.keys()
        # From Python.
        study = ablate.Study.load("study.toml")
        for act in (study.results, study.run, partial(ablate.query, "select 1")):
            with pytest.raises(AblateError):
                act(store="store")
            times += 1
        assert snapshot(Path("store")) == before, what
    proved(
        "store", "a store of a newer format; FORMAT torn, missing, a folder",
        f"{len(STORES)} such stores, up to {len(COMMANDS) + 2} commands and 3 calls from Python",
        times, "no byte of it; one line, exit 2",
    )  # fmt: skip


def test_newer_definitions_and_saved_runs_are_refused(
    run: Run, small: Path, proved: Proved
) -> None:
    """Stores are copied over each other, so what is in one may be newer than it is."""
    key = first_key(small)
    saved = next((small / "studies" / "group").glob("*.json")).relative_to(small)
    cases = [
        ("trial.json", f"trials/{key}/trial.json", [
            ("logs", key[:8]), ("verify", key[:8]), ("verify",),
        ]),
        ("a saved run", str(saved), [
            ("report",), ("report", "group"), ("status",), ("gc",), ("gc", "--yes"),
            ("diff", "group:baseline", "group:warmup"), ("export", "group", "-o", "out.zip"),
            ("logs", "group:baseline/digits/0"),
        ]),
    ]  # fmt: skip
    times = 0
    for what, name, commands in cases:
        shutil.rmtree("store")
        shutil.copytree(small, "store")
        newer = 2 if what == "trial.json" else 3
        as_format(Path("store") / name, newer)
        before = snapshot(Path("store"))
        for command in commands:
            done = run(*command)
            refused(done, (what, command))
            assert f"newer ablate (format {newer})" in done.stderr, (what, command)
            assert snapshot(Path("store")) == before, (what, command)
            times += 1
        # merge takes the rest, names this, and leaves it where it is
        done = run("merge", "store", "--store", "other")
        assert done.returncode == 1, done
        assert "a newer ablate wrote it" in done.stderr
        assert not (Path("other") / name).exists()
        assert snapshot(Path("store")) == before, what
        shutil.rmtree("other")
        new_store(Path("other"))
        times += 1
    proved(
        "store", "a definition or a saved run of a newer format in a store of this one",
        "the number in the file raised", times, "no byte of it; merge takes the rest",
    )  # fmt: skip


def test_gc_keeps_a_newer_definition_of_no_study(run: Run) -> None:
    store = Store.open(Path("store"), create=False)
    key = train(store, make_trial(9, "mixup"), 0.5)
    as_format(Path("store") / "trials" / key / "trial.json", 2)
    done = run("gc", "--yes")
    assert done.returncode == 0
    assert "was written by a newer ablate" in done.stdout
    assert (Path("store") / "trials" / key).is_dir()


def version_of(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as connection:
        (number,) = connection.execute("SELECT number FROM spool.version").fetchone() or (0,)
    return int(number)


def test_a_newer_index_is_left_to_its_ablate(run: Run, proved: Proved) -> None:
    database = Path("store") / "results.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("UPDATE spool.version SET number = number + 1")
    newer = version_of(database)
    content = database.read_bytes()
    asked = "select count(*) as n, count(distinct key) as k from epochs"
    told = run("query", asked, "--json")
    assert told.returncode == 0, told
    epochs = 4 * 3
    assert json.loads(told.stdout)["rows"] == [{"n": epochs * 4, "k": 4}]  # three metrics, seconds
    assert run("report", "group").returncode == 0
    assert index_database.ingest(Path("store")) == 0
    assert database.read_bytes() == content
    assert sorted(p.name for p in Path("store").glob("results*")) == ["results.duckdb"]
    assert index_database.standing(Path("store")).state == "newer"
    assert run("reindex").returncode == 0  # who asks for it gets this one's
    assert version_of(database) == newer - 1
    proved(
        "store", "a database of a newer version", "its number raised", 3,
        "nothing: queries are answered from memory, the file is left as it is",
    )  # fmt: skip


def test_an_older_store_goes_on_working(run: Run, small: Path, proved: Proved) -> None:
    """As releases before wrote it: endings without what the epochs come to, no `macs`, definitions
    and saved runs without fields of today, an index of version 1."""
    asked = ("report", "group", "--format", "json")
    expected = run(*asked).stdout
    rows = run("query", "select * from epochs order by all", "--json").stdout
    changed = 0
    for done in Path("store").glob("trials/*/*/done.json"):
        document = json.loads(done.read_text())
        del document["curves"]
        document.pop("nonfinite")
        done.write_text(json.dumps(document))
        changed += 1
    for saved in Path("store").glob("studies/*/*.json"):
        document = json.loads(saved.read_text())
        for name in ("graphs", "warnings", "until", "format"):
            document.pop(name)
        for table in document["tables"]:
            for name in ("tuning", "orders", "factors", "total", "transpose"):
                table.pop(name)
            for row in table["rows"]:
                for name in ("tuning", "chosen", "unchosen", "factors"):
                    row.pop(name)
        for trial in document["trials"].values():
            trial["dataset"].pop("held_out")
            for spec in trial["tricks"]:
                spec.pop("files")
        saved.write_text(json.dumps(document))
        changed += 1
    for definition in Path("store").glob("trials/*/trial.json"):
        document = json.loads(definition.read_text())
        document["trial"]["dataset"].pop("held_out")
        definition.write_text(json.dumps(document))
        changed += 1
    (Path("store") / "results.duckdb").unlink()
    with duckdb.connect("store/results.duckdb") as connection:
        connection.execute("CREATE SCHEMA spool; CREATE TABLE spool.version AS SELECT 1 AS number")
    assert run(*asked).stdout == expected
    assert run("query", "select * from epochs order by all", "--json").stdout == rows
    for command in (("status",), ("gc", "--yes"), ("logs", "group:baseline/digits/0"),
                    ("export", "group", "-o", "out.zip"), ("merge", "store", "--store", "other"),
                    ("reindex",), ("diff", "group:baseline", "group:warmup")):  # fmt: skip
        done = run(*command)
        assert done.returncode == 0, (command, done)
    assert run(*asked).stdout == expected
    assert not list(Path("store").glob("results.duckdb.corrupt*")), "older is not damaged"
    key = first_key(small)
    store = Store.open(Path("store"), create=True)
    trial = store.trial(key)
    assert trial is not None
    assert trial.key == key
    with Attempt.begin(store.path, key) as attempt:
        attempt.record("epoch", epoch=1, metrics={"top1": 0.1})
    assert len(attempt_reader.attempts(store.path, key)) == 2
    proved(
        "store", "a store that an older ablate wrote",
        "endings without curves, saved runs and definitions without fields of today, index 1",
        changed, "nothing: the same report and the same rows",
    )  # fmt: skip
