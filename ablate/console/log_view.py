"""The run as plain lines, one per epoch: for files, pipes and CI."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ablate.console.tracker import WRONG, Tracker
from ablate.core.metrics import metric_named
from ablate.util.text import one_line

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.core.resolved_study import ResolvedStudy
    from ablate.store.store import TrialState


class LogView:
    """An observer that writes lines to stderr."""

    def __init__(self, output: Output, tracker: Tracker) -> None:
        self._output = output
        self._tracker = tracker
        self._total = len(tracker.trials)

    def __enter__(self) -> LogView:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clear."""

    def study_start(self, resolved: ResolvedStudy, states: dict[str, TrialState]) -> None:
        """Said before."""

    def trial_start(self, key: str, device: str) -> None:
        """With -v."""
        self._tracker.start(key)
        if self._output.verbose:
            self._line(f"{self._trial(key)} starts on {device} ({key[:8]})")

    def resumed(self, key: str, epoch: int) -> None:
        """Say where it goes on."""
        progress = self._tracker.resumed(key, epoch)
        next_epoch = min(epoch + 1, progress.epochs)
        self._line(f"{self._trial(key)} continues at epoch {next_epoch}")

    def progress(self, key: str, step: int, of: int) -> None:
        """Not a line."""
        self._tracker.step(key, step, of)

    def epoch(self, key: str, record: dict[str, Any]) -> None:
        """One line."""
        progress = self._tracker.epoch(key, record)
        width = len(str(progress.epochs))
        parts = [f"epoch {progress.epoch:>{width}}/{progress.epochs}"]
        if progress.loss is not None:
            parts.append(f"loss {progress.loss:.3f}")
        parts += metric_words(self._tracker.resolved.metric, record["metrics"])
        if progress.images_per_second:
            speed = progress.images_per_second
            parts.append(f"images/s {speed:.{0 if speed >= 10 else 1}f}")
        self._line(f"{self._trial(key)} {' '.join(parts)}")

    def trial_end(self, key: str, status: str, message: str) -> None:
        """One line if it failed, or has something to say; with -v always."""
        progress = self._tracker.end(key, status, message)
        if status in WRONG:
            word = "FAILED" if status == "failed" else f"FAILED {status}"
            self._line(f"{self._trial(key)} {word}{f': {message}' if message else ''}")
        elif self._output.verbose or (status == "done" and message):
            started = progress.started
            took = f" after {time.monotonic() - started:.0f} s" if started is not None else ""
            self._line(f"{self._trial(key)} {status}{took}{f': {message}' if message else ''}")

    def elsewhere(self, keys: Sequence[str], who: str) -> None:
        """Somebody else trains them."""
        self._line(self._tracker.shared_with(keys, who))

    def warning(self, text: str) -> None:
        """What should be known."""
        self._line(f"warning: {text}")

    def taken(self, key: str, who: str) -> None:
        """Somebody else trains it now."""
        self._line(self._tracker.taken(key, who))

    def stopping(self, signal_name: str | None) -> None:
        """Say what happens now."""
        self._line(STOPPING)

    def _trial(self, key: str) -> str:
        ordinal = self._tracker.trials[key].ordinal
        width = len(str(self._total))
        label = self._tracker.resolved.labels[key].replace(" · ", " ")
        return f"[{ordinal:>{width}}/{self._total}] {label}"

    def _line(self, text: str) -> None:
        self._output.note(stamped(text))


def stamped(text: str) -> str:
    """A log line: the clock on the person's wall, then the text."""
    return f"{datetime.now():%H:%M:%S} {one_line(text)}"  # noqa: DTZ005


STOPPING = (
    "Stopping after this step; the running epoch is repeated next time. Ctrl-C again kills at once."
)


def metric_words(metric: str, metrics: dict[str, Any]) -> list[str]:
    """ "top-1 24.1"; other metrics as they are."""
    value = metrics.get(metric)
    if value is None:
        return []
    known = metric_named(metric)
    return [f"{known.label} {known.text(value)}"]
