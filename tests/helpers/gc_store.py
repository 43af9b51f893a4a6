"""A store with several studies, failures, retired attempts and a teacher, and things no study
needs; what every study's report says of it. Written as trials write; nothing is trained."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from ablate.core.resolved_study import ResolvedStudy
from ablate.core.trial import Trial
from ablate.store import attempt_reader
from ablate.store.attempt_writer import Attempt
from ablate.store.lease import claim, this_process
from ablate.store.store import Store
from ablate.util import files
from tests.helpers.small_stores import MACHINE, make_study, make_trial, new_store, train

OLD = time.time() - 86400
DEAD = this_process() | {"started": "another, of the same number"}


class Littered(NamedTuple):
    """needed: every file that has to stay, relative to the store; outside: a folder that a link
    in the store leads to."""

    store: Store
    needed: frozenset[str]
    outside: Path


def files_of(path: Path) -> frozenset[str]:
    """Every file and link, relative; the database, its locks and gc's own are not counted."""
    own = ("results.duckdb", ".index.lock", ".studies.lock", ".gc.lock")
    found = (p for p in path.rglob("*") if p.is_symlink() or not p.is_dir())
    return frozenset(str(p.relative_to(path)) for p in found if p.name not in own)


def littered(folder: Path) -> Littered:
    """A new one."""
    store = new_store(folder / "store")
    make_study(store, {"baseline": [0.50, 0.52], "warmup": [0.55, 0.56], "mixup": [0.61, 0.60]})
    partial = {"baseline": [0.4, 0.41, 0.42], "warmup": [0.43, None, None], "mixup": [None] * 3}
    other = make_study(store, partial, name="nested/other", epochs=2, file="studies/other.toml")
    for key, status in zip([k for k in other.order if store.state(k).status == "new"],
                           ("failed", "diverged", "interrupted"), strict=False):  # fmt: skip
        _attempt(store, other.trials[key], status, checkpoints=(1,) if status == "failed" else ())
    _unfinished(store, other)
    teacher = make_trial(0, epochs=4)
    pupil = make_trial(0, "mixup", epochs=4, teacher=teacher.key)
    _study(store, "distilled", teacher, pupil)
    train(store, teacher, 0.7)
    train(store, pupil, 0.75)
    _weights(store, teacher.key)
    repeated = {str(p.relative_to(store.path)) for p in (store.path / "studies/group").iterdir()}
    needed = files_of(store.path) - repeated
    outside = folder / "outside"
    _litter(store, outside)
    return Littered(store, needed | _stays(store), outside)


def _study(store: Store, name: str, teacher: Trial, pupil: Trial) -> ResolvedStudy:
    like = store.latest_study("group")
    assert like is not None
    (table,) = like.tables
    rows = tuple(
        row.model_copy(update={"keys": (key,)})
        for row, key in zip(table.rows[:2], (teacher.key, pupil.key), strict=True)
    )
    keys = (teacher.key, pupil.key)
    made = like.model_copy(
        update={
            "name": name,
            "seeds": (0,),
            "tables": (table.model_copy(update={"seeds": (0,), "rows": rows}),),
            "trials": {teacher.key: teacher, pupil.key: pupil},
            "labels": {key: f"digits · {key[:4]} · seed 0" for key in keys},
            "order": keys,
        }
    )
    store.save_study(made)
    return made


def _attempt(store: Store, trial: Trial, status: str, checkpoints: tuple[int, ...] = ()) -> Path:
    store.register(trial, "digits · made")
    with mock.patch(
        "ablate.store.attempt_writer.this_process", return_value=DEAD
    ):  # else we would still train it
        attempt = Attempt.begin(store.path, trial.key)
    with attempt:
        attempt.record("epoch", epoch=1, metrics={"top1": 0.2, "loss": 2.0}, seconds=1.0)
        for epoch in checkpoints:
            attempt.save_checkpoint(epoch, lambda file: file.write(b"checkpoint" * 1000))
        attempt.log("a line")
        if status:
            attempt.finish(status, "CUDA error" if status == "failed" else "")
    return attempt.path


def _unfinished(store: Store, study: ResolvedStudy) -> None:
    """A kill -9 left it: no ending, two checkpoints, and before it one that failed."""
    key = [k for k in study.order if store.state(k).status == "new"][-1]
    _attempt(store, study.trials[key], "failed", checkpoints=(1,))
    _attempt(store, study.trials[key], "", checkpoints=(1, 2))


def _weights(store: Store, key: str) -> None:
    attempt = Attempt(attempt_reader.attempts(store.path, key)[0], -1, None)
    attempt.save_weights(lambda file: _write(file.write, b"weights" * 500))


def _write(write: object, data: bytes) -> None:
    write(data)  # type: ignore[operator]


def _litter(store: Store, outside: Path) -> None:
    outside.mkdir()
    (outside / "precious.txt").write_text("not in the store")
    group = store.latest_study("group")
    assert group is not None
    first, second, third, *_ = group.order
    path = store.path
    for seed in (7, 8):  # of no study, the second with a failure, weights and a link in it
        key = train(store, make_trial(seed, "warmup", epochs=5), 0.9)
    _weights(store, key)
    (attempt_reader.attempts(path, key)[0] / "more").symlink_to(outside)
    _attempt(store, make_trial(9, epochs=5), "failed", checkpoints=(1, 2))
    # Attempts that failed before the one that counts; one set aside, trained anew.
    for trial_key, status in ((first, "failed"), (first, "interrupted"), (first, "")):
        made = _attempt(store, group.trials[trial_key], status, checkpoints=(1, 2))
        earlier = made.with_name(made.name.replace("2026", "2020").replace("2025", "2020"))
        made.rename(earlier)
    before = store.state(second)
    (again,) = attempt_reader.attempts(path, second)
    shutil.copytree(again, again.with_name(f"retired-{again.name}"))
    assert store.state(second) == before
    (done,) = attempt_reader.attempts(path, third)
    for name in ("checkpoint-2.pt", "checkpoint-2.pt.sha256", "checkpoint-1.pt.sha256"):
        (done / name).write_bytes(b"left by a kill")
    _weights(store, third)
    store.save_study(group)  # as a rerun does
    for name in (".metrics.jsonl.0a1b2c3d.tmp", ".checkpoint-3.pt.tmp"):
        (done / name).write_bytes(b"torn")
    _dead_claim(store, third)
    folder = done.parent
    (folder / ".merging-20200101T000000.000000Z-abcdef").mkdir()
    for name in (".FORMAT.0a1b2c3d.tmp", "results.duckdb.new-0a1b2c3d"):
        (path / name).write_bytes(b"old")
        os.utime(path / name, (OLD, OLD))
    (path / "results.duckdb.corrupt-2026-11-20T101010.123Z").write_bytes(b"damaged" * 100)
    (path / "crash-1030.txt").write_text("Traceback")
    (path / ".removing").mkdir()
    shutil.copytree(done, path / ".removing" / "20200101T000000.000000Z-abcdef")


def _dead_claim(store: Store, key: str) -> None:
    """As a process leaves it that was killed: its pid is nobody's now."""
    held = claim(store.path, key, "group")
    assert held is not None
    lease = held.path / "lease.json"
    files.write_json(lease, (files.read_json(lease) or {}) | {"pid": 999999999})


def _stays(store: Store) -> frozenset[str]:
    """Hostile and foreign things: told, and left alone."""
    path = store.path
    outside = path.parent / "outside"
    (path / "trials" / ("ab" * 32)).symlink_to(outside)
    (path / "trials" / "not a key").mkdir()
    (path / "trials" / "not a key" / "notes.txt").write_text("mine")
    (path / "figures.pdf").write_bytes(b"mine")
    (path / "backup").symlink_to(outside)
    fresh = path / ".trial.json.deadbeef.tmp"  # somebody may be writing it
    fresh.write_bytes(b"{")
    return frozenset(
        {f"trials/{'ab' * 32}", "trials/not a key/notes.txt", "figures.pdf", "backup", fresh.name}
    ) | frozenset(str(p.relative_to(path)) for p in _latest_runs(path))


def _latest_runs(path: Path) -> Iterator[Path]:
    yield max((path / "studies" / "group").glob("*.json"))


def reports(store: Store, *, every: bool = False) -> dict[str, bytes]:
    """Every study's report, and all that other commands say of its trials. every: in every format,
    and for new images too."""
    from ablate.report.formats import BINARY, FORMATS, content
    from ablate.report.options import Asked
    from ablate.session.judged_tables import tables_of
    from ablate.session.lookup import from_store

    fresh = Store(store.path)
    found: dict[str, bytes] = {}
    for name in fresh.studies():
        resolved = from_store(name, fresh).resolved
        for asked in (None, Asked(new_images=True))[: 1 + every]:
            tables = tables_of(resolved, fresh, asked)
            for kind in (*FORMATS, *BINARY) if every else ("json",):
                made = content(kind, tables, epochs=fresh.epochs)
                found[f"{name} {kind} {asked}"] = made if isinstance(made, bytes) else made.encode()
        for key in resolved.order:
            state = fresh.state(key)
            told = [state.status, state.attempt, state.epoch, state.kept, state.message]
            weights = attempt_reader.weights(fresh.path, key) if name == "distilled" else None
            told += [fresh.label(key), fresh.epochs(key), fresh.finals(key), str(weights)]
            tries = attempt_reader.attempts(fresh.path, key)
            log = tries[-1] / "log.txt" if tries else None
            told += [log.read_text() if log and log.exists() else ""]
            again = state.status not in attempt_reader.FINAL
            told += [attempt_reader.resumable(fresh.path, key) if again else None]
            found[f"{name} {key}"] = repr(told).encode()
    return found


__all__ = ["MACHINE", "Littered", "files_of", "littered", "reports"]
