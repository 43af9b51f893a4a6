"""Files of a store that are damaged or written by somebody else.

Every command gives the right numbers, or leaves out what cannot be read, or says one line; never a
traceback, and never a number that was not measured.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ablate.index.database import connect
from ablate.store.attempt_reader import attempts
from ablate.store.attempt_writer import Attempt
from ablate.store.journal import last_epoch, read_epochs, read_lines
from ablate.store.store import Store
from tests.helpers.cli_process import Done
from tests.helpers.fault_runs import Run
from tests.helpers.fault_table import Proved
from tests.helpers.mutations import mutate, retype
from tests.helpers.small_stores import make_study, make_trial, new_store, train

ROWS = "select key, epoch, metric, value from epochs order by all"
ENDS = "select key, seed, dataset, model, top1 from trials order by all"
SCORES = "select key, id, label, predicted from predictions order by all"
COMMANDS = [
    ("report", "group", "--format", "json"),
    ("report", "group", "--format", "json"),
    ("report", "group", "--format", "html", "-o", "report.html"),
    ("report", "group", "--new-images"),
    ("status",),
    ("logs", "group:mixup/digits/0"),
    ("diff", "group:baseline", "group:mixup"),
    ("export", "group", "-o", "group.tar.gz"),
    ("query", ROWS, "--format", "csv"),
    ("query", ENDS, "--format", "csv"),
    ("query", SCORES, "--format", "csv"),
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = new_store(tmp_path / "store")
    make_study(made, {"baseline": [0.80, 0.82, 0.81], "mixup": [0.9, 0.91, 0.92]})
    return made


def measured(report: str) -> set[tuple[str, float]]:
    """(key, number) of every trial in a report."""
    tables = json.loads(report)["tables"]
    trials = [t for table in tables for row in table["rows"] for t in row["trials"]]
    return {(t["key"], t["value"]) for t in trials if t["value"] is not None}


def check(command: tuple[str, ...], done: Done, whole: Done, damaged: bool) -> None:
    assert done.returncode in (0, 1, 2), done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode == 2:
        assert len(done.stderr.strip().splitlines()) <= 2, done.stderr
    elif damaged and command[:1] == ("query",):
        known = set(whole.stdout.splitlines())
        lost = re.compile(r"[0-9a-f]{64},(\d*,\w*,\w*|\d+,seconds),")  # its row, without numbers
        assert all(line in known or lost.fullmatch(line) for line in done.stdout.splitlines())
    elif damaged and command[-1] == "json":
        assert measured(done.stdout) <= measured(whole.stdout)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("damage", [mutate, retype])
def test_no_damage_to_a_file_gives_a_traceback_or_a_wrong_number(
    store: Store, run: Run, proved: Proved, long: bool, damage: Callable[..., str]
) -> None:
    chance = random.Random(damage.__name__)
    whole = {command: run(*command) for command in COMMANDS}
    assert all(done.returncode == 0 for done in whole.values())
    files = [p for p in sorted(store.path.rglob("*")) if p.is_file() and p.suffix != ".duckdb"]
    if damage is retype:
        files = [path for path in files if path.suffix in (".json", ".jsonl")]
    files = [path for path in files if path.stat().st_size]
    tried = 0
    for _ in range(1000 if long else 6):
        path = chance.choice(files)
        before = path.read_bytes()
        kind = damage(path, chance)
        for command in chance.sample(COMMANDS, 2):
            if command[0] == "query":
                (store.path / "results.duckdb").unlink(missing_ok=True)
            done = run(*command)
            try:
                check(command, done, whole[command], damage is mutate and path.name != "FORMAT")
            except AssertionError as error:
                raise AssertionError(
                    f"{kind} {path.name}, {command}: {path.read_bytes()!r}"
                ) from error
            tried += 1
        path.write_bytes(before)
        (store.path / "results.duckdb").unlink(missing_ok=True)
    words = {
        mutate: ("bytes flipped, cut, zeroed, doubled, replaced", "0 wrong numbers, 0 tracebacks"),
        retype: ("values of other types, too large, missing; no checksum", "0 tracebacks"),
    }[damage]
    proved(
        "store", "a file of the store is damaged", f"{words[0]}; then what reads", tried, words[1]
    )


def test_a_line_that_is_torn_at_any_byte_is_left_until_it_is_whole(
    tmp_path: Path, proved: Proved
) -> None:
    key = make_trial(0).key
    store = new_store(tmp_path / "store")
    with Attempt.begin(store.path, key) as attempt:
        path = attempt.path / "metrics.jsonl"
        attempt.record("epoch", epoch=1, metrics={"top1": 0.5}, seconds=1.0, steps=1)
        whole = path.read_bytes()
        attempt.record("epoch", epoch=2, metrics={"top1": 0.6}, seconds=1.0, steps=1)
    line = path.read_bytes()[len(whole) :]
    for cut in range(len(line)):
        path.write_bytes(whole + line[:cut])
        read = read_lines(path)
        assert (read.offset, read.invalid, last_epoch(path)) == (len(whole), [], 1)
        assert [e["top1"] for e in read_epochs(path)] == [0.5]
        if cut in (1, len(line) // 2, len(line) - 1):
            with connect(store.path) as index:
                assert index.execute("SELECT epoch FROM spool.epoch").fetchall() == [(1,)]
    path.write_bytes(whole + line)
    assert [e["top1"] for e in read_epochs(path)] == [0.5, 0.6]
    with connect(store.path) as index:
        found = index.execute("SELECT epoch FROM spool.epoch ORDER BY 1").fetchall()
    assert found == [(1,), (2,)]
    proved(
        "store",
        "a torn line",
        "cut at every byte of it",
        len(line),
        "nothing: it is read when whole",
    )


def test_lines_that_are_no_lines_of_the_trial(tmp_path: Path, proved: Proved) -> None:
    """Garbage, NULs, a line of megabytes, lines that are there twice or have another's number."""
    store = new_store(tmp_path / "store")
    key = train(store, make_trial(0), 0.9)
    (attempt,) = attempts(store.path, key)
    path = attempt / "metrics.jsonl"
    start, *epochs = path.read_bytes().splitlines()
    flipped = bytearray(epochs[0])
    flipped[flipped.index(b'"top1":') + 9] ^= 1
    odd = [
        *(b"\x00" * 500, b"\xff\xfe\x00", b"[" * 100_000, b"x" * (3 << 20), b"null", b"", b"\r"),
        *(epochs[0], start, bytes(flipped), epochs[1].replace(b'"seq":2', b'"seq":7')),
        b'{"seq":-1,"kind":"epoch","epoch":1,"metrics":{"top1":0.1}}',
        b'{"seq":1,"kind":"epoch","epoch":1,"metrics":{"top1":0.1}}',
        b'{"seq":"9","kind":"epoch","epoch":1,"metrics":{"top1":0.1}}',
    ]
    lines = [start, epochs[0], *odd, epochs[1], *odd, epochs[2]]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    read = read_lines(path)
    assert len(read.invalid) == 2 * len(odd)
    assert [e["top1"] for e in read_epochs(path)] == pytest.approx([0.7, 0.8, 0.9])
    with connect(store.path) as index:
        sql = "SELECT value FROM epochs WHERE metric = 'top1' ORDER BY epoch"
        np.testing.assert_allclose(index.execute(sql).fetchall(), [(0.7,), (0.8,), (0.9,)])
        assert index.execute("SELECT count(*) FROM spool.set_aside").fetchall() == [(2 * len(odd),)]
    proved(
        "store",
        "lines that are not the trial's",
        "NULs, binary, 3 MB, doubled, flipped, another sequence number, between its own",
        len(read.invalid),
        "0 of 3 epochs; each is set aside",
    )


def _archive(path: Path, **arrays: np.ndarray) -> None:
    np.savez(path, **arrays)


def _pickled(path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.mkdir, (path.with_name("owned"),)

    scores = np.array([[Evil()]], dtype=object)
    np.savez(path, ids=np.zeros(1, int), labels=np.zeros(1, int), scores=scores)


def _claiming(path: Path) -> None:
    """A header that says a thousand billion images."""
    with np.load(path) as stored:
        arrays = dict(stored)
    _archive(path, **arrays)
    data = path.read_bytes()
    shape = f"({len(arrays['ids'])},)".encode()
    path.write_bytes(data.replace(b"'shape': " + shape, b"'shape': (9999999999,)", 1))


PREDICTIONS: list[Callable[[Path], None]] = [
    _pickled,
    _claiming,
    lambda path: np.savez_compressed(path, ids=np.zeros(10**7, int), labels=1, scores=1),
    lambda path: _archive(path, ids=np.zeros(3), labels=np.zeros((2, 2)), scores=np.zeros(7)),
    lambda path: _archive(path, scores=np.zeros((20, 10), np.float32)),
    lambda path: _archive(
        path, ids=np.arange(20), labels=np.arange(20) - 30, scores=np.zeros((20, 10))
    ),
    lambda path: path.write_bytes(b"PK\x03\x04 no archive"),
]


def test_predictions_of_somebody_else(store: Store, run: Run, proved: Proved) -> None:
    key = make_trial(0).key
    (attempt,) = attempts(store.path, key)
    path = attempt / "predictions.npz"
    before = path.read_bytes()
    whole = run("report", "group")
    told = 0
    for damage in PREDICTIONS:
        path.write_bytes(before)
        damage(path)
        (store.path / "results.duckdb").unlink(missing_ok=True)
        assert run("report", "group") == whole
        asked = run("report", "group", "--new-images")
        assert asked.returncode == 2
        assert "predictions.npz is damaged" in asked.stderr
        assert len(asked.stderr.splitlines()) == 2
        queried = run("query", f"select count(*) from predictions where key = '{key}'")
        assert queried.returncode == 0, queried.stderr
        assert not path.with_name("owned").exists()
        told += 3
    proved(
        "safety",
        "predictions.npz of somebody else",
        "pickled objects, wrong shapes, a header that claims 80 GB, compressed, labels below 0",
        told,
        "nothing is run; the trial's name is told",
    )


def test_a_trial_whose_ending_is_damaged_is_trained_again_and_says_so(
    store: Store, run: Run, proved: Proved
) -> None:
    trial = make_trial(0)
    (attempt,) = attempts(store.path, trial.key)
    whole = json.loads((attempt / "done.json").read_text())
    shutil.copy(attempt / "done.json", store.path.parent / "kept")
    odd = [
        {"status": "perfect"}, {"status": ["done"]}, {"status": None}, {"epochs": -1},
        {"epochs": 10**400}, {"lines": "4"}, {"final": [0.9]}, {"final": {"top1": "0.9"}},
        {"final": {"top1": 10**400}}, {"message": {}}, {"started": 7}, {"finished": []},
        {"continues": {}}, {"summary": []}, {"summary": {"examples": "x"}},
        {"summary": {"precision": 1}},
    ]  # fmt: skip
    for change in odd:
        document = {name: value for name, value in (whole | change).items() if name != "checksum"}
        (attempt / "done.json").write_text(json.dumps(document))
        state = store.state(trial.key)
        assert state.status == "interrupted", change
        report = run("report", "group")
        assert report.returncode == 0, report.stderr
        assert "81.0" not in report.stdout
    (attempt / "done.json").write_bytes(b"[" * 10_000)
    assert store.state(trial.key).status == "interrupted"
    train(store, trial, 0.80)  # as the next run does
    assert store.state(trial.key).status == "done"
    assert "81.0" in run("report", "group").stdout
    proved(
        "store",
        "done.json with values that none has",
        "other types, too large, below 0, unknown status, 10,000 brackets",
        len(odd) + 1,
        "the trial, trained again; it is in no table meanwhile",
    )
