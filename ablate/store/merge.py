"""Adding another store's trials and saved studies to this one.

An attempt's name is UTC time and a random suffix, so two stores never have two attempts of one
name, and copying is safe. Each is copied beside its place, synced and renamed; one that is there is
not copied again, so that whoever was killed runs the same command again. Nothing is deleted, and
the other store is only read. `ablate.store.untrusted` says what is fit to be taken over.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ablate.errors import AblateError
from ablate.store import attempt_reader, ledger, untrusted
from ablate.store.lease import claim
from ablate.store.ledger import KeptLook
from ablate.store.past_looks import begin, looks_of_runs
from ablate.store.store import Store
from ablate.store.untrusted import ForeignAttempt, Unfit
from ablate.util import beneath, files

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy
    from ablate.core.trial import Trial

_KEPT_WHOLE: Final = ("metrics.jsonl", "predictions.npz", attempt_reader.WEIGHTS)
_PREPARED: Final = ".merging-"
_PIECE: Final = 1 << 20
_SPARE: Final = 64 << 20  # bytes that are left free


@dataclass(frozen=True)
class ForeignTrial:
    """A trial of the other store and what of it this one lacks.

    retire: names of attempts here of which the other store has the end.
    """

    key: str
    label: str
    trial: Trial
    attempts: tuple[ForeignAttempt, ...]
    retire: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conflict:
    """A trial of which two finished attempts measured different numbers.

    first: the attempt that counts, since it began first; other: one that does not. changes: whether
    another attempt counted here before, so that what is reported here changes.
    """

    key: str
    label: str
    metric: str
    first: str
    value: float
    other: str
    other_value: float
    changes: bool


@dataclass
class Merge:
    """What one store brings to another.

    studies: (name, invocation, text) of what is new. looks: of its ledger, what is new; counted:
    whether it has one, else its saved runs say which tables it printed. present: attempts that are
    there already. defined: definitions that were written here. idle: unfinished attempts at trials
    that are finished. left_out: (what, why).
    """

    other: Path
    theirs: Store  # held open: nothing in it is read through a link
    trials: list[ForeignTrial] = field(default_factory=list)
    studies: list[tuple[str, str, bytes]] = field(default_factory=list)
    looks: list[KeptLook] = field(default_factory=list)
    counted: bool = True
    conflicts: list[Conflict] = field(default_factory=list)
    present: int = 0
    idle: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)
    copied: int = 0
    defined: int = 0

    @property
    def attempts(self) -> int:
        """To be copied."""
        return sum(len(trial.attempts) for trial in self.trials)

    @property
    def size(self) -> int:
        """Bytes to be copied."""
        return sum(a.size for t in self.trials for a in t.attempts)

    @property
    def clean(self) -> bool:
        """Whether all of the other store is, or can be, here, and nothing disagrees."""
        return not self.left_out and not self.conflicts


def survey(store: Store, other: Path) -> Merge:
    """What `other` has that `store` lacks; reads only. Raises AblateError where it is no store."""
    theirs = Store.open(other, create=False)
    if theirs.path.resolve() == store.path.resolve():
        raise AblateError(f"{other} is this store itself", hint="ablate merge OTHER")
    merge = Merge(theirs.path, theirs)
    for key in untrusted.keys(theirs.path):
        try:
            _survey_trial(store, key, merge)
        except Unfit as unfit:
            merge.left_out.append(
                (f"trials/{key}" if not untrusted.is_key(key) else key, str(unfit))
            )
    _survey_studies(store, merge)
    _survey_looks(store, merge)
    return merge


def _survey_trial(store: Store, key: str, merge: Merge) -> None:
    trial, label = untrusted.definition(merge.other, key)
    live = untrusted.live_holder(merge.other, key)
    if live is not None:
        who = f"pid {live.pid} on {live.host}"
        raise Unfit(f"{label}: it is being trained there ({who}); merge again when it is done")
    here = {path.name: path for path in attempt_reader.attempts(store.path, key)}
    found = []
    for path in untrusted.attempts(merge.other, key):
        try:
            found.append(untrusted.attempt(path))
        except Unfit as unfit:
            merge.left_out.append((f"{key[:6]} {label}, attempt {path.name}", str(unfit)))
    ended = any(_is_final(store.path, path) for path in here.values())
    ended = ended or any(each.status in attempt_reader.FINAL for each in found)
    wanted, retire = [], []
    for each in found:
        mine = here.get(each.name)
        if mine is not None and _is_unsound(mine, each):
            wanted.append(each)
            retire.append(each.name)
        elif mine is not None and (each.end is None or attempt_reader.ending(mine) is not None):
            merge.present += 1
            if each.end is not None and files.read_json(mine / "done.json") != each.end:
                why = "another attempt of this name is here, and stays"
                merge.left_out.append((f"{key[:6]} {label}, attempt {each.name}", why))
        elif each.end is None and ended:
            merge.idle += 1
        else:
            wanted.append(each)
            retire += [each.name] if mine is not None else []
    if wanted or not _defined(store, key):
        merge.trials.append(ForeignTrial(key, label, trial, tuple(wanted), tuple(retire)))
    _compare(store, key, label, [each for each in found if each.status == "done"], merge)


def _defined(store: Store, key: str) -> bool:
    """Whether what the key stands for is known here; a newer ablate's definition stays."""
    try:
        return store.trial(key) is not None
    except AblateError:
        return True


def _is_unsound(mine: Path, theirs: ForeignAttempt) -> bool:
    """Whether an attempt is damaged here and whole there: the same ending, other lines, scores or
    weights. Whatever is different here has to be damaged, else it stays."""
    if theirs.end is None or files.read_json(mine / "done.json") != theirs.end:
        return False
    names = {name for name, _ in theirs.files} & set(_KEPT_WHOLE)
    if all(_alike(mine / name, theirs.path / name) for name in names):
        return False
    weights = attempt_reader.WEIGHTS
    if weights in names and not attempt_reader.is_sound(mine / weights, theirs.end.get("weights")):
        return attempt_reader.is_sound(theirs.path / weights, theirs.end.get("weights"))
    try:
        untrusted.attempt(mine)
    except Unfit:
        return True
    return any(beneath.kind(mine / name) is None for name in names)


def _alike(one: Path, other: Path) -> bool:
    try:
        with files.open_plain(one) as mine, files.open_plain(other) as theirs:
            while (piece := mine.read(_PIECE)) == theirs.read(_PIECE):
                if not piece:
                    return True
    except OSError:
        pass
    return False


def _is_final(store_path: Path, attempt: Path) -> bool:
    end = attempt_reader.ending(attempt)
    return end is not None and end["status"] in attempt_reader.FINAL


def _compare(
    store: Store, key: str, label: str, theirs: list[ForeignAttempt], merge: Merge
) -> None:
    """The first disagreement between the attempt that will count and another finished one."""
    here = store.finals(key)
    every = {each.name: each.final for each in theirs} | here
    if not theirs or len(every) < 2:
        return
    first, *others = sorted(every)
    changes = bool(here) and first not in here
    for other in others:
        for metric in sorted(every[first] | every[other]):
            a, b = (every[name].get(metric, float("nan")) for name in (first, other))
            if a != b and not (a != a and b != b):
                merge.conflicts.append(Conflict(key, label, metric, first, a, other, b, changes))
                return


def _survey_studies(store: Store, merge: Merge) -> None:
    owners: dict[str, ResolvedStudy | None] = {}
    for name, path in untrusted.studies(merge.other):
        what = f"study {name}, {path.stem}"
        try:
            if store.has_saved(name, path.stem):
                continue
            resolved, text = untrusted.study(name, path)
        except (Unfit, AblateError) as error:
            why = error.message if isinstance(error, AblateError) else str(error)
            merge.left_out.append((what, why))
            continue
        if name not in owners:
            owners[name] = store.latest_study(name)
        mine = owners[name]
        if mine is not None and _is_another(mine, resolved):
            why = f"the name is taken here by {mine.file}; there it is {resolved.file}"
            merge.left_out.append((what, why))
            continue
        merge.studies.append((name, path.stem, text))


def _survey_looks(store: Store, merge: Merge) -> None:
    merge.counted = ledger.is_begun(merge.other)
    for path in untrusted.looks(merge.other):
        try:
            look = untrusted.look(path)
        except Unfit as unfit:
            merge.left_out.append((f"look {path.parent.name[:6]}/{path.stem[:6]}", str(unfit)))
            continue
        if ledger.read(ledger.place(store.path, look)) is None:
            merge.looks.append(look)


def _keep_looks(store: Store, merge: Merge) -> None:
    """Both ledgers in one: a table that both stores printed was looked at in both."""
    with files.writing(store.path), files.locked(store.path / ledger.LOCK):
        looks = list(merge.looks)
        if not merge.counted:
            for name in dict.fromkeys(name for name, _, _ in merge.studies):
                times = {files.time_of(at) for other, at, _ in merge.studies if other == name}
                looks += looks_of_runs(store, name, times)
        for look in looks:
            ledger.keep(store.path, look)


def _is_another(mine: ResolvedStudy, theirs: ResolvedStudy) -> bool:
    """Whether a study of the same name comes from another file with another text."""
    texts = (set(study.toml.values()) for study in (mine, theirs))
    return mine.file != theirs.file and next(texts) != next(texts)


def carry_out(store: Store, merge: Merge, told: Callable[[int], None] = lambda size: None) -> bool:
    """Copy what `survey` found; `told` of the bytes copied so far.

    Returns whether attempts were retired, so that an index which has them must be made anew.

    A trial that is being trained here is left out. Raises AblateError for a disk that refuses.
    """
    free = shutil.disk_usage(store.path).free
    if merge.size + _SPARE > free:
        raise AblateError(
            f"{merge.other} brings {merge.size / 1e9:,.1f} GB; {free / 1e9:,.1f} GB are free",
            hint="free some space and merge again",
        )
    # before their runs stand among those of this store
    with files.writing(store.path), files.locked(store.path / ledger.LOCK):
        begin(store)
    for name, invocation, text in merge.studies:  # first, lest `ablate gc` see trials of no study
        store.keep_saved(name, invocation, text)
    retired = False
    done = 0
    for trial in merge.trials:
        held = claim(store.path, trial.key, "ablate merge")
        if held is None:
            why = "it is being trained here; merge again when it is done"
            merge.left_out.append((f"{trial.key[:6]} {trial.label}", why))
            continue
        with held:
            with contextlib.suppress(AblateError):  # a newer ablate's stays
                merge.defined += store.register(trial.trial, trial.label)
            for each in trial.attempts:
                try:
                    retired |= _copy(store.path, trial, each)
                    merge.copied += 1
                except Unfit as unfit:  # it changed meanwhile
                    merge.left_out.append((f"{trial.key[:6]} {trial.label}", str(unfit)))
                done += each.size
                told(done)
    _keep_looks(store, merge)
    return retired


def _copy(store_path: Path, trial: ForeignTrial, each: ForeignAttempt) -> bool:
    """Copy an attempt whole or not at all; whether one of its name was set aside for it."""
    folder = attempt_reader.trial_path(store_path, trial.key)
    place = folder / each.name
    prepared = folder / f"{_PREPARED}{each.name}-{secrets.token_hex(4)}"
    with files.writing(place):
        for name, _ in beneath.entries(folder):
            if name.startswith(f"{_PREPARED}{each.name}"):
                # of a merge that was killed: the claim says that it is dead
                beneath.remove_tree(folder / name, ignore_errors=True)
        beneath.make_folder(prepared)
        try:
            for name, size in each.files:
                _copy_file(each.path / name, prepared / name, size)
            beneath.sync(prepared)
            aside = each.name in trial.retire and beneath.kind(place) is not None
            if aside:
                beneath.rename(place, folder / f"retired-{files.unique_name()}")
            if beneath.kind(place) is None:  # else another merge was faster
                beneath.rename(prepared, place)
            beneath.sync(folder)
        finally:
            beneath.remove_tree(prepared, ignore_errors=True)
    return aside


def _copy_file(source: Path, target: Path, size: int) -> None:
    """Exactly `size` bytes: what grows meanwhile is not finished."""
    left = size
    with untrusted.plain(source) as read, files.create(target) as written:
        while left and (piece := read.read(min(_PIECE, left))):
            written.write(piece)
            left -= len(piece)
        written.flush()
        os.fsync(written.fileno())
    if left:
        raise Unfit(f"{source.name} became shorter while it was read")
