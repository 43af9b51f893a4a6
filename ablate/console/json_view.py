"""The run as JSON, one event per line on stdout: `ablate run --json`.

Every event has schema_version, event, time (ISO 8601, UTC). Numbers are unrounded, NaN is null,
accuracies are fractions. Events are only ever extended.

    study_start   study, file, command, trials, order, states {key: status}, labels {key: text}
    stage_start   of a run with stages, each one's; the first one's follows study_start: stage
                  ("tune", "look", "train"), words, trials, order, states, labels, and look
                  ({number, of, seeds, alpha}, null without --until)
    stage_end     stage, words, look; more: whether another stage follows; of "look" unresolved; of
                  "tune" choices [{ablation, dataset, column, row, seed, chosen, setting, reason}]
    trial_start   key, label, device
    trial_resumed key, epoch: finished epochs that are not repeated
    epoch         key, epoch, epochs, metrics, seconds, eval_seconds, images
    trial_end     key, label, status, message
    elsewhere     keys, holder: trials that another process trains
    taken         key, label, holder: a trial that another process has taken over; stopped here
    stopping      signal
    study_end     study, statuses {key: status}, done, failed, seconds, signal, tables
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.console.tracker import Tracker
    from ablate.core.resolved_study import ResolvedStudy
    from ablate.session.session import Stage
    from ablate.store.store import TrialState

_RECORDED = ("epoch", "metrics", "seconds", "eval_seconds", "images")


class EventView:
    """An observer that writes JSON."""

    def __init__(
        self, output: Output, tracker: Tracker, stage: Stage | None = None, *, first: bool = True
    ) -> None:
        """stage: of a run that has several; first: of them."""
        self._output = output
        self._tracker = tracker
        self._stage = stage
        self._first = first
        self._labels = tracker.resolved.labels

    def __enter__(self) -> EventView:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clear."""

    def study_start(self, resolved: ResolvedStudy, states: dict[str, TrialState]) -> None:
        """What is asked for, and what is there."""
        statuses = {key: states[key].status for key in resolved.order}
        if self._first:
            study_start(self._output, resolved, statuses)
        if self._stage is not None and self._stage.words:
            self._output.event(
                "stage_start",
                stage=self._stage.kind,
                words=self._stage.words,
                look=look(resolved),
                **_asked(resolved, statuses),
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

    def warning(self, text: str) -> None:
        """What should be known."""
        self._output.event("warning", message=text)

    def taken(self, key: str, who: str) -> None:
        """Somebody else trains it now."""
        self._output.event("taken", key=key, label=self._labels[key], holder=who)

    def stopping(self, signal_name: str | None) -> None:
        """A signal came."""
        self._output.event("stopping", signal=signal_name)


def study_start(output: Output, resolved: ResolvedStudy, statuses: Mapping[str, str]) -> None:
    """What is asked for, and what is there."""
    output.event(
        "study_start",
        study=resolved.name,
        file=resolved.file,
        command=resolved.command,
        **_asked(resolved, statuses),
    )


def look(resolved: ResolvedStudy) -> dict[str, Any] | None:
    """The look of an `--until` run."""
    until = resolved.until
    if until is None:
        return None
    number, of = until.number, len(until.looks)
    return {"number": number, "of": of, "seeds": until.seeds, "alpha": until.alpha}


def _asked(resolved: ResolvedStudy, statuses: Mapping[str, str]) -> dict[str, Any]:
    return {
        "trials": len(resolved.order),
        "order": list(resolved.order),
        "states": {key: statuses.get(key, "new") for key in resolved.order},
        "labels": dict(resolved.labels),
    }
