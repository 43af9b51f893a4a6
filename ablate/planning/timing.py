"""How long trials take here, from those stored already."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from ablate.store.journal import read_eval_seconds
from ablate.util.files import moment

if TYPE_CHECKING:
    from ablate.core.trial import Trial
    from ablate.store.store import Store, TrialResult


@dataclass(frozen=True)
class _Seen:
    """seconds: of an epoch, start and evaluation included. result: whose it is."""

    tricks: tuple[str, ...]
    dataset: str
    seconds: float
    trial: Trial
    result: TrialResult


@dataclass(frozen=True)
class Sizes:
    """Images of an epoch: trained on, in whole batches, and evaluated on."""

    train: float
    eval: float


class Timings:
    """Times of finished trials on this machine.

    `used` counts the trials that the estimates so far rest on.
    """

    def __init__(self, store: Store | None, device_names: Sequence[str] | None) -> None:
        """device_names: as trials recorded theirs; a trial on another device says nothing. None:
        any device of this machine."""
        self._store = store
        self._devices = None if device_names is None else frozenset(device_names)
        self._host = platform.node()
        self._seen: dict[tuple[str, int | None, str], list[_Seen]] | None = None
        self._used: set[tuple[str, int | None, str]] = set()
        self._untold = False
        self._known_parts: dict[str, tuple[float, float, float] | None] = {}

    @property
    def used(self) -> int:
        """How many stored trials were looked at for estimates."""
        seen = self._seen or {}
        return sum(len(seen[group]) for group in self._used if group in seen)

    @property
    def untold(self) -> bool:
        """Whether there were trials of a model and size that told no time for other data."""
        return self._untold

    def epoch_seconds(self, trial: Trial) -> float | None:
        """An epoch of `trial` on this machine; None where no such trial was trained here.

        From trials of the same model, image size and number format, those with the same tricks and
        data set first. Of others the time per image counts, where both sizes are known; None where
        they are not.
        """
        if self._seen is None:
            self._seen = self._read()
        group = _group(trial)
        seen = self._seen.get(group, [])
        tricks, dataset = trial.tricks_key(), _dataset(trial)
        same = [s for s in seen if s.dataset == dataset]
        alike = [s for s in same if s.tricks == tricks]
        if alike:
            self._used.add(group)
            return median(s.seconds for s in alike)
        ranked = [s for s in seen if s.tricks == tricks], same, seen
        for some in ranked:
            found = self._scaled(some, trial)
            if found:
                self._used.add(group)
                return median(found)
        self._untold |= bool(seen)
        return None

    def _scaled(self, seen: Sequence[_Seen], trial: Trial) -> list[float]:
        """What an epoch of `trial` takes by each of these, those left out whose size, or whose
        trial's, is not known."""
        wanted = sizes(trial)
        found = []
        for one in seen:
            if one.dataset == _dataset(trial):
                found.append(one.seconds)
            elif wanted is not None and (parts := self._parts(one)) is not None:
                per_train, per_eval, start = parts
                once = start / trial.recipe.epochs
                found.append(per_train * wanted.train + per_eval * wanted.eval + once)
        return found

    def _parts(self, one: _Seen) -> tuple[float, float, float] | None:
        """Seconds of an image that is trained on, of one that is evaluated on, and of the rest of
        the trial, its start: that does not grow with the data."""
        if one.result.attempt not in self._known_parts:
            self._known_parts[one.result.attempt] = _parts(one)
        return self._known_parts[one.result.attempt]

    def total(self, trials: Iterable[tuple[Trial, int]], slots: int) -> float | None:
        """Seconds for (trial, epochs left) pairs, `slots` at a time; None if one is unknown."""
        work = []
        for trial, epochs in trials:
            seconds = self.epoch_seconds(trial)
            if seconds is None:
                return None
            work.append(seconds * epochs)
        if not work:
            return 0.0
        return max(sum(work) / max(1, min(slots, len(work))), *work)

    def _read(self) -> dict[tuple[str, int | None, str], list[_Seen]]:
        found: dict[tuple[str, int | None, str], list[_Seen]] = {}
        for key in self._store.keys() if self._store else ():
            assert self._store is not None
            trial = self._store.trial(key)
            result = self._store.result(key) if trial else None
            if trial is None or result is None or not self._here(result):
                continue
            seconds = _seconds(result)
            if seconds is not None:
                found.setdefault(_group(trial), []).append(
                    _Seen(trial.tricks_key(), _dataset(trial), seconds, trial, result)
                )
        return found

    def _here(self, result: TrialResult) -> bool:
        known = result.environment
        if known.get("host") != self._host:
            return False
        return self._devices is None or known.get("device_name") in self._devices


def _group(trial: Trial) -> tuple[str, int | None, str]:
    return trial.recipe.model, trial.recipe.image_size, trial.numerics.model_dump_json()


def _dataset(trial: Trial) -> str:
    dataset = trial.dataset
    return f"{dataset.fingerprint}/{dataset.limit}/{dataset.held_out}"


def sizes(trial: Trial) -> Sizes | None:
    """Images of an epoch of `trial`; None where the size of its data set is not known."""
    from ablate.data.fingerprint import known_counts

    dataset, batch = trial.dataset, trial.recipe.batch_size
    counts = known_counts(dataset)
    if counts is None:
        return None
    train, tested = (min(n, dataset.limit or n) for n in counts)
    if dataset.held_out:  # some of train take the place of the evaluation images
        tested = round(train / dataset.held_out)
        train -= tested
    return Sizes(train=max(train // batch, 1) * batch, eval=tested)


def _parts(one: _Seen) -> tuple[float, float, float] | None:
    curves, known = one.result.curves, sizes(one.trial)
    trained = curves.images or (known.train if known else None)
    tested = one.result.summary.get("examples") or (known.eval if known else None)
    evaluations = read_eval_seconds(one.result.lines)
    if not (trained and tested and curves.typical and evaluations):
        return None
    training, testing = curves.typical, median(evaluations)
    start = max(0.0, (one.seconds - training - testing) * curves.epochs)
    return training / trained, testing / tested, start


def _seconds(result: TrialResult) -> float | None:
    """Wall time per epoch, start included; without it where the trial was resumed."""
    if result.resumed_from is None and result.curves.epochs:
        begin, end = moment(result.started), moment(result.finished)
        if begin is None or end is None:
            return None
        return max((end - begin).total_seconds(), 1e-3) / result.curves.epochs
    evaluations = read_eval_seconds(result.lines)
    typical = result.curves.typical
    return typical + median(evaluations) if typical and evaluations else typical
