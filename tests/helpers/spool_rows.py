"""What a store has, read without `ablate`'s own reading: lines of the spool, rows of the index."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

COUNT = """
    SELECT key, attempt, count(*), count(DISTINCT seq), sum(epoch), max(seq)
    FROM spool.epoch JOIN spool.attempt USING (run) GROUP BY ALL ORDER BY ALL
"""
VALUES = """
    SELECT key, attempt, count(*), count(DISTINCT (seq, metric)), sum(value)
    FROM spool.metric JOIN spool.attempt USING (run) GROUP BY ALL ORDER BY ALL
"""


def whole_lines(store: Path) -> dict[Path, bytes]:
    """metrics.jsonl of every attempt, up to its last newline."""
    found = {}
    for path in (store / "trials").glob("*/*/metrics.jsonl"):
        data = path.read_bytes()
        found[path] = data[: data.rfind(b"\n") + 1]
    return found


def spooled(store: Path) -> list[tuple[Any, ...]]:
    """What COUNT has to give, from the spool by the standard library alone."""
    found = []
    for path, data in whole_lines(store).items():
        epochs = [r for r in map(json.loads, data.splitlines()) if r["kind"] == "epoch"]
        if epochs:
            seq = [r["seq"] for r in epochs]
            total = sum(r["epoch"] for r in epochs)
            key, attempt = path.parts[-3:-1]
            found.append((key, attempt, len(seq), len(set(seq)), total, max(seq)))
    return sorted(found)


def spooled_values(store: Path) -> dict[tuple[str, str], tuple[int, float]]:
    """Numbers of every attempt, and their sum."""
    found = {}
    for path, data in whole_lines(store).items():
        epochs = [r for r in map(json.loads, data.splitlines()) if r["kind"] == "epoch"]
        values = [value for r in epochs for value in r["metrics"].values()]
        if values:
            found[path.parts[-3], path.parts[-2]] = len(values), sum(values)
    return found


def in_the_database(store: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of results.duckdb itself, which nobody brings up to date."""
    with duckdb.connect(str(store / "results.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


class Acknowledged:
    """Every line that was ever seen in the spool: it has to stay as it was."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self._seen: dict[Path, bytes] = {}

    def look(self) -> None:
        """Nothing that was seen before is gone or another."""
        now = whole_lines(self.store)
        for path, before in self._seen.items():
            assert now.get(path, b"").startswith(before), f"{path} lost lines"
        self._seen = now

    @property
    def rows(self) -> int:
        return sum(data.count(b"\n") for data in self._seen.values())

    def check_the_database(self) -> None:
        """After the next ingest it has each of them once."""
        from ablate.index.database import ingest

        self.look()
        ingest(self.store)
        assert in_the_database(self.store, COUNT) == spooled(self.store)

    def check_the_index(self) -> None:
        """The same, with every number, and again when the database is made anew."""
        from ablate.index.database import reindex

        self.check_the_database()
        counted = in_the_database(self.store, COUNT)
        values = {(k, a): v for k, a, *v in in_the_database(self.store, VALUES)}
        expected = spooled_values(self.store)
        assert values.keys() == expected.keys()
        for place, (number, total) in expected.items():
            assert values[place][:2] == [number, number], place
            np.testing.assert_allclose(values[place][2], total, rtol=1e-9)
        ((bad,),) = in_the_database(self.store, "SELECT count(*) FROM spool.set_aside")
        assert bad == 0
        assert not list(self.store.glob("*corrupt*"))
        reindex(self.store)
        assert in_the_database(self.store, COUNT) == counted


def attempts(store: Path, key: str) -> list[tuple[Path, str]]:
    """(attempt, its status or ""), oldest first."""
    found = []
    for path in sorted((store / "trials" / key).glob("2*")):
        done = path / "done.json"
        found.append((path, json.loads(done.read_bytes())["status"] if done.exists() else ""))
    return found


def outcome(store: Path, key: str) -> tuple[dict[str, Any], list[dict[str, Any]], np.ndarray]:
    """(final metrics, those of every epoch, scores of the test images) of a finished trial."""
    (path,) = [path for path, status in attempts(store, key) if status == "done"]
    lines = map(json.loads, (path / "metrics.jsonl").read_text().splitlines())
    epochs = [{"epoch": r["epoch"], **r["metrics"]} for r in lines if r["kind"] == "epoch"]
    with np.load(path / "predictions.npz") as predictions:
        return json.loads((path / "done.json").read_bytes())["final"], epochs, predictions["scores"]


def check_complete(store: Path, whole: Path) -> int:
    """Every trial was trained to its end once, as in the undisturbed store `whole`: how many."""
    keys = sorted(os.listdir(whole / "trials"))
    assert sorted(os.listdir(store / "trials")) == keys
    for key in keys:
        tries = [status for _, status in attempts(store, key)]
        assert tries.count("done") == 1, (key, tries)
        assert tries[-1] == "done", f"{key}: an attempt was begun after it was done: {tries}"
        final, epochs, scores = outcome(store, key)
        expected_final, expected_epochs, expected_scores = outcome(whole, key)
        assert (final, epochs) == (expected_final, expected_epochs), key
        np.testing.assert_array_equal(scores, expected_scores)
    return len(keys)
