"""From spool files to rows of the index: what is new since they were last read. No DuckDB here."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ablate.core.trial import Trial
from ablate.errors import AblateError
from ablate.index.schema import number_of
from ablate.store import attempt_reader
from ablate.store.journal import read_pieces
from ablate.store.predictions import DAMAGED, stored_arrays
from ablate.util import beneath
from ablate.util.files import moment, read_json, time_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Read(NamedTuple):
    """How much of a file the index has; epoch: the highest in it so far; sequence: the last."""

    bytes: int
    epoch: int = 0
    sequence: int = -1


Sources = dict[str, Read]  # by the path in the store
Row = tuple[Any, ...]
Saved = Callable[[str], tuple[dict[str, Any], str | None] | None]

MISSING: Final = -1  # bytes of a file that is not there: one that comes is noticed
_ROWS: Final = 50_000  # of one transaction, roughly
_PIECE: Final = 1 << 20  # bytes of metrics read at a time


class Stale(Exception):
    """A file that the index has read is gone or another one now: the index has to be remade."""


@dataclass(frozen=True)
class Predictions:
    """Those of one attempt: ids [N], labels [N], scores [N, K], and classes [N, K] or None."""

    run: int
    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    classes: NDArray[np.int32] | None


class Batch:
    """Rows to insert in one transaction, by table; `lines` counts complete lines of metrics."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Row]] = {}
        self.predictions: list[Predictions] = []
        self.lines = 0

    def add(self, table: str, *row: Any) -> None:
        """Add one row, in the order of the table's columns."""
        self.tables.setdefault(table, []).append(row)

    def take(self) -> Batch:
        """What was added so far; this one is empty again."""
        taken = Batch()
        taken.__dict__, self.__dict__ = self.__dict__, taken.__dict__
        return taken

    def __len__(self) -> int:
        return sum(map(len, self.tables.values())) + sum(len(p.ids) for p in self.predictions)


def collect(store_path: Path, known: Sources) -> Iterator[Batch]:
    """Batches of everything in the spool beyond `known`.

    Raises Stale if a known file vanished, shrank or was replaced.
    """
    left = set(known)
    batch = Batch()
    definitions = _saved_definitions(store_path)
    for key in _names(store_path / "trials"):
        try:
            attempts = attempt_reader.attempts(store_path, key)
        except AblateError:  # not a trial's directory
            continue
        left.discard(_trial(batch, store_path, key, known, definitions))
        for attempt in attempts:
            files = _Files.of(key, attempt)
            left -= {*files}
            for _ in _attempt(batch, key, attempt, files, known):
                if len(batch) >= _ROWS:
                    yield batch.take()
    if left:
        raise Stale(min(left))
    if len(batch):
        yield batch


class _Files(NamedTuple):
    """An attempt's files, by their paths in the store."""

    metrics: str
    environment: str
    done: str
    predictions: str

    @classmethod
    def of(cls, key: str, attempt: Path) -> _Files:
        prefix = f"trials/{key}/{attempt.name}"
        names = ("metrics.jsonl", "environment.json", "done.json", "predictions.npz")
        return cls(*(f"{prefix}/{name}" for name in names))


def _names(directory: Path) -> list[str]:
    try:
        return [name for name, _ in beneath.entries(directory) if not name.startswith(".")]
    except OSError:
        return []


def _size(path: Path) -> int:
    """Bytes of a plain file; what is none, as a link, is not there."""
    try:
        about = beneath.about(path)
    except OSError:
        return MISSING
    return about.st_size if stat.S_ISREG(about.st_mode) else MISSING


def _fresh(path: Path, name: str, known: Sources) -> bool:
    """Whether a file that is written whole has to be read; Stale if it is not the one read."""
    size = _size(path)
    if name in known and size != known[name].bytes:
        raise Stale(name)
    return size >= 0 and name not in known


def _trial(batch: Batch, store_path: Path, key: str, known: Sources, saved: Saved) -> str:
    """Add a trial's definition; where it cannot be read, as a saved run has it, so that a query
    counts what a report counts. A file that is not there has MISSING bytes.
    """
    name = f"trials/{key}/trial.json"
    path = store_path / name
    size = _size(path)
    if name in known:
        if size != known[name].bytes:
            raise Stale(name)
        return name
    document = (read_json(path) if size >= 0 else None) or {}
    trial, label = document.get("trial"), document.get("label")
    if not (isinstance(trial, dict) and _is_of(key, trial)):
        trial, label = saved(key) or (None, None)
    if isinstance(trial, dict) and _is_of(key, trial):
        batch.add("trial", key, *_defined(trial, _text(label)), _compact(trial))
        batch.add("source", name, size, None, None)
    return name


def _saved_definitions(store_path: Path) -> Saved:
    """(definition, label) of a key as a saved run has it: read, and imported, if ever asked for."""
    made: list[Saved] = []

    def of(key: str) -> tuple[dict[str, Any], str | None] | None:
        if not made:
            from ablate.store.invocations import Definitions

            made.append(Definitions(store_path).of)
        return made[0](key)

    return of


def _is_of(key: str, trial: dict[str, Any]) -> bool:
    """Whether a definition is the one that the key is the hash of."""
    try:
        return Trial.model_validate_json(json.dumps(trial)).key == key
    except (ValueError, RecursionError):
        return False


def _defined(trial: dict[str, Any], label: str | None) -> Row:
    recipe, dataset = _dict(trial, "recipe"), _dict(trial, "dataset")
    tricks = trial.get("tricks")
    listed = tricks if isinstance(tricks, list) else []
    labels = [trick.get("label") for trick in listed if isinstance(trick, dict)]
    return (
        _text(dataset.get("name")),
        _text(dataset.get("variant")),
        _whole(dataset.get("limit")),
        _text(recipe.get("model")),
        _whole(trial.get("seed")),
        sorted(label for label in map(_text, labels) if label is not None),
        label,
        _whole(recipe.get("batch_size")),
        _number(recipe.get("lr")),
        _whole(recipe.get("image_size")),
        _whole(recipe.get("epochs")),
        _text(_dict(trial, "numerics").get("profile")),
        _text(trial.get("teacher")),
    )


def _attempt(
    batch: Batch, key: str, attempt: Path, files: _Files, known: Sources
) -> Iterator[None]:
    """Add an attempt's news; pauses where the batch may be inserted as it is."""
    run = number_of(key, attempt.name)
    size, before = _size(attempt / "metrics.jsonl"), known.get(files.metrics, Read(0))
    if files.metrics in known and size < before.bytes:
        raise Stale(files.metrics)
    begun = before.bytes > 0
    if size > before.bytes:
        highest = before.epoch
        pieces = read_pieces(attempt / "metrics.jsonl", before.bytes, _PIECE, before.sequence)
        for lines in pieces:
            host = continues = None
            for record in lines.records:
                if record.get("kind") == "start":
                    host, continues = _text(record.get("host")), _text(record.get("continues"))
                elif record.get("kind") == "epoch":
                    highest = _epoch(batch, run, record, highest)
            for byte, raw in lines.invalid:
                batch.add("set_aside", files.metrics, byte, raw.decode("utf-8", "replace"))
            batch.lines += len(lines.records) + len(lines.invalid)
            batch.add("source", files.metrics, lines.offset, highest, lines.sequence)
            if not begun:
                _begin(batch, run, key, attempt, host, continues)
                begun = True
            yield
    if _fresh(attempt / "environment.json", files.environment, known):
        _environment(batch, run, read_json(attempt / "environment.json") or {})
        batch.add("source", files.environment, _size(attempt / "environment.json"), None, None)
    ended = files.done in known
    if _fresh(attempt / "done.json", files.done, known):
        end = attempt_reader.ending(attempt)
        if end is not None:
            ended = True
            if not begun:
                _begin(batch, run, key, attempt, None, None)
            _ending(batch, run, end)
            batch.add("source", files.done, _size(attempt / "done.json"), None, None)
    if ended and _fresh(attempt / "predictions.npz", files.predictions, known):
        _predictions(batch, run, attempt, files.predictions)
        batch.add("source", files.predictions, _size(attempt / "predictions.npz"), None, None)
    yield


def _begin(
    batch: Batch, run: int, key: str, attempt: Path, host: str | None, continues: str | None
) -> None:
    batch.add("attempt", run, key, attempt.name, time_of(attempt.name)[:-1], host, continues)


def _epoch(batch: Batch, run: int, record: dict[str, Any], highest: int) -> int:
    """Add an epoch; the highest number so far, with which one that comes again is noticed."""
    sequence, epoch = _whole(record.get("seq")), _whole(record.get("epoch"))
    times = (_number(record.get(name)) for name in ("seconds", "processor_seconds"))
    counts = (_whole(record.get(name)) for name in ("steps", "images"))
    batch.add("epoch", run, sequence, epoch, *times, *counts)
    for metric, value in _metrics(record.get("metrics")):
        batch.add("metric", run, sequence, epoch, metric, value)
    if epoch is None or epoch > highest:
        return highest if epoch is None else epoch
    batch.add("rewritten", run, epoch, sequence)
    return highest


def _environment(batch: Batch, run: int, found: dict[str, Any]) -> None:
    words = ("device", "device_name", "ablate", "torch", "python", "cuda")
    facts = (found.get("shared_device"), found.get("profiled"))
    batch.add(
        "environment",
        run,
        *(_text(found.get(word)) for word in words),
        *(fact if isinstance(fact, bool) else None for fact in facts),
    )


def _ending(batch: Batch, run: int, end: dict[str, Any]) -> None:
    message, finished = _text(end.get("message")), _moment(end.get("finished"))
    summary = _dict(end, "summary")
    batch.add(
        "ending",
        *(run, end["status"], message, finished, _whole(end.get("epochs"))),
        _whole(summary.get("examples")),
        *(_whole(summary.get(name), 2**62) for name in ("parameters", "macs")),
        _text(summary.get("precision")),
    )
    for metric, value in _metrics(end.get("final")):
        batch.add("final", run, metric, value)


# What somebody wrote into a file by hand must not stop the index: it becomes NULL.


def _dict(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _compact(document: dict[str, Any]) -> str | None:
    """JSON in one line, of ASCII alone."""
    try:
        return json.dumps(document, separators=(",", ":"))
    except (ValueError, RecursionError):
        return None


def _whole(value: Any, limit: int = 2**31) -> int | None:
    return value if isinstance(value, int) and abs(value) < limit else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else None


def _moment(value: Any) -> str | None:
    found = moment(value)
    return found.replace(tzinfo=None).isoformat() if found else None


def _metrics(metrics: Any) -> Iterator[tuple[str, float | None]]:
    if isinstance(metrics, dict):
        for metric, value in metrics.items():
            if value is None or isinstance(value, int | float):
                yield str(_text(metric)), _number(value)


def _predictions(batch: Batch, run: int, attempt: Path, name: str) -> None:
    import numpy as np

    try:
        stored = stored_arrays(attempt / "predictions.npz")
        ids, labels, scores = (stored[one] for one in ("ids", "labels", "scores"))
        classes = stored.get("indices")
        alike = ids.ndim == 1 and ids.shape == labels.shape == scores.shape[:1]
        if not alike or scores.ndim != 2 or (classes is not None and classes.shape != scores.shape):
            raise ValueError(f"{len(ids)} ids, {len(labels)} labels, scores {scores.shape}")
        found = Predictions(
            run=run,
            ids=ids.astype(np.int64, casting="safe"),
            labels=labels.astype(np.int64, casting="safe"),
            scores=scores.astype(np.float32, casting="same_kind"),
            classes=None if classes is None else classes.astype(np.int32, casting="same_kind"),
        )
    except DAMAGED as error:
        batch.add("set_aside", name, 0, str(error))
        return
    batch.predictions.append(found)
