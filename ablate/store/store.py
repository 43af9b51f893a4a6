"""The store: a directory with everything that was trained.

    ablate-results/
      FORMAT           {"format": 1}
      .gitignore       everything
      studies/<name>/<UTC time>-<random>.json      what each `ablate run` was asked for
      looks/           at which seeds each table was judged, see `ledger`
      trials/<key>/    see `attempt_reader` (what trials write) and `lease` (who trains)
      results.duckdb   an index, see `ablate.index`; may be deleted at any time

States and results are read from the spool itself, so they are never behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from pydantic import ValidationError

from ablate.core.resolved_study import STUDY_FORMAT, ResolvedStudy
from ablate.core.trial import Trial
from ablate.errors import AblateError, StoreGone
from ablate.store import attempt_reader, format_version
from ablate.store.curves import Curves
from ablate.store.format_version import FORMAT, refuse_newer
from ablate.store.journal import finite_or_nan, last_epoch, read_epochs, seconds_of
from ablate.store.lease import Lease, holder
from ablate.util import beneath, files

_NAN: Final = float("nan")
# Without these no command takes it for a store: `rm -rf` leaves it so where a training is faster.
_WANTED: Final = (("trials", "folder"), ("studies", "folder"), ("FORMAT", "file"))
_TOLD: Final = ("status", "message", "epochs", "finished")  # of an attempt that is not done

Ending = dict[str, Any] | None  # done.json, None without it
Status = Literal["new", "done", "failed", "diverged", "no_effect", "oom", "interrupted", "running"]


@dataclass(frozen=True)
class TrialState:
    """Where a trial stands.

    attempt: the one that counts, the first that is done, else the latest. epoch: epochs finished in
    it. kept: epochs that a next run need not repeat (the newest checkpoint, by its name). message:
    why it ended. holder: the live process that trains it. finished: ISO 8601, UTC, "" before.
    """

    status: Status
    attempt: str | None = None
    attempts: int = 0
    epoch: int = 0
    kept: int = 0
    message: str = ""
    holder: Lease | None = None
    finished: str = ""


@dataclass(frozen=True)
class TrialResult:
    """What a finished trial measured.

    final: metrics of the last epoch, accuracies as fractions; a number that was not finite is NaN.
    curves: what its epochs come to. started, finished: ISO 8601, UTC. resumed_from: the attempt it
    went on from. lines: where its epochs are. summary: what was passed to `Attempt.finish`.
    """

    key: str
    attempt: str
    final: dict[str, float]
    curves: Curves
    environment: dict[str, Any]
    started: str
    finished: str
    resumed_from: str | None
    lines: Path
    summary: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def epochs(self) -> list[dict[str, float]]:
        """One dict per epoch in order, as `journal.read_epochs`. Read when first asked for."""
        return read_epochs(self.lines)

    @property
    def epoch_seconds(self) -> list[float]:
        """Wall time of each epoch; NaN where it is not known."""
        return [seconds_of(epoch) for epoch in self.epochs]


class Disagreement(NamedTuple):
    """Two finished attempts at one trial that measured different numbers."""

    key: str
    first: str  # the attempt that counts
    other: str
    metric: str
    value: float
    other_value: float


class Store:
    """A directory of results. Make one with `Store.open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # None where there is none: `ablate merge --dry-run` asks what one would have.
        self.root = _held(path) if path.is_dir() else None
        self._endings: dict[str, tuple[tuple[int, int, int], Ending]] = {}

    @classmethod
    def open(cls, path: Path, *, create: bool) -> Store:
        """Open a store; with `create` make it if it is missing and check that it can be written.

        Raises AblateError if the directory is something else, of a newer format, or not writable.
        """
        path = Path(path)
        _check_name(path)
        if create:
            format_version.make_folder(path)
        elif os.path.lexists(path) and not path.is_dir():
            raise AblateError(f"{path} is a file, not a store", hint="--store DIR names another")
        elif not path.is_dir():
            raise AblateError(f"no store at {path}", hint="ablate run makes it, or --store DIR")
        store = cls(path)
        format_version.refuse_links(path)
        if create:
            format_version.create(path)
        format_version.check(path)
        return store

    def lost(self) -> StoreGone | None:
        """Why the store is not where it was when it was opened; None where it is."""
        root = self.root
        if root is None:
            return None
        missing = next((n for n, kind in _WANTED if beneath.kind(self.path / n) != kind), "")
        return None if root.is_there and not missing else _gone(self.path, root, missing)

    # ------------------------------------------------------------------------------- studies

    def save_study(self, resolved: ResolvedStudy) -> Path:
        """Keep what an invocation was asked for."""
        directory = self._study_path(resolved.name)
        with files.writing(directory), self.saving():
            self._make_study(directory)
            earlier = _saved(directory)
            name = files.unique_name(after=earlier[-1].stem if earlier else "")
            path = directory / f"{name}.json"
            files.write_sealed(path, resolved.model_dump_json(indent=1))
        return path

    def has_saved(self, name: str, invocation: str) -> bool:
        """Whether an invocation of a study is kept. Raises AblateError for what is no name."""
        return beneath.kind(self._study_path(name) / f"{invocation}.json") is not None

    def keep_saved(self, name: str, invocation: str, text: bytes) -> None:
        """Keep an invocation as another store saved it, under the name it had there."""
        directory = self._study_path(name)
        if not files.is_unique_name(invocation):
            raise AblateError(f"{invocation!r} is no invocation of a study")
        with files.writing(directory), self.saving():
            self._make_study(directory)
            files.write_whole(directory / f"{invocation}.json", lambda file: file.write(text))

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Between others' looks at the saved invocations and what they do about it: `ablate gc`
        removes no trial of an invocation that is being saved."""
        with files.locked(self.path / ".studies.lock"):
            yield

    def latest_study(self, name: str) -> ResolvedStudy | None:
        """The latest invocation of a study that can be read, or None."""
        return next(self.invocations(name), None)

    def damaged_run(self, name: str) -> Path | None:
        """The latest invocation's file, if it cannot be read: an earlier one stands for it."""
        saved = _saved(self._study_path(name))
        return saved[-1] if saved and _invocation(saved[-1]) is None else None

    def invocations(self, name: str) -> Iterator[ResolvedStudy]:
        """Every invocation of a study that can be read, the latest first."""
        yield from (resolved for _, resolved in self.dated_invocations(name))

    def dated_invocations(self, name: str) -> Iterator[tuple[str, ResolvedStudy]]:
        """The same, each after the time when it was saved, ISO 8601 in UTC."""
        for path in reversed(_saved(self._study_path(name))):
            if (resolved := _invocation(path)) is not None:
                yield files.time_of(path.stem), resolved

    def studies(self) -> list[str]:
        """Names of the stored studies, the one invoked last first."""
        root = self.path / "studies"
        latest: dict[str, str] = {}
        for directory, found in beneath.walk(root):
            saved = [name for name, _ in found if _is_saved(name)]
            if saved and directory != root:
                latest[directory.relative_to(root).as_posix()] = saved[-1].removesuffix(".json")
        return sorted(latest, key=lambda name: latest[name], reverse=True)

    def study_name_owner(self, name: str) -> str | None:
        """The study file a name was last stored from."""
        resolved = self.latest_study(name)
        return None if resolved is None else resolved.file

    def _study_path(self, name: str) -> Path:
        parts = name.split("/")
        odd = any(
            part in ("", ".", "..") or any(c in '\\:*?"<>|' or ord(c) < 32 for c in part)
            for part in parts
        )
        if odd or len(name) > 200:
            raise AblateError(
                f"{name!r} cannot name a study", hint='[study] name = "letters/digits_and-dashes"'
            )
        return self.path.joinpath("studies", *parts)

    def _make_study(self, directory: Path) -> None:
        """The folder of a study, and those that its name has slashes for."""
        root = self.path / "studies"
        for part in [*reversed(directory.relative_to(root).parents), directory.relative_to(root)]:
            if part != Path("."):
                beneath.make_folder(root / part, exist_ok=True)

    # -------------------------------------------------------------------------------- trials

    def register(self, trial: Trial, label: str) -> bool:
        """Write trial.json, what the key stands for, unless a whole one is there: later labels
        change nothing. Whether it was written. Raises AblateError for one of a newer format."""
        key = trial.key
        path = attempt_reader.trial_path(self.path, key) / "trial.json"
        if self.trial(key) is not None:
            return False
        with files.writing(path):
            beneath.make_folder(path.parent, exist_ok=True)
            if beneath.kind(path) == "folder":  # which nothing can be renamed into the place of
                beneath.rename(path, path.with_name(f"retired-{files.unique_name()}"))
        document = {"format": FORMAT, "key": key, "label": label}
        files.write_json(path, document | {"trial": trial.model_dump(mode="json")})
        return True

    def trial(self, key: str) -> Trial | None:
        """The definition of a stored trial, or None if there is none that can be read.

        Raises AblateError for one of a newer format.
        """
        document = _definition(attempt_reader.trial_path(self.path, key) / "trial.json")
        try:
            trial = Trial.model_validate_json(json.dumps((document or {})["trial"]))
        except (KeyError, ValidationError):
            return None
        return trial if trial.key == key else None

    def label(self, key: str) -> str:
        """What the study that first asked for a trial calls it; the key's start without one."""
        document = _definition(attempt_reader.trial_path(self.path, key) / "trial.json") or {}
        return str(document.get("label") or key[:6])

    def keys(self) -> list[str]:
        """Keys of every stored trial, sorted; what else lies there is nobody's."""
        try:
            found = beneath.entries(self.path / "trials")
            return [name for name, _ in found if attempt_reader.can_be_key(name)]
        except OSError:
            return []

    def find(self, prefix: str) -> str:
        """The one key that starts with `prefix`. Raises AblateError for none or several."""
        found = [key for key in self.keys() if key.startswith(prefix.lower())] if prefix else []
        if len(found) == 1:
            return found[0]
        if not found:
            raise AblateError(f"no trial starts with {prefix!r}", hint="ablate logs lists them")
        few = ", ".join(key[: len(prefix) + 4] for key in found[:5])
        raise AblateError(
            f"{len(found)} trials start with {prefix!r}: {few}{', …' * (len(found) > 5)}",
            hint="add characters until it is one",
        )

    def state(self, key: str) -> TrialState:
        """Where a trial stands now."""
        tries = [(path, self.ending(path)) for path in attempt_reader.attempts(self.path, key)]
        counting = next((t for t in tries if t[1] and _is_done(t[1])), None)
        if counting is None:
            live = holder(self.path, key)
            if not tries:
                return TrialState("running" if live else "new", holder=live)
            counting = tries[-1]
            if live:
                return _unfinished("running", counting[0], tries, live)
        path, end = counting
        if end is None:
            return _unfinished("interrupted", path, tries, None)
        status, message = end["status"], str(end.get("message", ""))
        epoch = end.get("epochs", 0)
        kept = epoch if status in attempt_reader.FINAL else _kept(tries)
        finished = str(end.get("finished", ""))
        return TrialState(status, path.name, len(tries), epoch, kept, message, finished=finished)

    def states(self, keys: Iterable[str]) -> dict[str, TrialState]:
        """Where each of many trials stands now."""
        return {key: self.state(key) for key in keys}

    def result(self, key: str) -> TrialResult | None:
        """What a trial measured, or None if it is not done."""
        for path in attempt_reader.attempts(self.path, key):
            end = self.ending(path)
            if end and _is_done(end):
                return _result(key, path, end)
        return None

    def results(self, states: Mapping[str, TrialState]) -> dict[str, TrialResult]:
        """What the trials measured that are done, from what `states` just said."""
        found = {}
        for key, state in states.items():
            if state.status == "done" and state.attempt:
                path = attempt_reader.trial_path(self.path, key) / state.attempt
                end = self.ending(path)
                if end and _is_done(end):  # else set aside meanwhile
                    found[key] = _result(key, path, end)
        return found

    def finals(self, key: str) -> dict[str, dict[str, float]]:
        """Final metrics of every finished attempt at a trial, by its name, oldest first."""
        ends = ((path, self.ending(path)) for path in attempt_reader.attempts(self.path, key))
        return {path.name: _final(end) for path, end in ends if end and _is_done(end)}

    def epochs(self, key: str) -> list[dict[str, float]]:
        """Epochs of the attempt that counts, finished or not, as in `TrialResult.epochs`."""
        name = self.state(key).attempt
        path = attempt_reader.trial_path(self.path, key)
        return read_epochs(path / name / "metrics.jsonl") if name else []

    def ending(self, attempt: Path) -> Ending:
        """As `attempt_reader.ending`, read once: it is written whole, another is another file.

        Of an attempt that is not done only what is told of it is kept: there may be thousands.
        """
        place = f"{attempt}/done.json"
        try:
            file = beneath.about(attempt / "done.json")
        except OSError:
            return None
        identity = file.st_ino, file.st_mtime_ns, file.st_size
        known = self._endings.get(place)
        if known is None or known[0] != identity:
            end = attempt_reader.ending(attempt)
            if end is not None and not _is_done(end):
                end = {name: end[name] for name in _TOLD if name in end}
            known = self._endings[place] = identity, end
        return known[1]

    def disagreements(self) -> list[Disagreement]:
        """Trials of which two finished attempts measured different final metrics."""
        found = []
        for key in self.keys():
            tries = attempt_reader.attempts(self.path, key)
            ends = [(path, self.ending(path)) for path in tries] if len(tries) > 1 else []
            done = [(path.name, _final(end)) for path, end in ends if end and _is_done(end)]
            for name, final in done[1:]:
                first, expected = done[0]
                for metric in sorted(expected | final):
                    a, b = expected.get(metric, _NAN), final.get(metric, _NAN)
                    if a != b and not (a != a and b != b):
                        found.append(Disagreement(key, first, name, metric, a, b))
        return found


def _held(path: Path) -> beneath.Root:
    try:
        return beneath.hold(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise AblateError(
            f"cannot open the store {path}: {reason}", hint="use another: --store DIR"
        ) from error


def _gone(path: Path, root: beneath.Root, missing: str) -> StoreGone:
    if root.is_removed:
        what = f"the store {path} was removed while it was used"
        hint = (
            "what was in it is lost; if it was copied to another disk: --store PLACE goes on there"
        )
    elif (place := root.moved_to) is None:
        what = f"the store {path} is not there any more: unmounted, or another is in its place"
        hint = "what was trained is in the one that was there: bring it back and run again"
    elif root.is_there:
        what = f"the store {path} was removed in part while it was used: it has no {missing}"
        hint = "what was trained until now may be lost; run again"
    else:
        what = f"the store {path} was moved to {place} while it was used"
        hint = f"what was trained is there: run again with --store {shlex.quote(str(place))}"
    return StoreGone(what, hint=hint)


def _check_name(path: Path) -> None:
    """Refuse what no database can be opened at: it is better known before a training than after."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        raise AblateError(
            f"the store {path} has characters in its path that are not UTF-8",
            hint="use another: --store DIR",
        ) from error
    except FileNotFoundError:
        files.check_working_folder()
        raise


# --------------------------------------------------------------------------- saved invocations


def _is_saved(name: str) -> bool:
    return name.endswith(".json") and files.is_unique_name(name.removesuffix(".json"))


def _saved(directory: Path) -> list[Path]:
    """Saved invocations of one study, oldest first."""
    try:
        return [directory / name for name, _ in beneath.entries(directory) if _is_saved(name)]
    except OSError:
        return []


# ------------------------------------------------------------------------------------ reading


def _invocation(path: Path) -> ResolvedStudy | None:
    """Raises AblateError for one of a newer format."""
    document = files.read_json(path)
    refuse_newer(path, document, STUDY_FORMAT)
    try:
        resolved = ResolvedStudy.model_validate_json(json.dumps(document))
    except ValidationError:
        return None
    return resolved if resolved.is_whole() else None


def _definition(path: Path) -> dict[str, Any] | None:
    """trial.json, or None if it is missing or damaged."""
    document = files.read_json(path)
    refuse_newer(path, document, FORMAT)
    return document


def _unfinished(
    status: Status, path: Path, tries: Sequence[tuple[Path, Ending]], live: Lease | None
) -> TrialState:
    kept = _kept(tries)
    epoch = max(last_epoch(path / "metrics.jsonl"), kept)
    return TrialState(status, path.name, len(tries), epoch, kept, holder=live)


def _kept(tries: Sequence[tuple[Path, Ending]]) -> int:
    """The newest epoch among checkpoints that a next run would go on from."""
    left = (path for path, end in tries if end is None or end["status"] not in attempt_reader.FINAL)
    return max(
        (epoch for path in left for epoch, _ in attempt_reader.checkpoint_files(path)), default=0
    )


def _is_done(end: dict[str, Any]) -> bool:
    return bool(end["status"] == "done")


def _final(end: dict[str, Any]) -> dict[str, float]:
    return finite_or_nan(end.get("final"))


def _result(key: str, path: Path, end: dict[str, Any]) -> TrialResult:
    return TrialResult(
        key=key,
        attempt=path.name,
        final=_final(end),
        curves=attempt_reader.curves(path, end),
        environment=files.read_json(path / "environment.json") or {},
        started=str(end.get("started") or files.time_of(path.name)),
        finished=str(end.get("finished", "")),
        resumed_from=end.get("continues"),
        lines=path / "metrics.jsonl",
        summary=end.get("summary") or {},
    )
