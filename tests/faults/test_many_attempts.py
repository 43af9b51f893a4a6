"""Thousands of attempts at one trial, as a job that is restarted every minute leaves them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ablate.cli.commands.doctor.store import store_findings
from ablate.cli.options import Options
from ablate.index import database
from ablate.store.collect import survey
from ablate.store.journal import line_of
from ablate.store.lease import claim
from ablate.store.store import Store
from tests.helpers.fault_table import Proved
from tests.helpers.small_stores import make_study, new_store

_opened: list[str] | None = None


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event == "open" and isinstance(arguments[0], str | os.PathLike):
        path, flags = os.fspath(arguments[0]), arguments[2]
        if isinstance(flags, int) and flags & os.O_DIRECTORY:
            return  # a folder on the way, which costs a microsecond
        if not path.startswith(("/proc/", "/sys/")):
            _opened.append(os.path.basename(path))


@contextmanager
def _counted() -> Iterator[list[str]]:
    """Names of the files that the interpreter opens within."""
    global _opened  # noqa: PLW0603 - a hook stays for good
    _opened = found = []
    try:
        yield found
    finally:
        _opened = None


def _attempts(store: Store, key: str, number: int) -> None:
    """Half of them interrupted, half failed."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    start = line_of({"kind": "start", "seq": 0, "host": "h", "pid": 1})
    metrics = {"top1": 0.5, "loss": 1.0}
    epoch = line_of({"kind": "epoch", "seq": 1, "epoch": 1, "metrics": metrics, "seconds": 1.0})
    end = {"status": "failed", "message": "killed", "lines": 2, "epochs": 1, "final": metrics}
    for place in range(number):
        time = (began + timedelta(seconds=place)).strftime("%Y%m%dT%H%M%S.%fZ")
        attempt = store.path / "trials" / key / f"{time}-{place:06x}"
        attempt.mkdir(parents=True)
        (attempt / "metrics.jsonl").write_bytes(start + epoch)
        if place % 2:
            (attempt / "done.json").write_text(json.dumps(end))


def test_what_is_read_of_each_of_many_attempts_is_read_once(
    tmp_path: Path, long: bool, proved: Proved
) -> None:
    number = 20_000 if long else 2_000
    made = new_store(tmp_path / "store")
    study = make_study(made, {"baseline": [0.5, None]})
    key = next(key for key in study.order if made.state(key).status == "new")
    _attempts(made, key, number)
    database.ingest(made.path)
    sys.addaudithook(_audit)
    looks: dict[str, Callable[[Store], object]] = {
        "doctor": lambda store: list(store_findings(Options(store=store.path))),
        "gc": survey,
        "report and status": lambda store: (store.states(study.order), store.result(key)),
        "doctor --deep": lambda store: list(store_findings(Options(store=store.path), deep=True)),
    }
    for name, look in looks.items():
        with _counted() as opened:
            look(Store.open(made.path, create=False))
        ends = opened.count("done.json")
        assert number / 2 <= ends <= number / 2 + 20, (name, "an ending is read once")
        # Its last attempt's lines say how far it came; the others' nobody asks for.
        assert opened.count("metrics.jsonl") <= 20, name
        assert len(opened) < number / 2 + 200, name
    held = claim(made.path, key, "group")
    assert held is not None
    with held, _counted() as opened:
        assert claim(made.path, key, "another") is None
        assert len(opened) < 20, "who waits for another's trial asks every second"
    how = f"{number:,} interrupted and failed ones; doctor, gc, report, status, a second run"
    proved("store", "thousands of attempts at one trial", how, number, "each file is read once")
