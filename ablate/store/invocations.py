"""Which trials the saved invocations of a store's studies name, and which of these repeat others.

Nothing is read through a link. A trial counts as named if its key stands anywhere in a file, so
that a file which an older or a newer release wrote, or half of one, names what it named.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ablate.core.resolved_study import STUDY_FORMAT, ResolvedStudy
from ablate.store.format_version import refuse_newer
from ablate.store.untrusted import Unfit, plain
from ablate.util import beneath, files

_KEY: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_LARGEST: Final = 256 << 20  # bytes
# What may differ between two runs that ask for the same.
_INCIDENTAL: Final = ("command", "labels", "graphs", "warnings")


@dataclass(frozen=True)
class SavedRun:
    """One `studies/NAME/TIME-RANDOM.json`.

    keys: trials that it names; teachers: those of them that others learn from. asks: a digest of
    what it asked for. whole: whether it can be read, else it may have named more.
    """

    study: str
    path: Path
    keys: frozenset[str]
    teachers: frozenset[str]
    asks: str
    until: bool
    whole: bool


@dataclass(frozen=True)
class OddEntry:
    """Something else below studies/; unsure: it may name trials that cannot be told."""

    path: Path
    why: str
    unsure: bool


def saved_runs(
    store_path: Path, without: AbstractSet[Path] = frozenset()
) -> Iterator[SavedRun | OddEntry]:
    """Everything below studies/, by name and then oldest first, temporary files left out.

    without: paths that are known and not read again.

    Raises AblateError for an invocation that a newer ablate saved.
    """
    root = store_path / "studies"
    folders = [root]
    while folders:
        folder = folders.pop(0)
        try:
            entries = beneath.entries(folder)
        except OSError as error:
            yield OddEntry(folder, error.strerror or type(error).__name__, unsure=True)
            continue
        for name, kind in entries:
            path = folder / name
            if path in without:
                continue
            if kind == "link":
                yield OddEntry(path, "a link", unsure=True)
            elif kind == "folder":
                folders.append(path)
            elif files.is_unique_name(path.stem) and path.suffix == ".json" and folder != root:
                yield _read(path, folder.relative_to(root).as_posix())
            elif not files.is_temporary(name):
                yield OddEntry(path, "no saved run", unsure=False)


def _read(path: Path, study: str) -> SavedRun | OddEntry:
    try:
        with plain(path) as file:
            data = files.read_at_most(file, _LARGEST + 1)
    except Unfit as unfit:
        return OddEntry(path, str(unfit), unsure=True)
    except OSError as error:
        return OddEntry(path, error.strerror or type(error).__name__, unsure=True)
    if len(data) > _LARGEST:
        return OddEntry(path, "too large to be a saved run", unsure=True)
    keys = frozenset(found.decode("ascii") for found in _KEY.findall(data))
    document = files.parse_json(data)
    if document is None:
        return SavedRun(study, path, keys, keys, asks="", until=False, whole=False)
    refuse_newer(path, document, STUDY_FORMAT)
    asked = {name: value for name, value in document.items() if name not in _INCIDENTAL}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    until = document.get("until") is not None
    return SavedRun(study, path, keys, _teachers(document), digest, until, whole=True)


def _teachers(document: dict[str, Any]) -> frozenset[str]:
    trials = document.get("trials")
    values = trials.values() if isinstance(trials, dict) else ()
    named = (trial.get("teacher") for trial in values if isinstance(trial, dict))
    return frozenset(key for key in named if isinstance(key, str))


class Definitions:
    """What keys stand for, as the saved runs have it: for trials whose trial.json is damaged or
    gone. The saved runs are read when that is first asked for, oldest first."""

    def __init__(self, store_path: Path) -> None:
        self._store_path = store_path
        self._unread: list[Path] | None = None
        self._known: dict[str, tuple[dict[str, Any], str | None]] = {}

    def of(self, key: str) -> tuple[dict[str, Any], str | None] | None:
        """(definition, label) of a key, None where no saved run has it whole."""
        if self._unread is None:
            self._unread = self._files()
        while key not in self._known and self._unread:
            self._take(self._unread.pop(0))
        return self._known.get(key)

    def _files(self) -> list[Path]:
        found = []
        for folder, inside in beneath.walk(self._store_path / "studies"):
            saved = (n for n, _ in inside if n.endswith(".json") and files.is_unique_name(n[:-5]))
            found += [folder / name for name in saved]
        return sorted(found, key=lambda path: path.name)

    def _take(self, path: Path) -> None:
        try:
            with plain(path) as file:
                data = files.read_at_most(file, _LARGEST + 1)
        except (OSError, Unfit):
            return
        document = files.parse_json(data) if len(data) <= _LARGEST else None
        trials = (document or {}).get("trials")
        labels = (document or {}).get("labels")
        for key, trial in trials.items() if isinstance(trials, dict) else ():
            if isinstance(trial, dict) and key not in self._known:
                label = labels.get(key) if isinstance(labels, dict) else None
                self._known[key] = trial, label if isinstance(label, str) else None


def is_readable(run: SavedRun) -> bool:
    """Whether reports can be made of it."""
    try:
        document = json.dumps(files.read_json(run.path))
        return ResolvedStudy.model_validate_json(document).is_whole()
    except ValidationError:
        return False


def superseded(runs: list[SavedRun], *, latest: bool) -> list[SavedRun]:
    """Those that a later one of the same study repeats; with `latest`, all but each study's last.

    Looks of `--until` stay: they say that later looks were planned. So does what cannot be read.
    """
    found = []
    for study in dict.fromkeys(run.study for run in runs):
        own = [run for run in runs if run.study == study]
        last = next((run for run in reversed(own) if run.whole and is_readable(run)), None)
        for place, run in enumerate(own):
            repeated = any(later.asks == run.asks for later in own[place + 1 :])
            earlier = last is not None and run.path.name < last.path.name
            if run.whole and earlier and (repeated or (latest and not run.until)):
                found.append(run)
    return found
