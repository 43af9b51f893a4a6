"""The run as JSON, one event per line on stdout: `ablate run --json`.

Every event has schema_version, event, time (ISO 8601, UTC). Numbers are unrounded, NaN is null,
accuracies are fractions. Events are only ever extended.

    study_start   study, file, command, trials, order, states {key: status}, labels {key: text}
    trial_start   key, label, device
    trial_resumed key, epoch: finished epochs that are not repeated
    epoch         key, epoch, epochs, metrics, seconds, eval_seconds, images
    trial_end     key, label, status, message
    elsewhere     keys, holder: trials that another process trains
    stopping      signal
    study_end     study, statuses {key: status}, done, failed, seconds, signal, tables
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.console.tracking import Tracker
    from ablate.resolved import ResolvedStudy
    from ablate.store import TrialState

_RECORDED = ("epoch", "metrics", "seconds", "eval_seconds", "images")


class EventView:
    """An observer that writes JSON."""

    def __init__(self, output: Output, tracker: Tracker) -> None:
        self._output = output
        self._tracker = tracker
        self._labels = tracker.resolved.labels

    def __enter__(self) -> EventView:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clear."""

    def study_start(self, resolved: ResolvedStudy, states: dict[str, TrialState]) -> None:
        """What is asked for, and what is there."""
        self._output.event(
            "study_start",
            study=resolved.name,
            file=resolved.file,
            command=resolved.command,
            trials=len(resolved.order),
            order=list(resolved.order),
            states={key: states[key].status for key in resolved.order},
            labels=dict(resolved.labels),
        )

    def trial_start(self, key: str, device: str) -> None:
        """A trial began."""
        self._tracker.start(key)
        self._output.event("trial_start", key=key, label=self._labels[key], device=device)

    def resumed(self, key: str, epoch: int) -> None:
        """It goes on where it was."""
        self._tracker.resumed(key, epoch)
        self._output.event("trial_resumed", key=key, epoch=epoch)

    def progress(self, key: str, step: int, of: int) -> None:
        """Not an event."""
        self._tracker.step(key, step, of)

    def epoch(self, key: str, record: dict[str, Any]) -> None:
        """An epoch."""
        progress = self._tracker.epoch(key, record)
        known = {name: record.get(name) for name in _RECORDED}
        self._output.event("epoch", key=key, epochs=progress.epochs, **known)

    def trial_end(self, key: str, status: str, message: str) -> None:
        """A trial ended."""
        self._tracker.end(key, status, message)
        self._output.event(
            "trial_end", key=key, label=self._labels[key], status=status, message=message
        )

    def elsewhere(self, keys: Sequence[str], who: str) -> None:
        """Somebody else trains them."""
        self._output.event("elsewhere", keys=list(keys), holder=who)

    def stopping(self, signal_name: str) -> None:
        """A signal came."""
        self._output.event("stopping", signal=signal_name)
