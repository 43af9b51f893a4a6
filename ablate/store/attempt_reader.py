"""The spool: what a trial writes, line by line and file by file. It is the truth; DuckDB an index.

    trials/<key>/<attempt>/metrics.jsonl        one JSON object a line, appended by one `write`
                           checkpoint-<n>.pt    the last two, each with its SHA-256 beside it
                           predictions.npz, environment.json, log.txt
                           done.json            written last: status, summary, and what the
                                                epochs of a finished training come to

`attempt_writer` writes it. Here it is read, and what a dead process left is concluded or set aside.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ablate.errors import AblateError
from ablate.store import log_file
from ablate.store.curves import Curves
from ablate.store.journal import is_number, read_epochs, read_lines, seconds_of
from ablate.util import beneath
from ablate.util.files import (
    is_unique_name,
    open_plain,
    read_at_most,
    read_json,
    time_of,
    unique_name,
    utc_now,
    write_json,
    writing,
)

STATUSES: Final = ("done", "failed", "diverged", "no_effect", "interrupted", "oom")
FINAL: Final = frozenset({"done", "diverged", "no_effect"})  # not trained again unless asked

WEIGHTS: Final = "weights.pt"
_COUNTED: Final = ("examples", "parameters", "macs")  # of a summary
_SUM: Final = 1 << 10  # bytes of a checksum's file
_CHECKPOINT: Final = re.compile(r"checkpoint-(\d{1,9})\.pt")
_KEY: Final = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_-]{0,127}")  # no dots: never leaves trials/


def trial_path(store_path: Path, key: str) -> Path:
    """The directory of a trial. Raises AblateError for what cannot be a key."""
    if not can_be_key(key):
        raise AblateError(f"{key!r} is not the key of a trial")
    return store_path / "trials" / key


def can_be_key(name: str) -> bool:
    """Whether a folder of this name may be a trial's."""
    return _KEY.fullmatch(name) is not None


def attempts(store_path: Path, key: str) -> list[Path]:
    """The attempts at a trial, oldest first."""
    try:
        found = beneath.entries(trial := trial_path(store_path, key))
    except OSError:  # nothing stored, or not readable: nothing to see
        return []
    return [trial / name for name, kind in found if kind == "folder" and is_unique_name(name)]


def ending(attempt: Path) -> dict[str, Any] | None:
    """What `finish` wrote, or None while an attempt runs, after a kill, or if it is damaged."""
    document = read_json(attempt / "done.json")
    return document if document is not None and is_ending(document) else None


def is_ending(document: Mapping[str, Any]) -> bool:
    """Whether a document is one that `finish` could have written; older releases left things out.

    Readers count on these types: what has others is damaged as a whole, and is trained again.
    """
    status, summary = document.get("status"), document.get("summary", {})
    texts = (document.get(name) for name in ("message", "started", "finished", "continues"))
    counts = (document.get(name) for name in ("lines", "epochs"))
    return (
        isinstance(status, str)
        and status in STATUSES
        and all(text is None or isinstance(text, str) for text in texts)
        and all(n is None or (type(n) is int and 0 <= n < 2**31) for n in counts)
        and _are_numbers(document.get("final", {}))
        and isinstance(summary, dict)
        and all(
            n is None or (type(n) is int and 0 <= n < 2**62) for n in map(summary.get, _COUNTED)
        )
        and isinstance(summary.get("precision", ""), str)
    )


def _are_numbers(values: Any) -> bool:
    """Whether it is a mapping to numbers, null where one was not finite."""
    return isinstance(values, dict) and all(v is None or is_number(v) for v in values.values())


def curves(attempt: Path, end: Mapping[str, Any]) -> Curves:
    """What the epochs of an attempt come to; `end` is its ending.

    From the ending, or from the lines themselves: where the ending has none (older releases wrote
    none), or where it is about a file of another length.
    """
    path, stored = attempt / "metrics.jsonl", end.get("curves")
    found = Curves.read(stored)
    if found is not None and isinstance(stored, dict):
        with contextlib.suppress(OSError):
            if beneath.about(path).st_size == stored.get("bytes"):
                return found
    return curves_in(path)


def curves_in(path: Path) -> Curves:
    """What the epochs of a metrics file come to, from its lines."""
    epochs = read_epochs(path)
    processor = [seconds_of(epoch, "processor_seconds") for epoch in epochs]
    return Curves.of(epochs, [seconds_of(epoch) for epoch in epochs], processor)


def checkpoint_files(attempt: Path) -> list[tuple[int, Path]]:
    """(epoch, file) of an attempt's checkpoints, oldest first, unverified."""
    try:
        matches = [(_CHECKPOINT.fullmatch(name), name) for name, _ in beneath.entries(attempt)]
    except OSError:  # removed meanwhile
        return []
    return sorted((int(match[1]), attempt / name) for match, name in matches if match)


def resumable(store_path: Path, key: str) -> list[tuple[int, Path]]:
    """(epoch, checkpoint) that a trial could go on from, newest epoch first, unverified."""
    found: list[tuple[int, Path]] = []
    for attempt in attempts(store_path, key):
        end = ending(attempt)
        if end is None or end["status"] not in FINAL:
            found += checkpoint_files(attempt)
    return sorted(found, key=lambda item: (item[0], str(item[1])), reverse=True)


def checkpoints(
    store_path: Path, key: str, warn: Callable[[str], None] | None = None
) -> Iterator[tuple[str, int, Path]]:
    """(attempt, epoch, file) of every sound checkpoint, newest epoch first.

    Those whose SHA-256 differs (truncated, flipped bits) are skipped and told to `warn`; when none
    is left the trial starts at epoch 0.
    """
    for epoch, path in resumable(store_path, key):
        if is_sound(path):
            yield path.parent.name, epoch, path
        elif warn is not None:
            warn(f"{path} is damaged and is not used")


def weights(store_path: Path, key: str) -> Path | None:
    """The sound weights of a finished trial, if they were kept."""
    for attempt in attempts(store_path, key):
        end, path = ending(attempt), attempt / WEIGHTS
        if end is not None and end["status"] == "done" and is_sound(path, end.get("weights")):
            return path
    return None


def has_weights(store_path: Path, key: str) -> bool:
    """Whether weights of a trial were kept, sound or not."""
    return any(beneath.kind(attempt / WEIGHTS) for attempt in attempts(store_path, key))


def is_sound(path: Path, expected: object = None) -> bool:
    """Whether a file is what its checksum says, and that the expected one where it is known."""
    try:
        with open_plain(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with open_plain(sidecar(path)) as file:
            told = read_at_most(file, _SUM).decode("ascii").split()[0]
        return digest == told == (expected or digest)
    except (OSError, ValueError, IndexError):
        return False


def sidecar(checkpoint: Path) -> Path:
    """Where a checkpoint's checksum is."""
    return checkpoint.with_name(checkpoint.name + ".sha256")


def is_sidecar(name: str) -> bool:
    """Whether a file of this name is the checksum of a checkpoint or of weights."""
    covered = name.removesuffix(".sha256")
    return covered != name and (covered == WEIGHTS or _CHECKPOINT.fullmatch(covered) is not None)


def conclude(
    store_path: Path, key: str, status: str, message: str, name: str | None = None
) -> tuple[str, str]:
    """End the latest attempt at a trial for a process that died without saying how it ended.

    Also in its log. name: of the attempt; one that is gone (a trick has removed it) is made again,
    and "" makes one where none has begun, so that the ending has a place; None: only the latest.
    Returns (status, message) of the attempt: an ending that is there already stays.
    """
    tries = attempts(store_path, key)
    open_ = bool(tries) and ending(tries[-1]) is None
    if name is None and not tries:
        return status, message
    if (name and (not tries or tries[-1].name != name)) or (name == "" and not open_):
        name = name or unique_name(after=tries[-1].name if tries else "")
        tries.append(trial_path(store_path, key) / name)
        with writing(tries[-1]):
            beneath.make_folder(tries[-1].parent, exist_ok=True)
            beneath.make_folder(tries[-1], exist_ok=True)
    if (found := ending(tries[-1])) is not None:
        return found["status"], str(found.get("message", ""))
    log_file.add(tries[-1], f"{status}: {message}")
    try:
        records = read_lines(tries[-1] / "metrics.jsonl").records
    except FileNotFoundError:  # it died before the first line
        records = []
    epochs = [record for record in records if record.get("kind") == "epoch"]
    document = {
        "status": status,
        "message": message,
        "started": time_of(tries[-1].name),
        "finished": utc_now(),
        "continues": records[0].get("continues") if records else None,
        "lines": len(records),
        "epochs": epochs[-1].get("epoch", 0) if epochs else 0,
        "final": epochs[-1].get("metrics", {}) if epochs else {},
        "nonfinite": epochs[-1].get("nonfinite", []) if epochs else [],
        "summary": {},
    }
    write_json(tries[-1] / "done.json", document)
    return status, message


def retire(store_path: Path, key: str) -> None:
    """Set the attempts at a trial aside, so that it is trained anew; nothing is deleted."""
    for attempt in attempts(store_path, key):
        with writing(attempt):
            beneath.rename(attempt, attempt.with_name(f"retired-{attempt.name}"))
