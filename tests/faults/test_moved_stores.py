"""A store that was moved, linked, copied while in use, merged by copying, or made long ago."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.cli.main import main
from ablate.index.database import ingest
from ablate.store.store import Store
from tests.helpers.cli_process import ABLATE, Done
from tests.helpers.environment import environment
from tests.helpers.fault_table import Proved
from tests.helpers.faulty_runs import numbers, run, trained
from tests.helpers.forked import Forked
from tests.helpers.small_stores import make_study, make_trial, new_store, train

Run = Callable[..., Done]
SQL = "select key, top1, epochs from trials order by key"


@pytest.fixture
def ablate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    monkeypatch.chdir(tmp_path)

    def one(*arguments: str, store: str | Path) -> Done:
        capfd.readouterr()
        code = main([*arguments, f"--store={store}"])
        return Done(code, *capfd.readouterr())

    return one


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = new_store(tmp_path / "store")
    make_study(made, {"baseline": [0.80, 0.82], "mixup": [0.90, 0.91]})
    ingest(made.path)
    return made


def answers(ablate: Run, store: str | Path) -> list[str]:
    """What three commands print that read in three ways."""
    done = [
        ablate("report", "group", store=store),
        ablate("query", SQL, "--format", "csv", store=store),
        ablate("diff", "group:baseline", "group:mixup", store=store),
    ]
    assert [each.returncode for each in done] == [0, 0, 0], [each.stderr for each in done]
    return [each.stdout for each in done]


NAMES = [
    *("with spaces", "ünï→🙂", "it's", 'a "b"', "50% #1", "-leading", "a;b", "$HOME", "new\nline"),
    *("a\\b", "\x1b[31m", "x" * 200),
]


def test_on_paths_of_every_kind(store: Store, ablate: Run, proved: Proved, tmp_path: Path) -> None:
    expected = answers(ablate, "store")
    for name in NAMES:
        place = tmp_path / name / "ablate results"
        place.parent.mkdir()
        store.path.rename(place)  # moved, index and all
        assert answers(ablate, place) == expected
        done = ablate("reindex", store=place)
        duckdb_can = "\\" not in name  # it takes one for a slash; the spool is asked then
        assert done.returncode == (0 if duckdb_can else 2), done.stderr
        assert done.stderr.count("\n") == 1
        assert "\x1b[31m" not in done.stderr + done.stdout
        opened = Store.open(place, create=True)
        train(opened, make_trial(9), 0.5)
        assert ingest(place) > 0 or not duckdb_can
        shutil.rmtree(place / "trials" / make_trial(9).key)
        place.rename(store.path)
    (tmp_path / "link").symlink_to(store.path)
    assert answers(ablate, "link") == expected
    proved(
        "store",
        "a store is moved, or linked",
        "to paths with spaces, quotes, %, #, a dash, a newline, control characters, 200 letters",
        len(NAMES) + 1,
        "nothing",
    )


def test_from_a_folder_that_is_gone(
    store: Store, ablate: Run, proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    expected = ablate("report", "group", store=store.path)
    assert expected.returncode == 0, expected.stderr
    commands = [
        ("report", "group"),
        ("status",),
        ("query", SQL),
        ("run", "study.toml"),
        ("doctor",),
    ]
    for command in commands[:4]:
        done = ablate(*command, store="ablate-results")
        assert done.returncode == 2, (command, done)
        assert len(done.stderr.splitlines()) <= 2, done.stderr
    monkeypatch.chdir(tmp_path)
    proved(
        "store",
        "the working folder is removed",
        "rmdir, then commands with a relative and an absolute store",
        5,
        "nothing; a relative store is refused in a line",
    )


def without_checksums(store: Path) -> None:
    """As ablate wrote before it wrote checksums, formats and what epochs come to."""
    for path in [*store.rglob("*.json"), *store.rglob("*.jsonl")]:
        if path.suffix == ".jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            for line in lines:
                del line["crc"]
            texts = [json.dumps(line, separators=(",", ":")) for line in lines]
            path.write_text("".join(f"{text}\n" for text in texts))
            continue
        document = json.loads(path.read_text())
        document.pop("checksum", None)
        if path.name == "done.json":
            for name in ("curves", "summary"):
                del document[name]
        if path.name == "trial.json":
            del document["format"]
        path.write_text(json.dumps(document, indent=1))


def test_a_store_of_before(store: Store, ablate: Run, proved: Proved) -> None:
    expected = answers(ablate, "store")
    examples = [line for line in expected[0].splitlines() if "±" in line]
    without_checksums(store.path)
    (store.path / ".gitignore").unlink()
    (store.path / "results.duckdb").unlink()
    found = answers(ablate, "store")
    assert [line for line in found[0].splitlines() if "±" in line] == examples
    assert found[1] == expected[1]
    train(Store.open(store.path, create=True), make_trial(9), 0.5)
    assert ablate("query", SQL, store="store").returncode == 0
    assert ablate("status", store="store").returncode == 0
    proved(
        "store",
        "a store of an older release",
        "no checksums, curves, summaries or format in its files; an index of version 1 elsewhere",
        len(list(store.path.rglob("*.json*"))),
        "nothing",
    )


def test_copied_over_another(store: Store, ablate: Run, proved: Proved, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(store.path, other)
    train(Store.open(store.path, create=True), make_trial(7), 0.7)
    ingest(store.path)
    train(Store.open(other, create=True), make_trial(8), 0.8)
    train(Store.open(other, create=True), make_trial(0), 0.5)  # again, and another number
    ingest(other)
    subprocess.run(["cp", "-r", f"{other}/.", str(store.path)], check=True)
    report, query, _ = answers(ablate, "store")
    assert report == answers(ablate, "other")[0]
    assert len(query.splitlines()) == 1 + 4 + 2
    assert {d.key for d in store.disagreements()} == {make_trial(0).key}
    attempts = len([*store.path.glob("trials/*/2*")])
    assert attempts == 4 + 3
    proved(
        "store",
        "a store is copied over another",
        "cp -r, database and all; one trial differs",
        attempts,
        "0 attempts; the first counts, the difference is told",
    )


WRITER = """
import sys, time, zlib
from pathlib import Path
from ablate.store.attempt_writer import Attempt
attempt = Attempt.begin(Path(sys.argv[1]), sys.argv[2])
for epoch in range(1, 100_000):
    metrics = {"top1": epoch / 1e6, "check": zlib.crc32(str(epoch).encode())}
    attempt.record("epoch", epoch=epoch, metrics=metrics, seconds=1.0)
    time.sleep(0.001)
"""


def test_copied_while_it_is_written(store: Store, ablate: Run, proved: Proved) -> None:
    """A copy of every moment opens and has a whole number of lines."""
    copies, seen = 0, []
    trial = make_trial(5)
    store.register(trial, "grows")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(store.path), trial.key])
    try:
        for copies in range(1, 6):
            while len(store.epochs(trial.key)) < 20 * copies:
                time.sleep(0.02)
            copy = store.path.with_name(f"copy{copies}")
            subprocess.run(["cp", "-r", store.path, copy], check=True)
            assert ablate("report", "group", store=copy).returncode == 0
            rows = Store.open(copy, create=False).epochs(trial.key)
            assert [row["epoch"] for row in rows] == [*range(1, len(rows) + 1)]
            assert all(r["check"] == zlib.crc32(str(r["epoch"]).encode()) for r in rows)
            seen.append(len(rows))
            shutil.rmtree(copy)
    finally:
        writer.kill()
        writer.wait()
    assert seen == sorted(seen)
    assert seen[-1] > 0
    proved(
        "store",
        "a store is copied while it is written",
        "cp -r while lines are appended",
        copies,
        f"nothing: {seen[-1]:,} whole lines in the last copy",
    )


def test_a_run_goes_on_in_a_copy_made_during_it(tmp_path: Path, proved: Proved) -> None:
    whole = trained(tmp_path / "work", 1)
    process = Forked(
        [*ABLATE, "run", "study.toml", "--limit", "20", "--store", "mine"],
        cwd=whole.parent, env=environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    mine, copy = whole.parent / "mine", whole.parent / "copy"
    while process.poll() is None and not list(mine.glob("trials/*/2*/metrics.jsonl")):
        time.sleep(0.02)
    subprocess.run(["cp", "-r", mine, copy], capture_output=True)  # some files go meanwhile
    assert process.wait(120) == 0
    assert numbers(mine) == numbers(whole)
    done = run(whole.parent, "copy")
    assert done.returncode == 0, done.stderr
    assert numbers(copy) == numbers(whole)
    proved(
        "store",
        "a store is copied during a run",
        "cp -r, then run on both",
        2,
        "0 numbers; the running epochs are trained again in the copy",
    )
