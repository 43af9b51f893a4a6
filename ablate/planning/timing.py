"""How long trials take here, from those stored already."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from ablate.util.files import moment

if TYPE_CHECKING:
    from ablate.core.trial import Trial
    from ablate.store.store import Store, TrialResult


@dataclass(frozen=True)
class _Seen:
    tricks: tuple[str, ...]
    dataset: str
    images: float  # trained on in an epoch
    seconds: float  # an epoch, start and evaluation included


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

    @property
    def used(self) -> int:
        """How many stored trials were looked at for estimates."""
        seen = self._seen or {}
        return sum(len(seen[group]) for group in self._used if group in seen)

    def epoch_seconds(self, trial: Trial) -> float | None:
        """An epoch of `trial` on this machine; None where no such trial was trained here.

        From trials of the same model, image size and number format, those with the same tricks and
        data set first; of others the time per image counts.
        """
        if self._seen is None:
            self._seen = self._read()
        group = _group(trial)
        seen = self._seen.get(group, [])
        if not seen:
            return None
        self._used.add(group)
        tricks, dataset = trial.tricks_key(), _dataset(trial)
        alike = [s for s in seen if s.tricks == tricks and s.dataset == dataset]
        if alike:
            return median(s.seconds for s in alike)
        here = [s for s in seen if s.tricks == tricks] or [s for s in seen if s.dataset == dataset]
        images = _images(trial)
        return median(s.seconds / s.images for s in here or seen) * images

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
                    _Seen(trial.tricks_key(), _dataset(trial), _images(trial), seconds)
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


def _images(trial: Trial) -> float:
    """Images of an epoch; 1 where their number is not known beforehand."""
    dataset = trial.dataset
    count = dataset.limit if dataset.limit is not None else train_images(dataset.name) or 1
    return count * (1 - 1 / dataset.held_out) if dataset.held_out else count


def train_images(dataset: str) -> int | None:
    """Published number of training images; None for data sets of one's own."""
    from ablate.data.builtin import CATALOGUE

    info = CATALOGUE.get(dataset)
    return info.counts[0] if info and info.counts else None


def _seconds(result: TrialResult) -> float | None:
    """Wall time per epoch, start included; of training alone where the trial was resumed."""
    if result.resumed_from is None and result.curves.epochs:
        begin, end = moment(result.started), moment(result.finished)
        if begin is None or end is None:
            return None
        return max((end - begin).total_seconds(), 1e-3) / result.curves.epochs
    return result.curves.typical
