"""`ablate status`: what is done, running, failed; with `--watch`, again and again.

Only what trials write is read, and after each look the watcher sleeps at least twenty times as long
as the look took, so that it never takes more than a twentieth of a core from those who train.
"""

from __future__ import annotations

import math
import os
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ablate.cli.app import command
from ablate.cli.options import Options
from ablate.console.live_view import bar
from ablate.console.log_view import stamped
from ablate.console.output import styled
from ablate.console.tracker import in_words
from ablate.errors import AblateError, signal_of
from ablate.util import beneath
from ablate.util.devices import choose_devices, slots
from ablate.util.files import moment
from ablate.util.text import count, duration, megabytes, pad, width

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from ablate.console.output import Line, Output
    from ablate.core.resolved_study import ResolvedStudy
    from ablate.planning.timing import Timings
    from ablate.store.store import Store, TrialState


HELP = """\
Show, for every stored study, what is done, running and failed, and the time left.

Usage: ablate status [options]
Example    ablate status --watch

           --watch [SECONDS]    look again every so many seconds [default: 2] until what runs is
                                done; Ctrl-C ends the watching, not the run
           --store DIR          [env: ABLATE_STORE] [default: ablate-results]
"""

FAILED = ("failed", "oom", "diverged", "no_effect")


@command("status", HELP)
def status(
    options: Options,
    seconds: Annotated[float | None, typer.Argument(metavar="SECONDS")] = None,
    watch: Annotated[bool, typer.Option("--watch")] = False,
) -> None:
    """Show it."""
    from ablate.planning.timing import Timings
    from ablate.store.store import Store

    output = options.output()
    if watch:
        every = DEFAULT if seconds is None else seconds
        check_seconds(every)
        Watch(options.store_path, output, every).run()
        return
    if seconds is not None:
        raise AblateError("SECONDS is for --watch", hint=f"ablate status --watch {seconds:g}")
    store = Store.open(options.store_path, create=False)
    found = look(store, Timings(store, None))
    for name in store.studies():
        if (damaged := store.damaged_run(name)) is not None:
            output.warn(f"the latest saved run of '{name}' is damaged: {damaged}")
    if output.json:
        output.document({"store": str(store.path), "studies": found})
        return
    if not found:
        raise AblateError(f"nothing is stored in {store.path}", hint="ablate run STUDY trains one")
    output.result(*table(found, store.path, output))


def look(store: Store, timings: Timings) -> list[dict[str, Any]]:
    """What every stored study has done, as `--json` says it; the one invoked last first."""
    return [one for name in store.studies() if (one := _look(store, name, timings)) is not None]


def table(found: list[dict[str, Any]], path: Path, output: Output) -> list[Line]:
    """A line for each study below a head, aligned."""
    rows = [["study", "done", "running", "failed", "left", "now or last"]]
    for one in found:
        left = duration(one["seconds_left"]) if one["seconds_left"] else ""
        if one["left"] and not left:
            left = count(one["left"], "trial")
        done = f"{one['done']:,}/{one['trials']:,}"
        rows.append([one["study"], done, f"{one['running']}", f"{one['failed']}", left, one["now"]])
    head, *lines = output.table(rows, "<<>>>")
    size = f"{path}, {megabytes(_size(path))}"
    space = max([width(head), *(width(line) for line in lines)])
    return [
        [(f"{pad(head, max(space - width(size), width(head) + 2))}{size}", "dim")],
        *lines,
    ]


def _look(store: Store, name: str, timings: Timings) -> dict[str, Any] | None:
    resolved = store.latest_study(name)
    if resolved is None:
        return None
    states = store.states(resolved.order)
    statuses: list[str] = [state.status for state in states.values()]
    left = [key for key in resolved.order if states[key].status not in ("done", *FAILED)]
    return {
        "study": name,
        "trials": len(resolved.order),
        "done": statuses.count("done"),
        "running": statuses.count("running"),
        "failed": sum(statuses.count(word) for word in FAILED),
        "left": len(left),
        "seconds_left": _seconds(resolved, states, left, timings),
        "now": _now(resolved, states),
        "active": [
            {
                "key": key,
                "label": resolved.labels[key],
                "epoch": states[key].epoch,
                "epochs": resolved.trials[key].recipe.epochs,
            }
            for key in resolved.order
            if states[key].status == "running"
        ],
        "statuses": {key: state.status for key, state in states.items()},
        "failures": [
            {
                "key": key,
                "label": resolved.labels[key],
                "status": states[key].status,
                "message": states[key].message,
            }
            for key in resolved.order
            if states[key].status in FAILED
        ],
        "labels": dict(resolved.labels),
        "command": resolved.command,
    }


def _seconds(
    resolved: ResolvedStudy, states: dict[str, TrialState], left: list[str], timings: Timings
) -> float | None:
    if not left:
        return None
    running = sum(state.status == "running" for state in states.values())
    trials = resolved.trials
    remaining = ((trials[k], max(1, trials[k].recipe.epochs - states[k].epoch)) for k in left)
    if trials[left[0]].numerics.device_type == "cpu":
        return timings.total(remaining, slots(choose_devices("cpu")))
    return timings.total(remaining, max(1, running))


def _now(resolved: ResolvedStudy, states: dict[str, TrialState]) -> str:
    """The trial that runs, else one that failed, else when the last one ended."""

    running = [key for key in resolved.order if states[key].status == "running"]
    if running:
        key = running[0]
        epochs = resolved.trials[key].recipe.epochs
        epoch = min(states[key].epoch + 1, epochs)
        more = f" (and {len(running) - 1} more)" if len(running) > 1 else ""
        return f"{resolved.labels[key]} · epoch {epoch}/{epochs}{more}"
    failed = [key for key in resolved.order if states[key].status in FAILED]
    if failed:
        key = failed[-1]
        told = in_words(states[key].status, states[key].message)
        more = f" (and {len(failed) - 1} more: ablate logs)" if len(failed) > 1 else ""
        return f"✗ {key[:6]} {resolved.labels[key]}: {told}{more}"
    begun = [key for key in resolved.order if states[key].status == "interrupted"]
    if begun:
        key = begun[0]
        kept, epochs = states[key].kept, resolved.trials[key].recipe.epochs
        more = f" (and {len(begun) - 1} more)" if len(begun) > 1 else ""
        return f"interrupted: {resolved.labels[key]} · epoch {kept}/{epochs} kept{more}"
    done = [state for state in states.values() if state.status == "done"]
    if not done:
        return "not begun"
    times = [time for state in done if (time := moment(state.finished)) is not None]
    return f"✓ last trial done {max(times).astimezone():%Y-%m-%d %H:%M}" if times else "✓ done"


def _size(path: Path) -> int:
    return sum(size for _, size in beneath.sizes(path))


DEFAULT: Final = 2.0  # seconds
_SHARE: Final = 20  # times the time of a look that is slept at least
_CELLS: Final = 24


def check_seconds(seconds: float) -> None:
    """Raises AblateError for what is no time to wait."""
    if not (math.isfinite(seconds) and 0.1 <= seconds <= 86400):
        raise AblateError(f"--watch {seconds:g}: expected seconds, from 0.1 to 86400")


class Watch:
    """Looks at a store until what runs in it is done."""

    def __init__(self, path: Path, output: Output, every: float) -> None:
        self._path = path
        self._output = output
        self._every = every
        self._store: Store | None = None
        self._timings: tuple[tuple[int, ...], Timings] | None = None
        self._followed: set[str] = set()  # studies that were seen running
        self._told: dict[str, tuple[Any, ...]] = {}
        self._missing = ""  # what is wrong with the store now
        self._said = ""
        self._found: list[dict[str, Any]] = []

    def run(self) -> None:
        """Watch. Returns when all is done, and at Ctrl-C."""
        if self._path.exists():  # a file, or a store of a newer ablate, becomes no store by waiting
            self._look()
            if self._missing and self._path.exists():
                raise AblateError(self._missing, hint="--store DIR names another")
        try:
            self._live() if self._output.out.live and not self._output.json else self._plain()
        except KeyboardInterrupt as error:
            if signal_of(error) != signal.SIGINT:
                raise

    # ------------------------------------------------------------------------------ looking

    def _look(self) -> float:
        """Look once; the seconds that it took."""
        from ablate.planning.timing import Timings
        from ablate.store.store import Store

        began = time.monotonic()
        try:
            opened = Store.open(self._path, create=False)
            store = self._store = self._store or opened  # it remembers what it has read
            done = tuple(one["done"] for one in self._found)
            if self._timings is None or self._timings[0] != done:
                self._timings = done, Timings(store, None)
            self._found = look(store, self._timings[1])
            self._missing = "" if self._found else f"nothing is stored in {self._path} yet"
        except AblateError as error:  # moved, absent, or half copied
            self._missing = error.message
        except OSError as error:
            self._missing = f"{self._path}: {error.strerror or error}"
        if not self._missing:
            self._followed |= {one["study"] for one in self._found if one["running"]}
        return time.monotonic() - began

    def _over(self) -> bool:
        """Whether nothing runs, and nothing is left of what was seen running, or of anything."""
        if self._missing or any(one["running"] for one in self._found):
            return False
        left = {one["study"] for one in self._found if one["left"]}
        return not left or bool(self._followed and not self._followed & left)

    def _wait(self, took: float) -> None:
        time.sleep(max(self._every, _SHARE * took))

    # ------------------------------------------------------------------------------- a terminal

    def _live(self) -> None:
        from ablate.console.redrawn import Redrawn

        with Redrawn(self._output.stdout, _Drawing(self)) as live:
            try:
                while True:
                    took = self._look()
                    live.refresh()
                    if self._over():
                        break
                    self._wait(took)
            except KeyboardInterrupt as error:
                if signal_of(error) != signal.SIGINT:
                    raise
        if self._found:  # what stays on the screen, whole
            self._output.result(*table(self._found, self._path, self._output))

    def lines(self, columns: int, height: int) -> list[Line]:
        """What is drawn in so many columns and lines."""
        clock = f"{datetime.now():%H:%M:%S}"  # noqa: DTZ005 - the clock on the person's wall
        foot = f"{clock} · every {self._every:g} s · Ctrl-C ends the watching, not the run"
        lines: list[Line] = []
        if self._missing:
            lines.append([(f"{self._missing}: waiting", "worse")])
        if self._found:
            # Below the lines there is the foot, and one line that stays empty.
            room = max(3, height - 2 - len(lines))
            shown, more = self._found, max(0, len(self._found) + 1 - room)
            if more:
                running = [one for one in shown if one["running"]]
                others = [one for one in shown if not one["running"]]
                shown = sorted([*running, *others][: room - 2], key=shown.index)
                more = len(self._found) - len(shown)
            lines += table(shown, self._path, self._output)
            active = [trial for one in self._found for trial in one["active"]]
            free = 0 if more else room - len(shown) - 1
            drawn = active if len(active) <= free else active[: max(0, free - 1)]
            wide = max((width(trial["label"]) for trial in drawn), default=0)
            for trial in drawn:
                whole = max(1, trial["epochs"])
                number = f" {trial['epoch']:>{len(str(whole))}}/{whole}"
                lines.append(
                    [
                        ("  ◐ ", "bold"),
                        (f"{pad(trial['label'], wide)}  ", ""),
                        (bar(trial["epoch"] / whole, _CELLS if columns >= 100 else 14), "good"),
                        (number, ""),
                    ]
                )
            hidden = len(active) - len(drawn)
            if hidden and free:
                lines.append([(f"  … {hidden:,} more running", "dim")])
            if more:
                lines.append([(f"… {more:,} more studies", "dim")])
        return [*lines, [(foot, "dim")]]

    # --------------------------------------------------------------------------------- elsewhere

    def _plain(self) -> None:
        while True:
            took = self._look()
            self._tell()
            if self._over():
                return
            self._wait(took)

    def _tell(self) -> None:
        """A line for each study that is not as it was."""
        if self._missing:
            if self._missing != self._said:
                self._note(f"{self._missing}: waiting")
            self._said = self._missing
            return
        self._said = ""
        for one in self._found:
            facts = tuple(one[name] for name in ("done", "running", "failed", "left", "now"))
            if self._told.get(one["study"]) != facts:
                self._told[one["study"]] = facts
                self._line(one)

    def _line(self, one: dict[str, Any]) -> None:
        if self._output.json:
            self._output.event("status", store=str(self._path), **one)
            return
        parts = [f"{one['done']:,}/{one['trials']:,} done", f"{one['running']} running"]
        parts += [f"{one['failed']} failed"] if one["failed"] else []
        parts += [f"{duration(one['seconds_left'])} left"] if one["seconds_left"] else []
        self._output.result(stamped(f"{one['study']}: {', '.join(parts)}, {one['now']}"))

    def _note(self, text: str) -> None:
        self._output.note(stamped(text))


class _Drawing:
    """What rich asks for at every refresh."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        try:
            columns, height = os.get_terminal_size(console.file.fileno())
        except (OSError, ValueError):  # a stream without a descriptor
            columns, height = 0, 0
        columns, height = columns or console.width, height or 25
        terminal = self._watch._output.out
        for line in self._watch.lines(columns, height):
            text = styled(line, terminal)
            # a line that wraps would be drawn over and over; the whole stands there at the end
            text.truncate(max(1, columns - 1), overflow="crop")
            yield text
