"""What a store holds that no study needs, and taking it out: `ablate gc`.

A trial is needed if a saved run of any study names it, and every finished attempt at such a trial
is: reports, curves, predictions, logs and `verify` find what they found before. Nothing is looked
at through a link, and what has no name that ablate gives is left alone and told.

What is inside a trial goes under that trial's claim, after another look at it, since others may be
training in the same store. A trial of no study goes while no run can be saved, unless one that
names it was saved meanwhile. Everything is renamed into one folder first, which cannot be done by
halves, and deleted there: what a gc that was killed left in it, the next one deletes.
"""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from ablate.errors import AblateError
from ablate.store import attempt_reader, ledger
from ablate.store.format_version import refuse_links
from ablate.store.invocations import SavedRun, saved_runs, superseded
from ablate.store.lease import Claim, claim, holder, is_dead
from ablate.store.store import Store
from ablate.store.untrusted import is_key
from ablate.util import beneath, files

Kind = Literal[
    "trials", "attempts", "retired", "checkpoints", "weights", "runs", "claims", "databases",
    "crashes", "temporary", "removed",
]  # fmt: skip
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
WORDS: Final[dict[Kind, str]] = {
    "trials": "trials of no study",
    "attempts": "unfinished attempts at trials that have ended",
    "retired": "attempts set aside by --retrain, trained anew since",
    "checkpoints": "checkpoints of trials that have ended",
    "weights": "weights that no trial learns from",
    "runs": "saved runs that a later one repeats",
    "claims": "claims of processes that died",
    "databases": "damaged databases that were set aside",
    "crashes": "reports of crashes of ablate",
    "temporary": "temporary files of processes that died",
    "removed": "what a gc that was stopped left",
}

TRASH: Final = ".removing"  # in the store: what is renamed into it is gone
LOCK: Final = ".gc.lock"
_ROOT: Final = frozenset(
    {"FORMAT", ".gitignore", "studies", "trials", "results.duckdb", "results.duckdb.wal"}
    | {".index.lock", ".studies.lock", LOCK, TRASH, ledger.FOLDER, ledger.LOCK}
)
_OLD: Final = 3600.0  # seconds after which nobody goes on writing a file that takes milliseconds
_DATABASE: Final = re.compile(r"results\.duckdb\.corrupt-[0-9TZ.\-]+(\.wal(\.\w+)?)?")
_REBUILT: Final = re.compile(r"results\.duckdb\.new-[0-9a-f]{8}(\.wal(\.\w+)?)?")
_CRASH: Final = re.compile(r"crash-\d{4}(-[0-9a-f]+)?\.txt")
_GRAVE: Final = re.compile(r"\.claim-[0-9A-Za-z-]+")
_CLAIMING: Final = re.compile(r"\.claiming-[0-9a-f]+")
_CLOCK: Final = re.compile(r"\.clock-[0-9a-f]+")
_RETIRED: Final = "retired-"
_MERGING: Final = ".merging-"
_LEDGER: Final = re.compile(re.escape(ledger.MAKING) + r"[0-9a-f]{8}")  # one that is being made


@dataclass(frozen=True)
class Piece:
    """Something to remove.

    paths: what goes together, the file or folder that it is called by first. size: bytes. key: the
    trial that has to be claimed for it, "" for none.
    """

    kind: Kind
    paths: tuple[Path, ...]
    size: int
    key: str = ""


@dataclass
class Garbage:
    """What no study needs. needed: keys that some saved run names; teachers:
    those of them that others learn from. left: (place, why) of what looks
    like it and stays. orphans_stay: why trials of no study are not removed."""

    store: Store
    latest: bool
    pieces: list[Piece] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    needed: frozenset[str] = frozenset()
    teachers: frozenset[str] = frozenset()
    saved: frozenset[Path] = frozenset()
    orphans_stay: str = ""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(piece.size for piece in self.pieces)

    def of(self, kind: Kind) -> list[Piece]:
        """Those of one kind."""
        return [piece for piece in self.pieces if piece.kind == kind]


def survey(store: Store, *, latest: bool = False) -> Garbage:
    """What could be removed; writes nothing.

    latest: of each study only the run saved last counts, and looks of `--until`. Raises AblateError
    where a folder of the store is a link, and for what a newer ablate wrote.
    """
    refuse_links(store.path)
    found = Garbage(store, latest)
    kept = _runs(found)
    found.needed = frozenset(key for run in kept for key in run.keys)
    teachers = found.teachers = frozenset(key for run in kept for key in run.teachers)
    for name, sort in _entries(store.path / "trials"):
        path = store.path / "trials" / name
        if not is_key(name) or sort != "folder":
            _leave(found, path, "a link" if sort == "link" else "no trial's name")
        elif (lease := holder(store.path, name)) is not None:
            if name not in found.needed:
                _leave(found, path, f"held by pid {lease.pid} on {lease.host}, {lease.study}")
        elif name in found.needed:
            found.pieces += in_trial(store, name, teachers, found.left)
        elif found.orphans_stay:
            _leave(found, path, f"it may be a study's: {found.orphans_stay}")
        else:
            found.pieces += _orphan(found, path)
    _spare_teachers(found)
    _looks(found)
    _root(found)
    return found


def _runs(found: Garbage) -> list[SavedRun]:
    """The saved runs that count; adds those that do not."""
    runs = []
    for each in saved_runs(found.store.path):
        if isinstance(each, SavedRun):
            runs.append(each)
            if not each.whole:
                _leave(found, each.path, "it cannot be read")
                found.orphans_stay = found.orphans_stay or f"{each.path} cannot be read"
        elif each.unsure:
            _leave(found, each.path, each.why)
            found.orphans_stay = found.orphans_stay or f"{each.path} is {each.why}"
        else:
            _leave(found, each.path, each.why)
    found.saved = frozenset(run.path for run in runs)
    if not runs:  # rather lost studies than trials that nobody wants
        found.orphans_stay = found.orphans_stay or f"no run is saved in {found.store.path}/studies"
    gone = superseded(runs, latest=found.latest)
    found.pieces += [Piece("runs", (run.path,), _size(run.path)) for run in gone]
    for folder, inside in beneath.walk(found.store.path / "studies"):
        found.pieces += _temporary(folder, [name for name, _ in inside])
    return [run for run in runs if run not in gone]


def _looks(found: Garbage) -> None:
    """Every look stays, whoever needs its trials: what was seen was seen."""
    root = found.store.path / ledger.FOLDER
    for table, sort in _entries(root):
        if not (ledger.is_name(table) and sort == "folder"):
            _leave(found, root / table, "no table's looks")
            continue
        names = [name for name, _ in _entries(root / table)]
        found.pieces += _temporary(root / table, names)
        for name in names:
            whole = name.endswith(".json") and ledger.is_name(name.removesuffix(".json"))
            if not (whole or files.is_temporary(name)):
                _leave(found, root / table / name, "no look")


def _orphan(found: Garbage, path: Path) -> Iterator[Piece]:
    try:
        found.store.trial(path.name)
    except AblateError as error:  # of a newer format
        _leave(found, path, error.message)
        return
    yield Piece("trials", (path,), _size(path), path.name)


def in_trial(
    store: Store, key: str, teachers: AbstractSet[str], left: list[tuple[str, str]]
) -> list[Piece]:
    """What is not needed of a needed trial. Nobody may hold it."""
    folder = store.path / "trials" / key
    counts, ended = _counting(store, key)
    found: list[Piece] = []
    for name, sort in _entries(folder):
        path = folder / name
        kind: Kind | None = None
        if sort == "link":
            left.append((str(path), "a link"))
        elif sort == "folder":
            if files.is_unique_name(name):
                end = store.ending(path)
                idle = end is None or end["status"] != "done"
                if ended and idle and name != counts:
                    kind = "attempts"
                else:
                    found += _in_attempt(path, key, ended, key in teachers)
            elif name.startswith(_RETIRED):
                kind = "retired" if ended else None
            elif name == "claim" or _GRAVE.fullmatch(name):
                # Of a trial that has ended: a grave elsewhere keeps a contender that has judged
                # the same claim, and slept since, from carrying off a living one.
                kind = "claims" if ended else None
            elif name.startswith(_MERGING) or (
                _CLAIMING.fullmatch(name) and (is_dead(path) or _is_old(path))
            ):
                kind = "temporary"
            else:
                left.append((str(path), "no attempt's name"))
        elif name == "trial.json":
            continue
        elif files.is_temporary(name) or _CLOCK.fullmatch(name):
            kind = "temporary" if _is_old(path) else None
        else:
            left.append((str(path), "no file of a trial"))
        if kind is not None:
            found.append(Piece(kind, (path,), _size(path), key))
    return found


def _counting(store: Store, key: str) -> tuple[str, bool]:
    """(the attempt that counts, whether the trial has ended), as `Store.state` has it, whoever
    holds the trial."""
    tries = [(path.name, store.ending(path)) for path in attempt_reader.attempts(store.path, key)]
    done = [each for each in tries if each[1] is not None and each[1]["status"] == "done"]
    name, end = (done[:1] or tries[-1:] or [("", None)])[0]
    return name, end is not None and end["status"] in attempt_reader.FINAL


def _in_attempt(attempt: Path, key: str, ended: bool, teaches: bool) -> Iterator[Piece]:
    """Checkpoints and weights, with the checksum that is beside each, and temporary files."""
    entries = {name for name, sort in _entries(attempt) if sort == "file"}
    checkpoints = {path.name for _, path in attempt_reader.checkpoint_files(attempt)} & entries
    wanted: list[tuple[Kind, str]] = [("temporary", n) for n in entries if files.is_temporary(n)]
    if ended:
        wanted += [("checkpoints", name) for name in sorted(checkpoints)]
        lost = (
            n
            for n in entries
            if attempt_reader.is_sidecar(n) and n.removesuffix(".sha256") not in entries
        )
        wanted += [("temporary", name) for name in lost]
        if not teaches and attempt_reader.WEIGHTS in entries:
            wanted.append(("weights", attempt_reader.WEIGHTS))
    for kind, name in wanted:
        beside = attempt_reader.sidecar(attempt / name)
        paths = (attempt / name, *([beside] if beside.name in entries else []))
        yield Piece(kind, paths, sum(map(_size, paths)), key)


def _spare_teachers(found: Garbage) -> None:
    """Weights stay that a stored trial learns from, whoever asked for it: `verify` needs them."""
    if not found.of("weights"):
        return
    gone = {piece.key for piece in found.of("trials")}
    teachers = set()
    for key in found.store.keys():  # noqa: SIM118 - a store is no dict
        if is_key(key) and key not in gone:
            trial = found.store.trial(key)
            teachers.add(trial.teacher if trial is not None else None)
    found.pieces = [p for p in found.pieces if p.kind != "weights" or p.key not in teachers]


def _root(found: Garbage) -> None:
    path = found.store.path
    for name, sort in _entries(path):
        kind: Kind | None = None
        if sort == "link":
            _leave(found, path / name, "a link")
        elif name == TRASH:
            inside = [path / name / each for each, _ in _entries(path / name)]
            found.pieces += [Piece("removed", (each,), _size(each)) for each in inside]
        elif name in _ROOT:
            continue
        elif _LEDGER.fullmatch(name):
            kind = "temporary" if _is_old(path / name) else None
        elif sort == "folder":
            _leave(found, path / name, "no folder of a store")
        elif _DATABASE.fullmatch(name):
            kind = "databases"
        elif _CRASH.fullmatch(name):
            kind = "crashes"
        elif _REBUILT.fullmatch(name) or files.is_temporary(name):
            kind = "temporary" if _is_old(path / name) else None
        else:
            _leave(found, path / name, "no file of a store")
        if kind is not None:
            found.pieces.append(Piece(kind, (path / name,), _size(path / name)))


def _temporary(folder: Path, names: list[str]) -> Iterator[Piece]:
    for name in sorted(names):
        if files.is_temporary(name) and _is_old(folder / name):
            yield Piece("temporary", (folder / name,), _size(folder / name))


def _leave(found: Garbage, path: Path, why: str) -> None:
    found.left.append((str(path), why))


def _is_old(path: Path) -> bool:
    try:
        return time.time() - beneath.about(path).st_mtime > _OLD
    except OSError:
        return False


def _entries(folder: Path) -> list[beneath.Entry]:
    """Sorted by name; none where the folder cannot be read."""
    try:
        return beneath.entries(folder)
    except OSError:
        return []


def _size(path: Path) -> int:
    """Bytes of a file, or of all in a folder; links count as themselves."""
    try:
        found = beneath.about(path)
    except OSError:
        return 0
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size
    return sum(size for _, size in beneath.sizes(path))


@dataclass
class Removal:
    """What was removed, and what was not: (place, why)."""

    pieces: list[Piece] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(piece.size for piece in self.pieces)


def carry_out(
    found: Garbage,
    kinds: Sequence[Kind] = KINDS,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> Removal:
    """Remove what a survey found of these kinds. told: of pieces done, of so many.

    Raises AblateError if the store cannot be written, or another gc is at work in it.
    """
    store = found.store.path
    wanted = [piece for piece in found.pieces if piece.kind in kinds]
    done = Removal()
    with ExitStack() as held, files.writing(store):
        try:
            held.enter_context(files.locked(store / LOCK, wait=False))
        except BlockingIOError:
            raise AblateError(f"another ablate gc is at work in {store}") from None
        with found.store.saving():
            pass  # what refuses this lock refuses it before anything is removed
        trash = store / TRASH
        if beneath.kind(trash) == "link":
            raise AblateError(f"{trash} is a link; remove it")
        beneath.make_folder(trash, exist_ok=True)
        by_key: dict[str, list[Piece]] = {}
        for piece in wanted:
            by_key.setdefault(piece.key, []).append(piece)
        count = 0
        for key, pieces in by_key.items():
            if key:
                _in_trial(found, key, pieces, trash, done)
            else:
                done.pieces += [piece for piece in pieces if _renamed(piece, trash, done)]
                _empty(trash, done)
            count += len(pieces)
            told(count, len(wanted))
        _forget(trash)
    return done


def _in_trial(found: Garbage, key: str, pieces: list[Piece], trash: Path, done: Removal) -> None:
    store = found.store
    folder = store.path / "trials" / key
    if beneath.kind(folder) != "folder":
        return  # gone meanwhile
    held = claim(store.path, key, "ablate gc")
    if held is None:
        done.left.append((str(folder), "a process has begun to train it"))
        return
    with held:
        with store.saving():
            if pieces[0].kind == "trials":
                _remove_orphan(found, pieces[0], trash, done)
            else:
                _parts(found, held, pieces, trash, done)
        _empty(trash, done)


def _remove_orphan(found: Garbage, piece: Piece, trash: Path, done: Removal) -> None:
    if any(piece.key in run.keys for run in _since(found)):
        done.left.append((str(piece.paths[0]), "a run that names it was saved just now"))
    elif _renamed(piece, trash, done):
        done.pieces.append(piece)


def _parts(found: Garbage, held: Claim, pieces: list[Piece], trash: Path, done: Removal) -> None:
    teachers = {key for run in _since(found) for key in run.teachers}
    asked = {(piece.kind, piece.paths[0]): piece for piece in pieces}
    for piece in in_trial(found.store, held.key, teachers, []):
        # A dead claim has another name since ours took its place.
        named = asked.get((piece.kind, piece.paths[0])) or asked.get((piece.kind, held.path))
        if named is not None and piece.paths[0] != held.path and _renamed(piece, trash, done):
            done.pieces.append(named)


def _since(found: Garbage) -> list[SavedRun]:
    """Runs that were saved since the survey."""
    others = saved_runs(found.store.path, without=found.saved)
    return [each for each in others if isinstance(each, SavedRun)]


def _renamed(piece: Piece, trash: Path, done: Removal) -> bool:
    """Take its files away, the one that it is called by first; `_empty` deletes them."""
    for path in piece.paths:
        if path.parent == trash:
            continue
        try:
            beneath.rename(path, trash / files.unique_name())
        except FileNotFoundError:  # somebody else was faster
            continue
        except OSError as error:
            done.left.append((str(path), error.strerror or type(error).__name__))
            return False
    return True


def _empty(trash: Path, done: Removal) -> None:
    for name, _ in beneath.entries(trash):
        _delete(trash / name, done)


def _delete(path: Path, done: Removal) -> None:
    """A file, a link or a folder with all in it; never through a link."""
    try:
        if stat.S_ISDIR(beneath.about(path).st_mode):
            beneath.remove_tree(path)
        else:
            beneath.remove(path)
    except FileNotFoundError:
        return
    except (OSError, RecursionError) as error:
        done.left.append((str(path), getattr(error, "strerror", "") or type(error).__name__))


def _forget(trash: Path) -> None:
    try:
        beneath.remove_folder(trash)
    except OSError:  # something in it could not be deleted: the next gc tries again
        return
