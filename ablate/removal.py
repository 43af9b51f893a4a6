"""Removing what `ablate.garbage` found, beside whoever trains in the same store.

What is inside a trial goes under that trial's claim, after another look at it. A trial of no study
goes while no run can be saved, unless one that names it was saved meanwhile. Everything is renamed
into one folder first, which cannot be done by halves, and deleted there: what a gc that was killed
left in it, the next one deletes.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ablate import files, garbage, index
from ablate.claims import Claim, claim
from ablate.errors import AblateError
from ablate.garbage import LOCK, TRASH, Garbage, Piece
from ablate.saved_runs import SavedRun, saved_runs


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
    kinds: Sequence[garbage.Kind] = garbage.KINDS,
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
        if trash.is_symlink():
            raise AblateError(f"{trash} is a link; remove it")
        trash.mkdir(exist_ok=True)
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
    index.ingest(store)  # it notices what is gone
    return done


def _in_trial(found: Garbage, key: str, pieces: list[Piece], trash: Path, done: Removal) -> None:
    store = found.store
    folder = store.path / "trials" / key
    if not folder.is_dir() or folder.is_symlink():
        return  # gone meanwhile
    held = claim(store.path, key, "ablate gc")
    if held is None:
        done.left.append((str(folder), "a process has begun to train it"))
        return
    with held:
        with store.saving():
            if pieces[0].kind == "trials":
                _orphan(found, pieces[0], trash, done)
            else:
                _parts(found, held, pieces, trash, done)
        _empty(trash, done)


def _orphan(found: Garbage, piece: Piece, trash: Path, done: Removal) -> None:
    if any(piece.key in run.keys for run in _since(found)):
        done.left.append((str(piece.paths[0]), "a run that names it was saved just now"))
    elif _renamed(piece, trash, done):
        done.pieces.append(piece)


def _parts(found: Garbage, held: Claim, pieces: list[Piece], trash: Path, done: Removal) -> None:
    teachers = {key for run in _since(found) for key in run.teachers}
    asked = {(piece.kind, piece.paths[0]): piece for piece in pieces}
    for piece in garbage.in_trial(found.store, held.key, teachers, []):
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
            path.rename(trash / files.unique_name())
        except FileNotFoundError:  # somebody else was faster
            continue
        except OSError as error:
            done.left.append((str(path), error.strerror or type(error).__name__))
            return False
    return True


def _empty(trash: Path, done: Removal) -> None:
    for name in os.listdir(trash):
        _delete(trash / name, done)


def _delete(path: Path, done: Removal) -> None:
    """A file, a link or a folder with all in it; never through a link."""
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return
    except (OSError, RecursionError) as error:
        done.left.append((str(path), getattr(error, "strerror", "") or type(error).__name__))


def _forget(trash: Path) -> None:
    try:
        trash.rmdir()
    except OSError:  # something in it could not be deleted: the next gc tries again
        return
