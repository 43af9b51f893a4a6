"""Reading a store that somebody else made: nothing in it is trusted.

Only plain files in plain folders are read, never through a link, a pipe or a device, and none that
is larger than such a file can be. What a trial is, is told by its definition's own hash; an attempt
is whole if its ending and its lines say the same.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydantic import ValidationError

from ablate.core.resolved_study import STUDY_FORMAT, ResolvedStudy
from ablate.core.trial import Trial
from ablate.store import attempt_reader, ledger
from ablate.store.format_version import FORMAT
from ablate.store.journal import finite_or_nan, read_pieces
from ablate.store.lease import Lease, holder
from ablate.store.predictions import DAMAGED, check_headers
from ablate.util import beneath, files

_KEY: Final = re.compile(r"[0-9a-f]{64}")
_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_DOCUMENT: Final = 64 << 20  # bytes of the largest JSON document
_LINES: Final = 1 << 30  # bytes of the longest metrics.jsonl
_LEASE: Final = 1 << 16  # bytes
_ARRAYS: Final = 10  # of a predictions.npz; there are six
_LABEL: Final = 300  # characters


class Unfit(Exception):
    """Something in the other store cannot be taken over; the message says why."""


@dataclass(frozen=True)
class ForeignAttempt:
    """An attempt as the other store has it.

    files: (name, bytes) of what is in it. end: its ending, None where it never ended. final:
    metrics of a finished one's last epoch.
    """

    path: Path
    files: tuple[tuple[str, int], ...]
    end: dict[str, Any] | None

    @property
    def name(self) -> str:
        """UTC time and a random suffix."""
        return self.path.name

    @property
    def status(self) -> str:
        """Its ending's; "interrupted" without one."""
        return str(self.end["status"]) if self.end else "interrupted"

    @property
    def final(self) -> dict[str, float]:
        """Metrics of the last epoch."""
        return finite_or_nan((self.end or {}).get("final"))

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(size for _, size in self.files)


def keys(store: Path) -> list[str]:
    """Names of the trials' folders, sorted; not all of them need be keys."""
    return [name for name, entry in _folders(store / "trials") if not name.startswith(".")]


def is_key(name: str) -> bool:
    """Whether a trial's folder could have this name."""
    return _KEY.fullmatch(name) is not None


def definition(store: Path, key: str) -> tuple[Trial, str]:
    """(trial, label) of a key. Raises Unfit where the definition is not the key's."""
    if not is_key(key):
        raise Unfit("its name is no key")
    document = _json(store / "trials" / key / "trial.json")
    _refuse_newer(document, FORMAT)
    try:
        trial = Trial.model_validate_json(json.dumps((document or {})["trial"]))
    except (KeyError, ValidationError, ValueError, RecursionError):
        raise Unfit("its definition cannot be read") from None
    if trial.key != key or (document or {}).get("key") != key:
        raise Unfit("its definition is another trial's")
    label = str((document or {}).get("label") or "")
    return trial, label if 0 < len(label) <= _LABEL else key[:6]


def live_holder(store: Path, key: str) -> Lease | None:
    """Who trains a trial there now."""
    place = store / "trials" / key / "claim" / "lease.json"
    if beneath.kind(place) != "file" or beneath.about(place).st_size > _LEASE:
        return None
    return holder(store, key)


def attempts(store: Path, key: str) -> list[Path]:
    """The attempts at a trial, oldest first."""
    folder = store / "trials" / key
    return [folder / name for name, _ in _folders(folder) if files.is_unique_name(name)]


def attempt(path: Path) -> ForeignAttempt:
    """One attempt. Raises Unfit where it is not whole."""
    found = []
    for name, kind in _entries(path):
        if kind != "file":
            raise Unfit(f"{name} in it is no plain file")
        if name.startswith(".") or not _FILE.fullmatch(name):
            continue  # a temporary file of a process that was killed
        found.append((name, beneath.about(path / name).st_size))
    names = {name for name, _ in found}
    end = _json(path / "done.json") if "done.json" in names else None
    if "done.json" in names and (end is None or not attempt_reader.is_ending(end)):
        raise Unfit("its done.json cannot be read")
    if "metrics.jsonl" not in names:
        if end is None or end["status"] == "done":
            raise Unfit("it has no metrics.jsonl")
        return ForeignAttempt(path, tuple(sorted(found)), end)  # its process died first
    if dict(found)["metrics.jsonl"] > _LINES:
        raise Unfit("its metrics.jsonl is too large to be one")
    with plain(path / "metrics.jsonl"):
        pass
    if end is not None and end["status"] == "done":
        check_lines(path / "metrics.jsonl", end)
        if "predictions.npz" in names:
            check_arrays(path / "predictions.npz")
    return ForeignAttempt(path, tuple(sorted(found)), end)


def check_lines(path: Path, end: dict[str, Any]) -> None:
    """Raises Unfit where a finished training's lines are not as many, or end otherwise, than its
    ending says."""
    count, invalid, last = 0, 0, None
    for lines in read_pieces(path, 0, 1 << 20):
        count += len(lines.records)
        invalid += len(lines.invalid)
        for record in lines.records:
            last = record if record.get("kind") == "epoch" else last
    if invalid or count != end.get("lines"):
        raise Unfit(f"its metrics.jsonl has {count:,} whole lines of {end.get('lines')}")
    if last is not None and last.get("metrics") != end.get("final"):
        raise Unfit("its last epoch and its done.json say different numbers")


def check_arrays(path: Path) -> None:
    """Raises Unfit for a predictions.npz whose checksums are wrong, or that has no arrays of that
    kind: fewer, of other sizes than their headers say, or too many."""
    with plain(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                stored = all(m.compress_type == zipfile.ZIP_STORED for m in members)
                stored &= len(members) <= _ARRAYS
                stored &= {"ids.npy", "labels.npy", "scores.npy"} <= {m.filename for m in members}
                damaged = archive.testzip() if stored else None
            if stored and damaged is None:
                check_headers(file)
        except DAMAGED:
            raise Unfit("its predictions.npz is damaged") from None
    if not stored or damaged is not None:
        raise Unfit("its predictions.npz is damaged")


def studies(store: Path) -> Iterator[tuple[str, Path]]:
    """(name, file) of every saved invocation, by name and then oldest first."""
    root = store / "studies"
    folders = [root]
    while folders:
        folder = folders.pop()
        if folder != root:
            name = folder.relative_to(root).as_posix()
            for file, kind in _entries(folder):
                stem = file.removesuffix(".json")
                saved = file != stem and files.is_unique_name(stem)
                if saved and kind == "file":
                    yield name, folder / file
        folders += [folder / inner for inner, _ in reversed(_folders(folder))]


def study(name: str, path: Path) -> tuple[ResolvedStudy, bytes]:
    """A saved invocation and its text. Raises Unfit where it is not that study's."""
    with plain(path) as file:
        data = files.read_at_most(file, _DOCUMENT + 1)
    if len(data) > _DOCUMENT:
        raise Unfit("it is too large to be one")
    try:
        document = files.parse_json(data)
        _refuse_newer(document, STUDY_FORMAT)
        resolved = ResolvedStudy.model_validate_json(json.dumps(document))
    except (ValidationError, ValueError, RecursionError):
        raise Unfit("it cannot be read") from None
    if resolved.name != name:
        raise Unfit("it is another study's")
    if any(trial.key != key for key, trial in resolved.trials.items()):
        raise Unfit("its keys are not its trials'")
    if not resolved.is_whole():
        raise Unfit("it names trials that it does not define")
    return resolved, data


def looks(store: Path) -> Iterator[Path]:
    """The files of a ledger's looks, by table and name, those through links left out."""
    for table, _ in _folders(store / ledger.FOLDER):
        for name, kind in _entries(store / ledger.FOLDER / table):
            stem = name.removesuffix(".json")
            named = ledger.is_name(table) and stem != name and ledger.is_name(stem)
            if named and kind == "file":
                yield store / ledger.FOLDER / table / name


def look(path: Path) -> ledger.KeptLook:
    """A look in a ledger. Raises Unfit where it is not what its place says."""
    document = _json(path)
    _refuse_newer(document, ledger.LOOK_FORMAT)
    found = ledger.parse(json.dumps(document), path)
    if found is None:
        raise Unfit("it cannot be read")
    return found


def _refuse_newer(document: dict[str, Any] | None, known: int) -> None:
    number = (document or {}).get("format", known)
    if isinstance(number, int) and number > known:
        raise Unfit(f"a newer ablate wrote it (its format is above {known})")


def plain(path: Path) -> BinaryIO:
    """Open a plain file to read. Raises Unfit for a link, a pipe, a device or a missing file."""
    try:
        return files.open_plain(path)
    except files.NoFile:
        raise Unfit(f"{path.name} is no plain file") from None
    except OSError as error:
        raise Unfit(f"{path.name} cannot be read: {error.strerror}") from None


def _json(path: Path) -> dict[str, Any] | None:
    with plain(path) as file:
        data = files.read_at_most(file, _DOCUMENT + 1)
    if len(data) > _DOCUMENT:
        raise Unfit(f"{path.name} is too large to be one")
    return files.parse_json(data)


def _entries(folder: Path) -> list[beneath.Entry]:
    """Sorted by name; none where the folder is a link or cannot be read."""
    try:
        return beneath.entries(folder)
    except OSError:
        return []


def _folders(folder: Path) -> list[beneath.Entry]:
    return [entry for entry in _entries(folder) if entry.kind == "folder"]
