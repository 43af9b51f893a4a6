"""Show the stages of `ablate run` to a person or a program, and the profiles of `--profile`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.console.json_view import EventView, study_start
from ablate.console.live_view import LiveView
from ablate.console.log_view import LogView, stamped
from ablate.console.progress import Progress
from ablate.console.stages import stage_event, stage_lines
from ablate.console.tracker import Tracker
from ablate.util.files import read_json
from ablate.util.text import aligned, count

if TYPE_CHECKING:
    from ablate.console.json_view import EventView
    from ablate.console.live_view import LiveView
    from ablate.console.log_view import LogView
    from ablate.console.output import Line, Output
    from ablate.console.tracker import Tracker
    from ablate.engine.profiler_report import Profile
    from ablate.execution.executor import Workers
    from ablate.execution.runner import Outcome
    from ablate.session.session import Session


class Training:
    """What `session.stages.run_stages` asks for. A context manager: its stages share processes.

    profiled: trials of which it was written where their time went.
    """

    def __init__(self, output: Output, *, profile: bool) -> None:
        self._output = output
        self._profile = profile
        self._live = output.err.live and output.quiet == 0 and not output.json
        self._started = False  # the study, for `--json`
        self._checked = False
        self._stack = ExitStack()
        self._workers: Workers | None = None
        self.profiled: frozenset[str] = frozenset()

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def stage(self, session: Session) -> Outcome:
        """Train one of them."""
        self._prepare(session)
        if self._workers is None:  # they import while this process checks
            self._workers = self._stack.enter_context(session.workers())
        self._check(session)
        profiled: frozenset[str] = frozenset()
        if self._profile and session.stage.kind != "tune":
            profiled = session.to_profile()
            self.profiled |= profiled
        work, states, store = session.work, session.work.states, session.store
        tracker = Tracker.begin(session.resolved, states, store, work.again, session.seconds())
        with self._view(session, tracker) as view:
            return session.train(view, self._workers, profiled)

    def ended(self, session: Session, following: Session | None) -> None:
        """Say what one came to, and what comes next."""

        if self._output.json:
            self.begun(session)
            self._output.event("stage_end", **stage_event(session, following))
            return
        for line in stage_lines(session, following):
            self._output.note(line if self._live else stamped(line))

    def begun(self, session: Session) -> None:
        """With --json: the study's start, where nothing was to be trained so far."""
        if not self._started:
            self._started = True
            statuses = {key: state.status for key, state in session.work.states.items()}
            study_start(self._output, session.resolved, statuses)

    def _prepare(self, session: Session) -> None:
        """Say what is to be done, and decode what is not decoded yet."""
        headline = session.headline()
        if not self._output.json:
            self._output.note(headline if self._live else stamped(headline.replace(" · ", ", ")))
        with Progress(self._output) as progress:

            def told(name: str, done: int, total: int, speed: float) -> None:
                amount = f"{done:,}/{total:,}  {speed:,.0f} images/s"
                progress.update(name, "decoding", done, total, amount)

            for name, images in session.prepare(told):
                if self._live:
                    progress.finish(f"{name}  {images:,} images in the cache")

    def _check(self, session: Session) -> None:
        """Refuse tricks that do nothing, once: later stages train the same rows."""
        if self._checked:
            return
        self._checked = True
        for note in session.check_effects():
            self._output.warn(note)
        if self._output.verbose > 1:
            self._hooks_bound(session)

    def _view(self, session: Session, tracker: Tracker) -> EventView | LiveView | LogView:
        if self._output.json:
            first, self._started = not self._started, True
            return EventView(self._output, tracker, session.stage, first=first)
        if self._live:
            return LiveView(self._output, tracker)

        return LogView(self._output, tracker)

    def _hooks_bound(self, session: Session) -> None:
        """With -vv: which tricks act where, row by row."""
        from ablate.tricks.construct import construct
        from ablate.tricks.hooks import Hooks

        for table in session.resolved.tables:
            for row in table.rows:
                trial = session.resolved.trials[row.keys[0]]
                acting = Hooks(construct(trial.tricks, bundled_only=session.bundled_only)).acting
                told = [f"{hook}: {' → '.join(names)}" for hook, names in acting.items() if names]
                self._output.note(
                    f"{table.dataset} {row.label} ({row.keys[0][:8]}) {' · '.join(told)}"
                )


def nothing(output: Output) -> None:
    """All trials are done: there was nothing to time."""
    output.note(
        "--profile: only what is trained is timed",
        "  --store DIR trains all of it anew elsewhere · --retrain TRICK what has that trick",
    )


def tell(session: Session, output: Output, keys: Iterable[str]) -> None:
    """A table for each, in the study's order; with --json an event."""
    for key, path, profile in _found(session, set(keys)):
        label = session.resolved.labels[key]
        if output.json:
            output.event("profile", key=key, path=str(path), profile=profile.model_dump())
        else:
            output.note("", *_lines(profile, f"{key[:6]} {label}", path))


def _found(session: Session, keys: set[str]) -> Iterator[tuple[str, Path, Profile]]:
    from ablate.engine.profiler_report import PROFILE, read
    from ablate.store import attempt_reader

    for key in session.resolved.order:
        if key not in keys:
            continue
        for attempt in attempt_reader.attempts(session.store.path, key)[-1:]:
            profile = read(read_json(attempt / PROFILE))
            if profile is not None:  # one that failed early, or was trained elsewhere, has none
                yield key, attempt, profile


def _lines(profile: Profile, name: str, path: Path) -> list[Line]:
    from ablate.engine.profiler_report import ALIGN, TRACE, cells

    head = f" {name}: {profile.seconds:.1f} s, {count(profile.steps, 'step')} timed"
    if profile.traced_steps:
        head += f", {profile.traced_steps:,} traced"
    lines: list[Line] = [[("Profile", "bold"), (head, "")]]
    lines += [f"  {line}" for line in aligned(cells(profile), ALIGN)]
    if (path / TRACE).exists():
        lines.append(f"  {path / TRACE}      for ui.perfetto.dev")
    return lines
