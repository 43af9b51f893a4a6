"""The run on a terminal, redrawn in place: rows, dots, bars, means of finished trials, time left.

Never a difference or a verdict: people stop when they like what they see.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.console.log_view import STOPPING
from ablate.console.output import Line, styled
from ablate.console.tracker import WRONG, Progress, Tracker, in_words
from ablate.core.metrics import metric_named
from ablate.util.text import DOTS, clock, duration, pad, width

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from ablate.console.output import Output
    from ablate.console.redrawn import Redrawn
    from ablate.core.resolved_study import ResolvedStudy
    from ablate.store.store import TrialState


_WIDE = 100  # columns from which on the bars have their full length
_MOST_DOTS = 20


@dataclass(frozen=True)
class _Row:
    heading: str  # the data set, and what tells its tables apart
    label: str
    keys: tuple[str, ...]
    choosing: bool = False  # among settings, one trial for each: a mean would say nothing


class LiveView:
    """An observer that redraws a table on stderr."""

    def __init__(self, output: Output, tracker: Tracker) -> None:
        self._output = output
        self._tracker = tracker
        self._rows = _rows(tracker.resolved)
        self._live: Redrawn | None = None
        self._stopping = False
        self._metric = metric_named(tracker.resolved.metric)

    def __enter__(self) -> LiveView:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.__exit__()
            self._live = None

    # ------------------------------------------------------------------------------- events

    def study_start(self, resolved: ResolvedStudy, states: dict[str, TrialState]) -> None:
        """Begin to draw."""
        from ablate.console.redrawn import Redrawn

        self._output.note("")
        drawing, slept = _Drawing(self), self._tracker.slept
        self._live = Redrawn(self._output.stderr, drawing, every=0.25, slept=slept).__enter__()

    def trial_start(self, key: str, device: str) -> None:
        """A dot turns."""
        self._tracker.start(key)
        if self._output.verbose:
            label = self._tracker.resolved.labels[key]
            self._above(f"{label} starts on {device} ({key[:8]})")

    def resumed(self, key: str, epoch: int) -> None:
        """The bar starts where it was."""
        self._tracker.resumed(key, epoch)

    def progress(self, key: str, step: int, of: int) -> None:
        """The bar moves."""
        self._tracker.step(key, step, of)
        if self._live is not None:
            self._live.appear()  # it may have been in the background so far

    def epoch(self, key: str, record: dict[str, Any]) -> None:
        """Loss and speed."""
        self._tracker.epoch(key, record)

    def trial_end(self, key: str, status: str, message: str) -> None:
        """A failure is told at once, above the table."""
        progress = self._tracker.end(key, status, message)
        label = self._tracker.resolved.labels[key]
        if status in WRONG:
            at = f" at epoch {min(progress.epoch + 1, progress.epochs)}"
            if status == "no_effect":
                at = ""
            told = f"✗ {label}: {in_words(status, message)}{at}; the others go on"
            self._above([(told, "failed"), (f" (ablate logs {key[:6]})", "dim")])
        elif self._output.verbose or (status == "done" and message):
            self._above(f"{label} {status}{f': {message}' if message else ''}")

    def elsewhere(self, keys: Sequence[str], who: str) -> None:
        """Somebody else trains them."""
        self._above(self._tracker.shared_with(keys, who))

    def warning(self, text: str) -> None:
        """What should be known."""
        self._above(f"warning: {text}")

    def taken(self, key: str, who: str) -> None:
        """Somebody else trains it now."""
        self._above(self._tracker.taken(key, who))

    def stopping(self, signal_name: str | None) -> None:
        """Say what happens now."""
        self._stopping = True
        self._above(STOPPING)

    def _above(self, line: Line) -> None:
        self._output.note(line)  # rich puts it above what is live on the same console

    # ------------------------------------------------------------------------------ drawing

    def lines(self, columns: int, height: int) -> list[Line]:
        """What is drawn now in so many columns and lines."""
        tracker = self._tracker
        shown, hidden = self._chosen(max(3, height - 4))
        label_width = max([width(row.label) for row in self._rows] + [8]) + 2
        dots_width = max([5, *(self._dots_width(row) for row in self._rows)])
        cells = 24 if columns >= _WIDE else 14
        epochs = max((p.epochs for p in tracker.trials.values()), default=1)
        epoch_width = cells + 2 + 2 * len(str(epochs))
        values = max(len(self._metric.heading), 7)
        head = (
            f"{pad('', label_width)}  {pad('seeds', dots_width)}  {pad('epoch', epoch_width)}  "
            f"loss  {pad(self._metric.heading, values, '>')}  images/s  left"
        )
        lines: list[Line] = [[(head, "dim")]]
        heading = ""
        now = time.monotonic()
        for row in shown:
            if row.heading != heading:
                heading = row.heading
                lines.append([(heading, "bold")])
            running = self._running(row)
            lines.append(
                [
                    (f"  {pad(row.label, label_width - 2)}  ", ""),
                    *self._dots(row, dots_width),
                    ("  ", ""),
                    *_epochs(running, cells, epochs, epoch_width),
                    (self._numbers(row, running, values, now), ""),
                ]
            )
        if hidden:
            lines.append([(self._folded(hidden), "dim")])
        lines.append(self._total(columns))
        return lines

    def _numbers(self, row: _Row, running: Progress | None, values: int, now: float) -> str:
        loss = f"{running.loss:.2f}" if running and running.loss is not None else ""
        mean = None if row.choosing else self._tracker.mean(row.keys)
        value = "" if mean is None else self._metric.text(mean)
        speed = self._speed(row, running)
        seconds = running.seconds_left(now) if running else None
        left = duration(seconds) if seconds is not None else ""
        text = f"  {loss:>4}  {value:>{values}}  {speed:>8}"
        return f"{text}  {left}".rstrip() if left else text.rstrip()

    def _speed(self, row: _Row, running: Progress | None) -> str:
        if running is not None and running.images_per_second:
            return f"{running.images_per_second:,.0f}"
        speeds = [s for k in row.keys if (s := self._tracker.trials[k].images_per_second)]
        return f"{speeds[-1]:,.0f}" if speeds else ""

    def _running(self, row: _Row) -> Progress | None:
        """The one that is furthest."""
        trials = [self._tracker.trials[key] for key in row.keys]
        running = [trial for trial in trials if trial.status == "running"]
        return max(running, key=lambda trial: trial.fraction, default=None)

    def _dots_width(self, row: _Row) -> int:
        return len(row.keys) if len(row.keys) <= _MOST_DOTS else len(f"{len(row.keys)}") * 2 + 1

    def _dots(self, row: _Row, cells: int) -> list[tuple[str, str]]:
        statuses = [self._tracker.trials[key].status for key in row.keys]
        if len(statuses) > _MOST_DOTS:
            return [(pad(f"{statuses.count('done')}/{len(statuses)}", cells), "")]
        return [*(dot(status) for status in statuses), (" " * (cells - len(statuses)), "")]

    def _chosen(self, room: int) -> tuple[list[_Row], list[_Row]]:
        """(rows to draw, rows folded): all, or those that run, then the last that ended."""
        headings = len({row.heading for row in self._rows})
        if len(self._rows) + headings <= room:
            return self._rows, []
        ranked = sorted(self._rows, key=self._rank)
        chosen: set[_Row] = set()
        for row in ranked:
            more = {*chosen, row}
            if len(more) + len({r.heading for r in more}) + 1 > room and chosen:
                break
            chosen = more
        shown = [row for row in self._rows if row in chosen]
        return shown, [row for row in self._rows if row not in chosen]

    def _rank(self, row: _Row) -> tuple[int, float, int]:
        trials = [self._tracker.trials[key] for key in row.keys]
        place = self._rows.index(row)
        if any(trial.status == "running" for trial in trials):
            return 0, 0.0, place
        ended = max((trial.ended or 0.0 for trial in trials), default=0.0)
        return (1, -ended, place) if ended else (2, 0.0, place)

    def _folded(self, rows: list[_Row]) -> str:
        trials = self._tracker.trials
        finished = sum(all(trials[k].status in WRONG | {"done"} for k in r.keys) for r in rows)
        queued = len(rows) - finished
        parts = [f"{finished} done" if finished else "", f"{queued} queued" if queued else ""]
        first, *rest = [part for part in parts if part]
        noun = "row" if len(rows) == 1 else "rows"
        number, word = first.split(" ")
        return "… " + ", ".join([f"{number} {noun} {word}", *rest])

    def _total(self, columns: int) -> Line:
        tracker = self._tracker
        parts = [
            f"{tracker.done}/{len(tracker.trials)} trials",
            clock(time.monotonic() - tracker.began),
        ]
        left = tracker.seconds_left()
        if self._stopping:
            parts.append("stopping")
        elif left is not None:
            parts.append(f"about {duration(left)} left")
        cells = max(10, min(54, columns - 46))
        return [(bar(tracker.fraction(), cells), "good"), (f"  {' · '.join(parts)}", "")]


class _Drawing:
    """What rich asks for at every refresh."""

    def __init__(self, view: LiveView) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns, height = _size(console)
        terminal = self._view._output.err
        for line in self._view.lines(columns, height):
            text = styled(line, terminal)
            # a line that wraps would be drawn over and over
            text.truncate(max(1, columns - 1), overflow="crop")
            yield text


def _size(console: Console) -> tuple[int, int]:
    """The window as it is now: it may have been resized."""
    try:
        columns, height = os.get_terminal_size(console.file.fileno())
    except (OSError, ValueError):  # a stream without a descriptor
        columns, height = 0, 0
    return columns or console.width, height or 25


def _epochs(running: Progress | None, cells: int, epochs: int, whole: int) -> list[tuple[str, str]]:
    if running is None:
        return [(" " * whole, "")]
    number = f"{min(int(running.fraction * running.epochs) + 1, running.epochs)}"
    said = f" {number:>{len(str(epochs))}}/{running.epochs}"
    return [(bar(running.fraction, cells), "good"), (pad(said, whole - cells), "")]


def _rows(resolved: ResolvedStudy) -> list[_Row]:
    several = len({table.ablation for table in resolved.tables}) > 1
    rows = []
    drawn: set[str] = set()
    asked = set(resolved.order)
    for table in resolved.tables:
        parts = [table.ablation if several else "", table.dataset, table.column]
        heading = " · ".join(part for part in parts if part)
        for row in table.rows:
            drawn |= {*row.keys, *row.choosing}
            if row.trained and asked.issuperset(row.trained):
                rows.append(_Row(heading, row.label, row.trained))
            elif row.choosing:  # its settings are being chosen, or could not be
                rows.append(_Row(heading, row.label, row.choosing, choosing=True))
    teachers = [key for key in resolved.order if key not in drawn]
    rows += [_Row("used by others", resolved.labels[key], (key,)) for key in teachers]
    return rows


STYLES = {"done": "good", "running": "bold", "new": "dim", "shared": "good", "failed": "failed"}


def bar(fraction: float, cells: int) -> str:
    """`cells` wide: ━━━╸───."""
    filled = max(0.0, min(1.0, fraction)) * cells
    whole = int(filled)
    if whole >= cells:
        return "━" * cells
    return "━" * whole + "╸" + "─" * (cells - whole - 1)


def dot(status: str) -> tuple[str, str]:
    """(symbol, style) of a trial."""
    return DOTS.get(status, "✗"), STYLES.get(status, "failed")
