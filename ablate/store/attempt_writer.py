"""One try at a trial, as its process writes it; `attempt_reader` reads what there is of it.

A line is acknowledged when `record` returns: it is then with the operating system and survives the
death of the process. `sync` (called by every checkpoint and by `finish`) makes it survive the loss
of power. Every other file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from ablate.store import log_file
from ablate.store.attempt_reader import (
    FINAL,
    STATUSES,
    WEIGHTS,
    attempts,
    checkpoint_files,
    curves_in,
    sidecar,
    trial_path,
)
from ablate.store.journal import line_of
from ablate.store.lease import this_process
from ablate.util import beneath
from ablate.util.files import (
    create,
    is_temporary,
    open_plain,
    temporary_beside,
    time_of,
    unique_name,
    utc_now,
    write_json,
    write_text,
    write_whole,
    writing,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

_WIDE: Final = 100  # classes above which only the best scores of an image are kept
_KEPT_SCORES: Final = 5


class Attempt:
    """One try at a trial, written by one process. A context manager that closes, not finishes."""

    def __init__(self, path: Path, descriptor: int, continues: str | None) -> None:
        self.path = path
        self.name = path.name
        self.continues = continues
        self._descriptor: int | None = descriptor
        self._sequence = 0
        self._epochs = 0
        self._last: dict[str, Any] = {}
        self._finished = False
        self._weights = ""  # SHA-256 of weights.pt

    @classmethod
    def begin(cls, store_path: Path, key: str, *, continues: str | None = None) -> Attempt:
        """Make the directory and its first line; `continues` names the attempt resumed from."""
        trial = trial_path(store_path, key)
        with writing(trial):
            beneath.make_folder(trial, exist_ok=True)
            earlier = attempts(store_path, key)
            path = trial / unique_name(after=earlier[-1].name if earlier else "")
            beneath.make_folder(path)
            flags = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY
            descriptor = beneath.open_file(path / "metrics.jsonl", flags)
            beneath.sync(path)
            beneath.sync(trial)
        attempt = cls(path, descriptor, continues)
        attempt.record(
            "start",
            continues=continues,
            host=socket.gethostname(),
            pid=os.getpid(),
            process=this_process(),
        )
        return attempt

    def record(self, kind: str, **fields: Any) -> None:
        """Append one line: {"seq", "kind", "time", **fields}.

        Numbers that are not finite become null and are named, with dots, in "nonfinite". Raises
        AblateError on a full disk, after taking the incomplete line back.
        """
        if self._descriptor is None:
            raise ValueError(f"{self.path} is closed")
        nonfinite: list[str] = []
        plain = {name: _plain(value, name, nonfinite) for name, value in fields.items()}
        line = {"seq": self._sequence, "kind": kind, "time": utc_now(), **plain}
        if nonfinite:
            line["nonfinite"] = nonfinite
        with writing(self.path / "metrics.jsonl"):
            self._append(self._descriptor, line_of(line))
        self._sequence += 1
        if kind == "epoch":
            self._epochs = int(plain.get("epoch") or self._epochs + 1)
            self._last = {k: line[k] for k in ("metrics", "nonfinite") if k in line}

    @staticmethod
    def _append(descriptor: int, data: bytes) -> None:
        before = os.fstat(descriptor).st_size
        try:
            while data:  # one write, unless the disk fills up: the next one then says so
                data = data[os.write(descriptor, data) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, before)
            raise

    def sync(self) -> None:
        """Make every line so far survive the loss of power."""
        if self._descriptor is not None:
            with writing(self.path / "metrics.jsonl"):
                os.fsync(self._descriptor)

    def log(self, text: str) -> None:
        """Append to log.txt, each line with its time in UTC."""
        now = utc_now()
        lines = "".join(f"{now} {line}\n" for line in text.splitlines() or [""])
        with writing(self.path / "log.txt"), log_file.opened(self.path) as file:
            file.write(lines.encode("utf-8", "backslashreplace"))

    def save_checkpoint(self, epoch: int, write: Callable[[BinaryIO], object]) -> None:
        """Write checkpoint-<epoch>.pt through `write(file)`; the last and the one before stay."""
        self.sync()  # a checkpoint is never ahead of the metrics
        path = self.path / f"checkpoint-{epoch}.pt"
        temporary = temporary_beside(path)
        with writing(path):
            try:
                with create(temporary) as file:
                    write(file)
                    file.flush()
                    file.seek(0)
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    os.fsync(file.fileno())
                # Checksum first: a kill in between leaves a checksum without a file, which is
                # harmless; the other order would leave a checkpoint nobody can trust.
                write_whole(sidecar(path), lambda f: write_text(f, f"{digest}  {path.name}\n"))
                beneath.rename(temporary, path)
            finally:
                _remove(temporary)
            beneath.sync(self.path)
        for _, old in checkpoint_files(self.path)[:-2]:
            _remove_checkpoint(old)

    def save_predictions(self, ids: ArrayLike, labels: ArrayLike, scores: NDArray[Any]) -> None:
        """Write predictions.npz: ids [N], labels [N], scores float32 [N, K], classes.

        Above 100 classes scores are the five best, [N, 5] in descending order, with their classes
        in `indices` int32 [N, 5] and, for probabilities, log Σ exp of all in `logsumexp` float64
        [N]. `ablate.store.predictions` reads it.
        """
        import numpy as np

        from ablate.stats import log_sum_exp

        values: NDArray[np.float32] = np.asarray(scores, dtype=np.float32)
        if values.ndim != 2:
            raise ValueError(f"scores must be [images, classes], not {values.shape}")
        arrays: dict[str, NDArray[Any]] = {
            "ids": np.asarray(ids, dtype=np.int64),
            "labels": np.asarray(labels, dtype=np.int64),
            "classes": np.asarray(values.shape[1], dtype=np.int64),
        }
        if any(arrays[name].shape != values.shape[:1] for name in ("ids", "labels")):
            raise ValueError("ids, labels and scores must have one entry per image")
        if values.shape[1] > _WIDE:
            order = np.argsort(-values, axis=1, kind="stable")[:, :_KEPT_SCORES]
            arrays["indices"] = order.astype(np.int32)
            arrays["logsumexp"] = log_sum_exp(values)
            values = np.take_along_axis(values, order, axis=1)
        arrays["scores"] = values
        write_whole(self.path / "predictions.npz", lambda file: _save_arrays(file, arrays))

    def save_weights(self, write: Callable[[BinaryIO], None]) -> None:
        """Write weights.pt, with its SHA-256 beside it, for trials that learn from this one."""
        path = self.path / WEIGHTS
        with writing(path):
            write_whole(path, write)
            with open_plain(path) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            write_whole(sidecar(path), lambda f: write_text(f, f"{digest}  {path.name}\n"))
        self._weights = digest

    def save_environment(self, environment: Mapping[str, Any]) -> None:
        """Write environment.json: versions, machine, devices."""
        write_json(self.path / "environment.json", environment)

    def finish(self, status: str, message: str = "", **summary: Any) -> None:
        """Write done.json, the last file; checkpoints go when the status is final."""
        if status not in STATUSES:
            raise ValueError(f"{status!r} is not one of {', '.join(STATUSES)}")
        if self._finished:
            raise ValueError(f"{self.path} is already finished")
        self.sync()
        nonfinite: list[str] = []
        document = {
            "status": status,
            "message": message,
            "started": time_of(self.name),
            "finished": utc_now(),
            "continues": self.continues,
            "lines": self._sequence,
            "epochs": self._epochs,
            "final": self._last.get("metrics", {}),
            "nonfinite": self._last.get("nonfinite", []),
            "summary": _plain(summary, "summary", nonfinite),
        }
        if self._weights:
            document["weights"] = self._weights
        if status == "done":
            document["curves"] = self._curves()
        write_json(self.path / "done.json", document)
        self._finished = True
        self.close()
        if status in FINAL:
            for attempt in attempts(self.path.parents[2], self.path.parent.name):
                for _, checkpoint in checkpoint_files(attempt):
                    _remove_checkpoint(checkpoint)
                _remove_temporary(attempt)

    def _curves(self) -> dict[str, Any]:
        """For reports, so that none has to read every line: see `attempt_reader.curves`."""
        path = self.path / "metrics.jsonl"
        return {"bytes": beneath.about(path).st_size, **curves_in(path).document()}

    def close(self) -> None:
        """Close the spool; without `finish` before, the attempt counts as interrupted."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _remove_checkpoint(path: Path) -> None:
    _remove(path)
    _remove(sidecar(path))


def _remove_temporary(attempt: Path) -> None:
    """Of a process that was killed while it wrote a checkpoint."""
    with contextlib.suppress(OSError):
        for name, _ in beneath.entries(attempt):
            if name.startswith(".checkpoint-") and is_temporary(name):
                _remove(attempt / name)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # a leftover costs space, never a result
        beneath.remove(path)


def _save_arrays(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    import numpy as np

    np.savez(file, allow_pickle=False, **arrays)


def _plain(value: Any, name: str, nonfinite: list[str]) -> Any:
    """The value as JSON has it; NumPy and torch scalars become numbers."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v, f"{name}.{k}", nonfinite) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, f"{name}.{i}", nonfinite) for i, v in enumerate(value)]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        nonfinite.append(name)
        return None
    if hasattr(value, "tolist"):
        return _plain(value.tolist(), name, nonfinite)
    return str(value)
