"""What is read from small files and from the ends of files is what reading every line gives."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.core.resolved_study import Row, Table
from ablate.index import database
from ablate.index import rows as index_rows
from ablate.index.database import in_memory
from ablate.session.judged_tables import tables_of
from ablate.store import attempt_reader, journal
from ablate.store.attempt_reader import checkpoint_files
from ablate.store.attempt_writer import Attempt
from ablate.store.curves import Curves
from ablate.store.journal import last_epoch, read_lines, read_pieces
from ablate.store.lease import claim
from ablate.store.store import Store, TrialState
from tests.helpers.small_stores import make_trial
from tests.helpers.store_samples import resolved

Train = Callable[..., str]
METRICS = ("train_loss", "loss", "top1", "top5")
NOT_FINITE = (math.nan, math.inf, -math.inf)


# ------------------------------------------------------------------- every line, in plain Python


def lines_of(path: Path) -> list[Any]:
    """JSON objects on complete lines, by the standard library alone."""
    found = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [record for record in found if isinstance(record, dict)]


def epochs_of(path: Path) -> list[dict[str, Any]]:
    by_epoch = {r["epoch"]: r for r in lines_of(path) if r["kind"] == "epoch"}
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]


def curve(epochs: list[dict[str, Any]], name: str) -> list[Any]:
    """A metric at every epoch; what was not finite by one word, what is missing by another."""
    values = [e["metrics"].get(name, "missing") for e in epochs]
    return ["not finite" if value is None else value for value in values]


def long_way(store: Store, key: str) -> tuple[str, str | None, int, int]:
    """(status, attempt that counts, epochs finished, epochs kept) from every file there is."""
    folder = store.path / "trials" / key
    attempts = sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0].isdigit())
    ends = {p: json.loads(d.read_text()) for p in attempts if (d := p / "done.json").exists()}
    unfinal = [p for p in attempts if ends.get(p, {}).get("status") not in attempt_reader.FINAL]
    kept = max((epoch for p in unfinal for epoch, _ in checkpoint_files(p)), default=0)
    running = (folder / "claim").exists()
    done = [p for p in attempts if ends.get(p, {}).get("status") == "done"]
    if not attempts:
        return "running" if running else "new", None, 0, 0
    counting = done[0] if done else attempts[-1]
    epochs = epochs_of(counting / "metrics.jsonl")
    last = epochs[-1]["epoch"] if epochs else 0
    if not done and running:
        return "running", counting.name, max(last, kept), kept
    if counting not in ends:
        return "interrupted", counting.name, max(last, kept), kept
    status = ends[counting]["status"]
    return status, counting.name, last, last if status in attempt_reader.FINAL else kept


def short_way(state: TrialState) -> tuple[str, str | None, int, int]:
    return state.status, state.attempt, state.epoch, state.kept


def write(random: random.Random, store: Store, key: str, epochs: int, ending: str) -> None:
    """One attempt: `ending` is a status, or how it broke off."""
    attempt = Attempt.begin(store.path, key)
    for epoch in range(1, epochs + 1):
        values = {name: random.choice([random.random(), 1, 0.5]) for name in METRICS}
        if random.random() < 0.2:
            values[random.choice(METRICS)] = random.choice(NOT_FINITE)
        if random.random() < 0.1:
            del values[random.choice(METRICS)]
        counts = {"steps": 10, "images": 640 if random.random() < 0.95 else 704}
        times = {"seconds": random.random()}
        if key < "8":  # the others as older releases wrote them
            times["processor_seconds"] = random.random()
        attempt.record("epoch", epoch=epoch, metrics=values, **times, **counts)
        if random.random() < 0.3:
            attempt.record("note", text="ü" * random.randrange(300))
        if random.random() < 0.3:
            attempt.save_checkpoint(epoch, lambda file: file.write(b"weights"))
    if ending in attempt_reader.STATUSES:
        attempt.save_environment({"host": "here", "device_name": "cpu"})
        attempt.finish(ending, "because", examples=1000)
        return
    attempt.close()
    with (attempt.path / "metrics.jsonl").open("ab") as file:
        if "damaged" in ending:
            file.write(b'{"seq": \xff\xfe\n[1]\n')
        if "torn" in ending:
            file.write(b'{"seq":99,"kind":"epoch","epoch":99,"metr')


ENDINGS = (
    *attempt_reader.STATUSES,
    *attempt_reader.STATUSES,
    "done",
    "killed",
    "torn",
    "damaged",
    "damaged torn",
)


def fill(random: random.Random, store: Store, trials: int) -> list[str]:
    """Random trials with up to three attempts each; some hold a claim."""
    keys = []
    for seed in range(trials):
        trial = make_trial(seed)
        store.register(trial, f"digits · seed {seed}")
        keys.append(trial.key)
        for _ in range(random.randrange(4)):
            write(random, store, trial.key, random.randrange(6), random.choice(ENDINGS))
        if random.random() < 0.2:
            assert claim(store.path, trial.key, "s") is not None
    return keys


@pytest.mark.parametrize("seed", range(8))
def test_states_and_results_are_those_of_every_line(store: Store, seed: int) -> None:
    keys = fill(random.Random(seed), store, 25)
    for opened in (store, Store.open(store.path, create=False)):  # once from what it remembers
        for _ in range(2):
            states = opened.states(keys)
            for key in keys:
                assert short_way(states[key]) == long_way(store, key)
            check_results(opened, states)


def check_results(store: Store, states: dict[str, TrialState]) -> None:
    results = store.results(states)
    assert set(results) == {key for key, state in states.items() if state.status == "done"}
    for key, result in results.items():
        assert store.result(key) == result
        path = store.path / "trials" / key / str(states[key].attempt)
        epochs = epochs_of(path / "metrics.jsonl")
        found = result.curves
        seconds = [epoch["seconds"] for epoch in epochs]
        images = {epoch["images"] for epoch in epochs}
        assert found.epochs == len(epochs) == len(result.epochs)
        assert found.images == (images.pop() if len(images) == 1 else None)
        later = statistics.median(seconds[1:]) if len(seconds) > 1 else None
        assert found.seconds == pytest.approx(later)
        assert found.typical == (statistics.median(seconds) if seconds else None)
        shares = [e["processor_seconds"] / e["seconds"] for e in epochs[1:] if key < "8"]
        assert found.processor_share == (
            pytest.approx(statistics.median(shares)) if shares else None
        )
        assert result.epoch_seconds == seconds
        assert result.finished == states[key].finished
        assert attempt_reader.curves(path, {}) == found  # as if an older release had written it


def pairs(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    return ((a, b) for a in items for b in items)


number = st.sampled_from([0.0, -0.0, 1.0, 1, 0.5, math.nan])
epoch_metrics = st.dictionaries(st.sampled_from(METRICS[:2]), number, max_size=2)


@given(curves=st.lists(st.lists(epoch_metrics, max_size=3), min_size=2, max_size=5))
@settings(max_examples=200, deadline=None)
def test_curves_are_the_same_where_every_number_is(curves: list[list[dict[str, float]]]) -> None:
    for a, b in pairs(curves):
        plain = [
            [[words(epoch.get(name)) for name in METRICS] for epoch in epochs] for epochs in (a, b)
        ]
        something = any(any(epoch.values()) or epoch for epoch in a)
        same = plain[0] == plain[1] and something
        assert Curves.of(a, [1.0] * len(a)).same(Curves.of(b, [1.0] * len(b)), METRICS) == same


def words(value: float | None) -> object:
    return "not finite" if value is not None and math.isnan(value) else value


def test_curves_of_finished_attempts_compare_as_their_lines_do(store: Store) -> None:
    """Curves that differ in one bit of one epoch, in a number of epochs, and in nothing."""
    curves = ([0.1, 0.3], [0.1, 0.1 + 0.2], [0.1, 0.3], [0.1], [0.1, math.nan], [0.1, -math.inf])
    keys = []
    for seed, values in enumerate(curves):
        keys.append(make_trial(seed).key)
        with Attempt.begin(store.path, keys[-1]) as attempt:
            for epoch, value in enumerate(values, start=1):
                attempt.record("epoch", epoch=epoch, metrics={"top1": value}, seconds=1.0)
            attempt.finish("done")
    results = store.results(store.states(keys))
    for a, b in pairs(keys):
        first, second = (curve(epochs_of(results[key].lines), "top1") for key in (a, b))
        assert results[a].curves.same(results[b].curves, METRICS) == (first == second)


@pytest.mark.parametrize("broken", ["older", "other length", "newer", "nonsense"])
def test_what_an_ending_says_of_other_lines_is_not_believed(
    store: Store, trained: Train, broken: str
) -> None:
    key = trained()
    expected = store.result(key)
    assert expected is not None
    done = expected.lines.with_name("done.json")
    document = json.loads(done.read_text())
    wrong = document["curves"] | {"epochs": 77, "seconds": 9.0, "digests": {}}
    if broken == "older":
        del document["curves"]
    elif broken == "other length":
        document["curves"] = wrong | {"bytes": wrong["bytes"] + 1}
    elif broken == "newer":
        document["curves"] = wrong | {"version": wrong["version"] + 1}
    else:
        document["curves"] = wrong | {"seconds": "long"}
    done.write_text(json.dumps(document))
    for opened in (store, Store.open(store.path, create=False)):
        assert opened.result(key) == expected
    document["curves"] = wrong  # else this test would pass if nothing were ever believed
    done.write_text(json.dumps(document))
    assert store.result(key).curves.epochs == 77  # type: ignore[union-attr]


def test_a_finished_training_is_reported_without_its_lines(store: Store, trained: Train) -> None:
    """Nobody opens metrics.jsonl: were it opened, this line would be missed."""
    key = trained()
    before = store.result(key)
    assert before is not None
    size = before.lines.stat().st_size
    before.lines.write_bytes(b"x" * size)
    after = Store.open(store.path, create=False).result(key)
    assert after is not None
    assert after.curves == before.curves
    assert after.final == before.final
    assert after.epochs == []


def test_a_trial_that_goes_on_is_seen_by_a_store_that_is_open(store: Store) -> None:
    key = make_trial().key
    seen: list[tuple[object, object]] = []
    with Attempt.begin(store.path, key) as attempt:
        for epoch in (1, 2):
            attempt.record("epoch", epoch=epoch, metrics={"top1": 0.5}, seconds=1.0)
            seen.append((store.state(key).epoch, store.results(store.states([key]))))
        attempt.finish("failed")
    seen.append((store.state(key).status, store.result(key)))
    write(random.Random(0), store, key, 3, "done")
    assert seen == [(1, {}), (2, {}), ("failed", None)]
    assert store.results(store.states([key]))[key].curves.epochs == 3
    attempt_reader.retire(store.path, key)
    assert store.state(key).status == "new"
    assert store.result(key) is None


# -------------------------------------------------------------------------- ends and pieces


@pytest.mark.parametrize("tail", [1, 7, 40, 300, 1 << 14])
def test_the_last_epoch_is_found_from_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: int
) -> None:
    monkeypatch.setattr(journal, "_TAIL", tail)
    chosen = random.Random(tail)
    path = tmp_path / "metrics.jsonl"
    assert last_epoch(path) == 0
    for _ in range(60):
        lines, epoch = [], 0
        for _ in range(chosen.randrange(8)):
            kind = chosen.choice(["epoch", "epoch", "note", "damaged", "odd", "quoted"])
            if kind == "epoch":
                epoch += chosen.randrange(1, 3)
                pad = "x" * chosen.randrange(100)
                lines.append(json.dumps({"kind": "epoch", "epoch": epoch, "pad": pad}).encode())
            elif kind == "note":
                lines.append(json.dumps({"kind": "note", "epoch": 999}).encode())
            elif kind == "odd":
                lines.append(b'{"kind": "epoch", "epoch": "many"}')
            elif kind == "quoted":
                lines.append(json.dumps({"text": '{"kind": "epoch", "epoch": 5}'}).encode())
            else:
                lines.append(chosen.choice([b"\xff\x00", b"", b"[]", b'{"kind": "epoch"']))
        torn = chosen.choice([b"", b'{"kind": "epoch", "epoch": 1000}', b"{"])
        path.write_bytes(b"".join(line + b"\n" for line in lines) + torn)
        assert last_epoch(path) == epoch


@given(
    text=st.lists(st.sampled_from([b'{"a": 1}', b"[]", b"", b"\xff", b'{"b": "\xc3\xbc"}'])),
    torn=st.sampled_from([b"", b'{"a"', b'{"a": 1}']),
    size=st.integers(1, 50),
    skipped=st.integers(0, 3),
)
@settings(max_examples=300, deadline=None)
def test_pieces_are_the_lines(
    tmp_path_factory: pytest.TempPathFactory,
    text: list[bytes],
    torn: bytes,
    size: int,
    skipped: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / "pieces.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in text) + torn)
    offset = sum(len(line) + 1 for line in text[:skipped])
    whole, pieces = read_lines(path, offset), list(read_pieces(path, offset, size))
    assert [r for piece in pieces for r in piece.records] == whole.records
    assert [i for piece in pieces for i in piece.invalid] == whole.invalid
    assert all(a.offset < b.offset for a, b in pairwise(pieces))
    assert (pieces[-1].offset if pieces else offset) == whole.offset


def test_the_report_of_a_running_study_is_that_of_its_lines(store: Store) -> None:
    """Tables made from the shortcuts, and from the same store with none of them left."""
    chosen = random.Random(3)
    trials = {(seed, row): make_trial(seed, *row) for seed in (0, 1, 2) for row in ((), ("mixup",))}
    for (seed, row), trial in trials.items():
        store.register(trial, f"{row} {seed}")
        for ending in ("killed", "done", "done") if (seed, row) != (2, ("mixup",)) else ("torn",):
            write(chosen, store, trial.key, 4, ending)
    keys = {row: tuple(trials[seed, row].key for seed in (0, 1, 2)) for row in ((), ("mixup",))}
    rows = (
        Row(label="baseline", tricks=(), role="baseline", above=None, keys=keys[()]),
        Row(label="+ mixup", tricks=("mixup",), role="step", above=0, keys=keys["mixup",]),
    )
    table = Table(
        ablation="main", kind="cumulative", dataset="digits", column="", reference="above",
        seeds=(0, 1, 2), rows=rows,
    )  # fmt: skip
    every = {trial.key: trial for trial in trials.values()}
    study = resolved("group1").model_copy(
        update={"tables": (table,), "trials": every, "order": tuple(every), "seeds": (0, 1, 2)}
    )
    short = tables_of(study, store)
    for done in store.path.glob("trials/*/*/done.json"):
        document = json.loads(done.read_text())
        if document.pop("curves", None):
            done.write_text(json.dumps(document))
    assert tables_of(study, Store.open(store.path, create=False)) == short
    assert short[0].rows[1].seeds[2].status == "interrupted"
    assert short[0].rows[0].seconds is not None


# --------------------------------------------------------------------------------- the index


def test_the_index_has_every_number_whatever_the_size_of_a_batch(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As arrays and as lists, in one piece and in many."""
    fill(random.Random(1), store, 6)
    key = make_trial(99).key
    with Attempt.begin(store.path, key) as attempt:  # enough for arrays, with NULLs of every kind
        for epoch in range(1, 600):
            value = math.nan if epoch % 7 == 0 else epoch / 3
            odd = None if epoch % 5 == 0 else epoch
            metrics = {"top1": value, "ü": 1.0}
            seconds = None if epoch % 3 == 0 else 1.5
            attempt.record("epoch", epoch=odd, metrics=metrics, seconds=seconds, steps=2**40)
        attempt.finish("done")
    tables = ("attempt", "ending", "epoch", "metric", "final", "set_aside", "rewritten")

    def dump() -> dict[str, list[tuple[Any, ...]]]:
        with in_memory(store.path) as connection:
            return {
                table: connection.execute(f"SELECT * FROM spool.{table} ORDER BY ALL").fetchall()
                for table in tables
            }

    arrays = dump()
    monkeypatch.setattr(database, "_MANY", 10**9)
    monkeypatch.setattr(index_rows, "_PIECE", 64)
    monkeypatch.setattr(index_rows, "_ROWS", 10)
    assert dump() == arrays
    expected = [
        (record["seq"], record["epoch"] if isinstance(record["epoch"], int) else None, name, value)
        for record in lines_of(attempt.path / "metrics.jsonl")
        if record["kind"] == "epoch"
        for name, value in record["metrics"].items()
    ]
    (run,) = (row[0] for row in arrays["attempt"] if row[1] == key)
    found = [row[1:] for row in arrays["metric"] if row[0] == run]
    assert sorted(found, key=lambda row: (row[0], row[2])) == sorted(
        expected, key=lambda row: (row[0], row[2])
    )
    assert {row[4] for row in arrays["epoch"] if row[0] == run} == {None}  # 2**40 is no step
