"""The part of `ablate doctor` that checks the store: what is in it, what is damaged, what to run.

Without --deep no metrics, weights or predictions are read, so that it takes a second with 500
trials. Nothing is written, and nothing is repaired.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ablate.cli.commands.doctor.machine import Finding
from ablate.cli.options import Options
from ablate.errors import AblateError
from ablate.store.format_version import FORMAT
from ablate.util import beneath
from ablate.util.text import count, megabytes

if TYPE_CHECKING:
    from ablate.index.database import Standing
    from ablate.store.collect import Garbage
    from ablate.store.store import Store

_UNKNOWN: Final = "ablate run STUDY"
_COMMAND: Final = re.compile(rb'"command": ("(?:[^"\\\n]|\\.)*")')  # in a saved run
_MUCH: Final = 100e6  # bytes that are worth a word
_SHARE: Final = 0.25  # of the store


def store_findings(options: Options, *, deep: bool = False) -> Iterator[Finding]:
    """Everything there is to say of the store. deep: read every line and checksum too."""
    from ablate.index import database as index_database
    from ablate.store.collect import survey
    from ablate.store.store import Store

    path = options.store_path
    if not path.exists():
        yield Finding("fine", "store", f"{path} is not there yet; ablate run makes it")
        return
    try:
        store = Store.open(path, create=False)
        found = survey(store)
    except AblateError as error:
        yield Finding("wrong", "store", error.message, error.hint or "--store DIR")
        return
    places = shlex.join(["", *options.places()]).removeprefix("''")
    studies = _studies(store)
    damage = _Damage(store, studies, places, found.teachers)
    damage.look(found, deep=deep)
    stand = index_database.standing(store.path, deep=deep)
    yield from _summary(store, found, places, stand, damaged=bool(damage.found))
    yield from damage.findings()
    yield from _damaged_runs(store, places)
    yield from _damaged_looks(store, places)
    yield from _litter(found, places)
    yield from _processes()
    for one in store.disagreements():
        yield Finding(
            "attention", "store",
            f"two attempts at {one.key[:6]} measured {one.metric} {one.value:.4f} and "
            f"{one.other_value:.4f}; the first counts, and both stay: "
            f"ablate verify {one.key[:6]}{places} tells what training gives now",
        )  # fmt: skip


def _studies(store: Store) -> list[str]:
    """Names of those that can be read."""
    found = []
    for name in store.studies():
        with contextlib.suppress(AblateError):  # a folder that cannot be a study's; gc names it
            if store.latest_study(name) is not None:
                found.append(name)
    return found


def _damaged_runs(store: Store, places: str) -> Iterator[Finding]:
    for name in store.studies():
        with contextlib.suppress(AblateError):
            if (path := store.damaged_run(name)) is not None:
                earlier = store.latest_study(name)
                yield Finding(
                    "attention", "damage",
                    f"the latest saved run of '{name}' cannot be read: {path.name}",
                    (_typed(f"ablate run {shlex.quote(earlier.file)}") if earlier else _left(path))
                    + places,
                )  # fmt: skip


def _typed(command: str) -> str:
    """A command of a saved run's, to be typed: whoever made the store may have written anything."""
    try:
        words = shlex.split(command)
    except ValueError:
        return _UNKNOWN
    return shlex.join(words) if words[:2] == ["ablate", "run"] else _UNKNOWN


def _left(path: Path) -> str:
    """What asked for a run that cannot be read, if that part of it is left."""
    from ablate.store.untrusted import Unfit, plain

    try:
        with plain(path) as file:
            found = _COMMAND.search(file.read(1 << 24))
        return _typed(json.loads(found[1])) if found else _UNKNOWN
    except (Unfit, OSError, ValueError):
        return _UNKNOWN


def _damaged_looks(store: Store, places: str) -> Iterator[Finding]:
    """A look that cannot be read is not counted: the next one is judged too easily."""
    from ablate.store import ledger

    for path in ledger.paths(store.path):
        why, todo = "cannot be read", f"ablate merge BACKUP{places}"
        try:
            if ledger.read(path) is not None:
                continue
        except AblateError:
            why, todo = "was written by a newer ablate", "pip install -U ablate-study"
        yield Finding(
            "attention", "damage",
            f"a look that was kept {why}: {path.relative_to(store.path)}; it is not counted",
            todo,
        )  # fmt: skip


def _summary(
    store: Store, found: Garbage, places: str, stand: Standing, *, damaged: bool
) -> Iterator[Finding]:
    from ablate.store.untrusted import is_key

    keys = [key for key in store.keys() if is_key(key)]  # noqa: SIM118 - a store is no dict
    orphans = len(found.of("trials"))
    database = {
        "current": "database matches the spool",
        "missing": "no database yet: the next query or run makes it",
        "busy": "database in use",
        "behind": "database behind the spool",
        "older": "database of an older ablate",
        "newer": "database of a newer ablate, which is left to it",
        "damaged": "database damaged",
        "foreign": "database not made by ablate",
    }[stand.state]
    training = any(store.state(key).holder is not None for key in keys)
    if stand.state == "behind" and training:
        database = "database follows a run"
    text = f"{store.path}: {count(len(keys), 'trial')}, "
    text += f"{count(orphans, 'orphan') if orphans else 'no orphans'}, format {FORMAT}, {database}"
    remake = stand.state in ("older", "damaged", "foreign") or (
        stand.state == "behind" and not training
    )
    if (reason := unwritable(store.path)) is not None:
        yield Finding(
            "attention", "store", f"{text}, can be read but not written: {reason}",
            f"make it yours (chmod -R u+w {shlex.quote(str(store.path))}), or --store DIR",
        )  # fmt: skip
    elif remake:
        yield Finding("attention", "store", text, f"ablate reindex{places}")
    else:
        yield Finding("attention" if orphans or damaged else "fine", "store", text)
    yield Finding("fine", "size", _sizes(store.path))
    if stand.set_aside:
        lines = count(stand.set_aside, "line")
        yield Finding(
            "attention", "store", f"{lines} could not be read, set aside; no number comes "
            f'from them: ablate query "from spool.set_aside"{places} shows them',
        )  # fmt: skip


def _sizes(path: Path) -> str:
    from ablate.store.attempt_reader import WEIGHTS

    sizes = dict.fromkeys(("checkpoints", "weights", "predictions", "metrics", "database"), 0)
    total = 0
    for name, size in beneath.sizes(path):
        total += size
        if name.startswith("checkpoint-"):
            sizes["checkpoints"] += size
        elif name.startswith(WEIGHTS):
            sizes["weights"] += size
        elif name == "predictions.npz":
            sizes["predictions"] += size
        elif name == "metrics.jsonl":
            sizes["metrics"] += size
        elif name.startswith("results.duckdb"):
            sizes["database"] += size
    parts = [f"{what} {megabytes(size)}" for what, size in sizes.items() if size]
    return f"{megabytes(total)}: {', '.join(parts) or 'nothing yet'}"


def _litter(found: Garbage, places: str) -> Iterator[Finding]:
    """What `ablate gc` would remove, where it is worth removing."""
    orphans = found.of("trials")
    others = [piece for piece in found.pieces if piece.kind not in ("trials", "runs")]
    whole = sum(piece.size for piece in found.pieces)
    if orphans:
        yield Finding(
            "attention", "orphans",
            f"{count(len(orphans), 'trial')} that no study's saved runs name, "
            f"{megabytes(sum(piece.size for piece in orphans))}",
            f"ablate gc{places}",
        )  # fmt: skip
    dead = sum(piece.kind == "claims" for piece in others)
    if others and (whole > _MUCH or dead or found.of("removed")):
        text = f"{count(len(others), 'thing')} that no study needs, {megabytes(whole)}"
        if dead:
            text += f"; {count(dead, 'claim')} of processes that died"
        yield Finding("attention", "litter", text, f"ablate gc{places}")
    for place, why in found.left[:3]:
        yield Finding("attention", "odd", f"{place}: {why}; ablate leaves it alone")
    if len(found.left) > 3:
        yield Finding("attention", "odd", f"and {len(found.left) - 3:,} more: ablate gc -v")


@dataclass
class _Damage:
    """What is damaged, by kind: (key, what is told of it)."""

    store: Store
    studies: list[str]
    places: str
    teachers: frozenset[str]  # trials that others learn from
    found: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def look(self, garbage: Garbage, *, deep: bool) -> None:
        """Every trial that a study names and something is stored of."""
        from ablate.store.untrusted import is_key

        for key in self.store.keys():  # noqa: SIM118 - a store is no dict
            if is_key(key) and key in garbage.needed:
                self._trial(key, deep=deep)

    def _add(self, kind: str, key: str, what: str) -> None:
        self.found.setdefault(kind, []).append((key, what))

    def _trial(self, key: str, *, deep: bool) -> None:
        from ablate.store import attempt_reader

        folder = self.store.path / "trials" / key
        tries = attempt_reader.attempts(self.store.path, key)
        try:
            trial = self.store.trial(key)
        except AblateError:
            self._add("newer", key, "")
            return
        if trial is None or trial.key != key:
            exists = beneath.kind(folder / "trial.json") is not None
            self._add("definition", key, "is damaged" if exists else "is missing")
        ended = self.store.state(key).status in attempt_reader.FINAL
        for attempt in tries:
            end = self.store.ending(attempt)
            if end is None and not ended and beneath.kind(attempt / "done.json"):
                self._add("ending", key, attempt.name)
            if end is None or end["status"] != "done":
                continue
            lines = attempt / "metrics.jsonl"
            stored = end.get("curves")
            expected = stored.get("bytes") if isinstance(stored, dict) else None
            size = beneath.about(lines).st_size if beneath.kind(lines) == "file" else -1
            if size < 0 or (isinstance(expected, int) and size != expected):
                self._add("lines", key, attempt.name)
            elif deep:
                self._deep(key, attempt, end)
        if deep:
            teaches = key in self.teachers
            if teaches and ended and attempt_reader.weights(self.store.path, key) is None:
                attempts = [a for a in tries if beneath.kind(a / attempt_reader.WEIGHTS)]
                if attempts:
                    self._add("weights", key, attempts[0].name)
            for attempt in [] if ended else tries:
                self._checksums(key, attempt)

    def _deep(self, key: str, attempt: Path, end: dict[str, object]) -> None:
        from ablate.store.untrusted import Unfit, check_arrays, check_lines

        try:
            check_lines(attempt / "metrics.jsonl", end)
        except (Unfit, OSError):
            self._add("lines", key, attempt.name)
        if beneath.kind(attempt / "predictions.npz"):
            try:
                check_arrays(attempt / "predictions.npz")
            except (Unfit, OSError, zipfile.BadZipFile):
                self._add("predictions", key, attempt.name)

    def _checksums(self, key: str, attempt: Path) -> None:
        from ablate.store import attempt_reader

        for _, path in attempt_reader.checkpoint_files(attempt):
            if not attempt_reader.is_sound(path):
                self._add("checkpoint", key, attempt.name)

    def findings(self) -> Iterator[Finding]:
        """A line for each kind."""
        told: dict[str, tuple[str, Callable[[str], str]]] = {
            "newer": ("definition of a newer ablate", lambda key: "pip install -U ablate-study"),
            "definition": ("definition that cannot be read", self._run),
            "ending": ("ending that cannot be read: the trial is trained again", self._run),
            "lines": (
                "file of metrics that is not as it was when training ended; the numbers of "
                "tables stand in the ending",
                self._merge,
            ),
            "predictions": (
                "file of predictions that is damaged; the metrics of tables stand in the ending",
                self._merge,
            ),
            "weights": ("file of weights that is damaged: its teacher trains again", self._run),
            "checkpoint": ("checkpoint that is damaged: the one before it is used", self._run),
        }
        for kind, (words, todo) in told.items():
            if found := self.found.get(kind):
                noun, _, rest = words.partition(" ")
                key, what = found[0]
                more = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
                where = f"{key[:6]} {what}".rstrip() + more
                text = f"{count(len(found), noun)} {rest}: {where}"
                yield Finding("attention", "damage", text, todo(key))

    def _run(self, key: str) -> str:
        """The run that names the trial."""
        for name in self.studies:
            for resolved in self.store.invocations(name):
                if key in resolved.trials:
                    return f"{_typed(resolved.command)}{self.places}"
        return f"{_UNKNOWN}{self.places}"

    def _merge(self, key: str) -> str:
        return f"ablate merge BACKUP{self.places}"


def unwritable(path: Path) -> str | None:
    """Why no trial can be added to the store; permissions do not tell of read-only file systems."""
    trials = path / "trials"
    try:
        from tempfile import TemporaryFile

        with TemporaryFile(dir=trials if trials.is_dir() else path):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__


def _processes(root: Path = Path("/proc")) -> Iterator[Finding]:
    """Workers whose run has gone; a worker ends when its run does, so there should be none."""
    left = left_over(root)
    if left:
        pids = " ".join(map(str, left))
        yield Finding(
            "attention", "workers", f"{len(left)} left over by a run that is gone", f"kill {pids}"
        )


def left_over(root: Path) -> list[int]:
    """Process ids of workers that were handed to init; none where there is no such file system."""
    found = []
    for folder in sorted(root.glob("[0-9]*")):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # gone meanwhile
            continue
        if b"ablate.execution.trainer" not in words:
            continue
        try:
            above = (root / str(parent) / "cmdline").read_bytes()
        except OSError:
            above = b""
        # In a container the run itself may be process 1.
        if parent == 1 and b"ablate" not in above and b"python" not in above:
            found.append(int(folder.name))
    return found
