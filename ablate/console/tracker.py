"""What a run has done so far, from the runner's events; the views draw it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy
    from ablate.store.store import Store, TrialState

FINISHED = frozenset({"done", "diverged", "no_effect", "failed", "oom"})
WRONG = FINISHED - {"done"}

# What a status is called where a person reads it.
WORDS = {"oom": "out of memory", "no_effect": "no effect"}


@dataclass
class Progress:
    """A trial of the run. fraction: of its epochs, 0 to 1. value: its metric, once it is done."""

    status: str
    epochs: int
    epoch: int = 0
    fraction: float = 0.0
    loss: float | None = None
    images_per_second: float | None = None
    value: float | None = None
    message: str = ""
    ordinal: int = 0
    started: float | None = None  # monotonic; set when it starts in this run
    fraction_at_start: float = 0.0
    ended: float | None = None

    def seconds_left(self, now: float) -> float | None:
        """From its own pace so far."""
        done = self.fraction - self.fraction_at_start
        if self.started is None or done <= 0.02:
            return None
        return (now - self.started) / done * (1 - self.fraction)


@dataclass
class Tracker:
    """The state of a run. `estimate`: seconds that it was expected to take, None if unknown;
    `store`: the store's path, as printed."""

    resolved: ResolvedStudy
    store: str
    trials: dict[str, Progress] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    estimate: float | None = None
    last_ended: str | None = None
    elsewhere: dict[str, str] = field(default_factory=dict)
    _started: int = 0
    _todo: float = 0.0  # epochs that were missing at the start

    @classmethod
    def begin(
        cls,
        resolved: ResolvedStudy,
        states: Mapping[str, TrialState],
        store: Store,
        again: frozenset[str],
        estimate: float | None,
    ) -> Tracker:
        """From the states before the first trial."""
        self = cls(resolved, str(store.path), estimate=estimate)
        for key in resolved.order:
            trial, state = resolved.trials[key], states[key]
            final = state.status in ("done", "diverged", "no_effect") and key not in again
            progress = Progress(state.status if final else "new", trial.recipe.epochs)
            if final:
                progress.fraction, progress.message = 1.0, state.message
                result = store.result(key) if state.status == "done" else None
                if result is not None:
                    progress.value = result.final.get(resolved.metric)
                    progress.epoch = trial.recipe.epochs
            elif key not in again:
                progress.fraction = state.kept / trial.recipe.epochs
            self.trials[key] = progress
        self._started = sum(p.status in FINISHED for p in self.trials.values())
        self._todo = sum((1 - p.fraction) * p.epochs for p in self.trials.values())
        return self

    # ------------------------------------------------------------------------------- events

    def start(self, key: str) -> Progress:
        """A trial was handed to a worker."""
        progress = self.trials[key]
        if not progress.ordinal:  # else it goes on: its claim had been lost
            self._started += 1
            progress.ordinal = self._started
        progress.status, progress.started = "running", time.monotonic()
        progress.fraction_at_start = progress.fraction
        return progress

    def resumed(self, key: str, epoch: int) -> Progress:
        """It goes on after `epoch` epochs."""
        progress = self.trials[key]
        progress.epoch = epoch
        progress.fraction = progress.fraction_at_start = epoch / progress.epochs
        return progress

    def step(self, key: str, step: int, of: int) -> None:
        """Steps taken."""
        self.trials[key].fraction = step / max(1, of)

    def epoch(self, key: str, record: Mapping[str, Any]) -> Progress:
        """An epoch was evaluated."""
        progress = self.trials[key]
        metrics = record["metrics"]
        progress.epoch = record["epoch"]
        progress.fraction = progress.epoch / progress.epochs
        progress.loss = metrics.get("train_loss", metrics.get("loss"))
        if record.get("seconds"):
            progress.images_per_second = record.get("images", 0) / record["seconds"]
        if progress.epoch == progress.epochs:
            progress.value = metrics.get(self.resolved.metric)
        return progress

    def end(self, key: str, status: str, message: str) -> Progress:
        """A trial ended, here or elsewhere."""
        progress = self.trials[key]
        progress.status, progress.message, progress.ended = status, message, time.monotonic()
        if status == "done":
            progress.fraction = 1.0
        else:
            progress.value = None
        if status == "interrupted":
            progress.status = "new"
        self.elsewhere.pop(key, None)
        self.last_ended = key
        return progress

    def shared_with(self, keys: Sequence[str], who: str) -> str:
        """Other processes train `keys`; returns that in words."""
        self.elsewhere |= dict.fromkeys(keys, who)
        number = f"{len(keys)} trial{'s are' if len(keys) != 1 else ' is'} trained there"
        return f"{self.store} is shared with ablate run ({who}): {number}"

    def taken(self, key: str, who: str) -> str:
        """Another process has taken a trial over; returns that in words."""
        return f"{self.resolved.labels[key]}: taken over by ablate run ({who}); stopped here"

    def slept(self, seconds: float) -> None:
        """The run was stopped for so long, which is no time that anything took."""
        self.began += seconds
        for progress in self.trials.values():
            if progress.started is not None and progress.ended is None:
                progress.started += seconds

    # -------------------------------------------------------------------------------- sums

    @property
    def done(self) -> int:
        """Trials with a final result, diverged ones among them."""
        return sum(p.status in ("done", "diverged", "no_effect") for p in self.trials.values())

    @property
    def failed(self) -> list[str]:
        """Keys of the trials that went wrong, in the order of work."""
        return [k for k in self.resolved.order if self.trials[k].status in WRONG]

    def fraction(self) -> float:
        """Of all epochs of the study."""
        whole = sum(p.epochs for p in self.trials.values())
        return sum(_share(p) * p.epochs for p in self.trials.values()) / max(1, whole)

    def seconds_left(self) -> float | None:
        """From this run's pace, once there is one, else from the estimate; None when done."""
        elapsed = time.monotonic() - self.began
        left = sum((1 - _share(p)) * p.epochs for p in self.trials.values())
        if left <= 0:
            return None
        done = self._todo - left
        if done >= 1 and done >= 0.02 * self._todo:
            return elapsed / done * left
        if self.estimate is not None:
            return max(self.estimate - elapsed, 0.0)
        return None

    def mean(self, keys: Sequence[str]) -> float | None:
        """Mean of the finished trials' metric; NaN is none."""
        values = [
            p.value
            for key in dict.fromkeys(keys)
            if (p := self.trials[key]).status == "done" and p.value is not None
        ]
        finite = [value for value in values if math.isfinite(value)]
        return sum(finite) / len(finite) if finite else None


def _share(progress: Progress) -> float:
    return 1.0 if progress.status in FINISHED else progress.fraction


def in_words(status: str, message: str) -> str:
    """ "out of memory; 0.9 GiB free"; of a failure its message alone."""
    word = WORDS.get(status, status)
    if message and (status == "failed" or message.startswith(word)):
        return message
    return f"{word}; {message}" if message else word
