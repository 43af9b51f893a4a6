"""From spool files to rows of the index: what is new since they were last read. No DuckDB here."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ablate import spool
from ablate.errors import AblateError
from ablate.files import read_json, time_of
from ablate.spool_lines import read_lines

Sources = dict[str, int]  # path in the store → bytes of it that the index has
Row = tuple[Any, ...]

_ROWS: Final = 50_000  # of one transaction, roughly


class Stale(Exception):
    """A file that the index has read is gone or another one now: the index has to be remade."""


class Batch:
    """Rows to insert in one transaction, by table; `lines` counts complete lines of metrics."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Row]] = {}
        self.lines = 0

    def add(self, table: str, *row: Any) -> None:
        """Add one row, in the order of the table's columns."""
        self.tables.setdefault(table, []).append(row)

    def __len__(self) -> int:
        return sum(map(len, self.tables.values()))


def collect(store_path: Path, known: Sources) -> Iterator[Batch]:
    """Batches of everything in the spool beyond `known`.

    Raises Stale if a known file vanished, shrank or was replaced.
    """
    left = set(known)
    batch = Batch()
    for key in _names(store_path / "trials"):
        try:
            attempts = spool.attempts(store_path, key)
        except AblateError:  # not a trial's directory
            continue
        left.discard(_trial(batch, store_path, key, known))
        for attempt in attempts:
            left -= _attempt(batch, store_path, key, attempt, known)
        if len(batch) >= _ROWS:
            yield batch
            batch = Batch()
    if left:
        raise Stale(min(left))
    if len(batch):
        yield batch


def _names(directory: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _fresh(path: Path, name: str, known: Sources) -> bool:
    """Whether a file that is written whole has to be read; Stale if it is not the one read."""
    size = _size(path)
    if name in known and size != known[name]:
        raise Stale(name)
    return size >= 0 and name not in known


def _trial(batch: Batch, store_path: Path, key: str, known: Sources) -> str:
    name = f"trials/{key}/trial.json"
    path = store_path / name
    if _fresh(path, name, known):
        text = path.read_text("utf-8", "replace")
        document = read_json(path) or {}
        trial = document.get("trial")
        if isinstance(trial, dict):
            recipe, dataset = _dict(trial, "recipe"), _dict(trial, "dataset")
            tricks = trial.get("tricks")
            labels = [t.get("label") for t in tricks or () if isinstance(t, dict)]
            batch.add(
                "trial",
                key,
                _text(dataset.get("name")),
                _text(recipe.get("model")),
                _whole(trial.get("seed")),
                sorted(label for label in map(_text, labels) if label is not None),
                _text(document.get("label")),
                text,
            )
            batch.add("source", name, _size(path))
    return name


def _attempt(batch: Batch, store_path: Path, key: str, attempt: Path, known: Sources) -> set[str]:
    """Add an attempt's news; the names of its files."""
    prefix = f"trials/{key}/{attempt.name}"
    metrics, done, predictions = (
        f"{prefix}/{file}" for file in ("metrics.jsonl", "done.json", "predictions.npz")
    )
    host = continues = None
    before = known.get(metrics, 0)
    size = _size(attempt / "metrics.jsonl")
    if metrics in known and size < before:
        raise Stale(metrics)
    offset = before
    if size > before:
        read = read_lines(attempt / "metrics.jsonl", before)
        offset = read.offset
        for record in read.records:
            if record.get("kind") == "start":
                host, continues = _text(record.get("host")), _text(record.get("continues"))
            elif record.get("kind") == "epoch":
                _epoch(batch, key, attempt.name, record)
        for byte, raw in read.invalid:
            batch.add("set_aside", metrics, byte, raw.decode("utf-8", "replace"))
        if offset > before:
            batch.lines += len(read.records) + len(read.invalid)
            batch.add("source", metrics, offset)
    news = offset > 0 and before == 0
    ended = done in known
    if _fresh(attempt / "done.json", done, known):
        end = spool.ending(attempt)
        if end is not None:
            ended = True
            news = news or metrics not in known
            _ending(batch, key, attempt.name, end)
            batch.add("source", done, _size(attempt / "done.json"))
    if news:
        batch.add("attempt", key, attempt.name, time_of(attempt.name)[:-1], host, continues)
    if ended and _fresh(attempt / "predictions.npz", predictions, known):
        _predictions(batch, key, attempt.name, attempt / "predictions.npz", predictions)
        batch.add("source", predictions, _size(attempt / "predictions.npz"))
    return {metrics, done, predictions}


def _epoch(batch: Batch, key: str, attempt: str, record: dict[str, Any]) -> None:
    sequence, epoch = _whole(record.get("seq")), _whole(record.get("epoch"))
    seconds, steps = _number(record.get("seconds")), _whole(record.get("steps"))
    batch.add("epoch", key, attempt, sequence, epoch, seconds, steps)
    for metric, value in _metrics(record.get("metrics")):
        batch.add("metric", key, attempt, sequence, epoch, metric, value)


def _ending(batch: Batch, key: str, attempt: str, end: dict[str, Any]) -> None:
    message, finished = _text(end.get("message")), _moment(end.get("finished"))
    batch.add("ending", key, attempt, end["status"], message, finished, _whole(end.get("epochs")))
    for metric, value in _metrics(end.get("final")):
        batch.add("final", key, attempt, metric, value)


# What somebody wrote into a file by hand must not stop the index: it becomes NULL.


def _dict(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and abs(value) < 2**31 else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else None


def _moment(value: Any) -> str | None:
    try:
        return datetime.fromisoformat(value).astimezone(UTC).replace(tzinfo=None).isoformat()
    except (TypeError, ValueError, OverflowError):
        return None


def _metrics(metrics: Any) -> Iterator[tuple[str, float | None]]:
    if isinstance(metrics, dict):
        for metric, value in metrics.items():
            if value is None or isinstance(value, int | float):
                yield str(_text(metric)), _number(value)


def _predictions(batch: Batch, key: str, attempt: str, path: Path, name: str) -> None:
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            ids, labels = stored["ids"].tolist(), stored["labels"].tolist()
            scores = stored["scores"].tolist()
            classes = stored["indices"].tolist() if "indices" in stored else [None] * len(ids)
        rows = list(zip(ids, labels, scores, classes, strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        batch.add("set_aside", name, 0, str(error))
        return
    for image, label, values, kept in rows:
        batch.add("prediction", key, attempt, image, label, values, kept)
