"""`ablate run`: train what is missing, then print the table."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli.app import command
from ablate.cli.options import Datasets, Limit, Options, Seeds, Settings
from ablate.cli.selection import Selection

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.console.tracking import Tracker
    from ablate.report.model import ReportTable
    from ablate.runner import Outcome
    from ablate.session import Session

HELP = """\
Train every trial of a study that the store does not have yet, then print the table.

Usage: ablate run STUDY [options]
Example    ablate run studies/group1.toml --set recipe.epochs=2 --seeds 1        a quick try

What       --seeds N            seeds 0 to N−1 instead of the study's
           --dataset NAME       only this dataset; may be repeated
           --limit N            at most N images a split, class-balanced, for a quick try
           --retrain TRICK      train again whatever this trick is part of
           --set KEY=VALUE      change one setting (recipe.* and tricks.* enter the key)
Where      --device NAME        auto, cpu, cuda, cuda:1 [default: auto, all GPUs]
           --store DIR          [env: ABLATE_STORE] [default: ablate-results]
           --data DIR           [env: ABLATE_DATA] [default: ~/.cache/ablate]
Output     -q  -qq              only the table and errors; only errors
           -v  -vv              each trial's start and end too; what acts at each hook
           --json               one event per line on stdout instead of the table
           --profile            also write where the time went, for each row's first seed
Ctrl-C is safe: the same command continues. Exit: 0 done, 1 a trial failed, 2 refused beforehand.
"""


@command("run", HELP)
def run(
    options: Options,
    study: Annotated[str, typer.Argument(metavar="STUDY")],
    seeds: Seeds = None,
    dataset: Datasets = None,
    limit: Limit = None,
    retrain: Annotated[list[str] | None, typer.Option("--retrain")] = None,
    settings: Settings = None,
    device: Annotated[str, typer.Option("--device")] = "auto",
    profile: Annotated[bool, typer.Option("--profile")] = False,
) -> None:
    """Run it."""
    began = time.monotonic()
    from ablate.cli import profiling
    from ablate.session import open_session, tables_of

    output = options.output()
    selection = Selection.of(study, seeds, dataset, limit, settings, options)
    session = open_session(
        selection.load(bundled_only=options.no_plugins),
        store=options.store_path,
        device=device,
        data_root=options.data,
        command=selection.command("run"),
        bundled_only=options.no_plugins,
        retrain=retrain or (),
    )
    for warning in session.warnings():
        output.warn(warning)
    if not session.work.to_train:
        if profile:
            profiling.nothing(output)
        _nothing_to_train(session, output, began)
        return
    profiled = session.to_profile() if profile else frozenset()
    tracker, outcome = _train(session, output, profiled)
    tables = tables_of(session.resolved, session.store)
    if output.json:
        profiling.tell(session, output, profiled)
        _study_end(session, output, outcome, tables, began)
    elif outcome.signal is not None:
        _interrupted(session, output, outcome, selection)
    else:
        _print(tables, output)
        profiling.tell(session, output, profiled)
        _summary(session, output, tracker, began)
        output.next_steps(_next_steps(session, selection, tables, tracker))
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _nothing_to_train(session: Session, output: Output, began: float) -> None:
    from ablate.console.events import EventView
    from ablate.console.tracking import Tracker
    from ablate.runner import Outcome
    from ablate.session import tables_of

    resolved, states = session.resolved, session.work.states
    session.store.save_study(resolved)
    tables = tables_of(resolved, session.store)
    statuses = {key: states[key].status for key in resolved.order}
    outcome = Outcome(
        statuses=dict(statuses), messages={key: states[key].message for key in statuses}
    )
    wrong = [key for key in resolved.order if statuses[key] != "done"]
    if output.json:
        tracker = Tracker.begin(resolved, states, session.store, frozenset(), 0.0)
        EventView(output, tracker).study_start(resolved, dict(states))
        _study_end(session, output, outcome, tables, began)
    else:
        _print(tables, output)
        number = f"{len(resolved.order):,}"
        seconds = f"({time.monotonic() - began:.1f} s)"
        if wrong:
            done = f"{len(resolved.order) - len(wrong)} of {number} trials done"
            output.note(f"{resolved.name}: {done}, nothing to train {seconds}")
            _failures(session, output, {k: (statuses[k], states[k].message) for k in wrong})
        else:
            output.note(f"{resolved.name}: all {number} trials done, nothing to train {seconds}")
    if wrong:
        raise typer.Exit(1)


def _train(session: Session, output: Output, profiled: frozenset[str]) -> tuple[Tracker, Outcome]:
    from ablate.console.events import EventView
    from ablate.console.live import LiveView
    from ablate.console.log import LogView, stamped
    from ablate.console.progress import Progress
    from ablate.console.tracking import Tracker

    live = output.err.live and output.quiet == 0 and not output.json
    headline = session.headline()
    if not output.json:
        output.note(headline if live else stamped(headline.replace(" · ", ", ")))
    with Progress(output) as progress:

        def told(name: str, done: int, total: int, speed: float) -> None:
            amount = f"{done:,}/{total:,}  {speed:,.0f} images/s"
            progress.update(name, "decoding", done, total, amount)

        for name, images in session.prepare(told):
            if live:
                progress.finish(f"{name}  {images:,} images in the cache")
    with session.workers() as workers:  # they import while this process checks
        for note in session.check_effects():
            output.warn(note)
        if output.verbose > 1:
            _hooks_bound(session, output)
        work, seconds = session.work, session.seconds()
        tracker = Tracker.begin(session.resolved, work.states, session.store, work.again, seconds)
        view: EventView | LiveView | LogView
        if output.json:
            view = EventView(output, tracker)
        else:
            view = LiveView(output, tracker) if live else LogView(output, tracker)
        with view:
            return tracker, session.train(view, workers, profiled)


def _hooks_bound(session: Session, output: Output) -> None:
    """With -vv: which tricks act where, row by row."""
    from ablate.training_process import construct
    from ablate.tricks.chains import Hooks

    for table in session.resolved.tables:
        for row in table.rows:
            trial = session.resolved.trials[row.keys[0]]
            acting = Hooks(construct(trial.tricks, bundled_only=session.bundled_only)).acting
            told = [f"{hook}: {' → '.join(names)}" for hook, names in acting.items() if names]
            output.note(f"{table.dataset} {row.label} ({row.keys[0][:8]}) {' · '.join(told)}")


def _print(tables: list[ReportTable], output: Output) -> None:
    from ablate.report import render_terminal

    if output.quiet < 2:
        terminal = output.out
        output.raw(
            render_terminal(
                tables,
                width=terminal.width,
                color=terminal.color,
                ascii=not terminal.unicode,
                failures=False,  # they follow the table, on stderr
            )
        )


def _summary(session: Session, output: Output, tracker: Tracker, began: float) -> None:
    from ablate.console.text import duration

    failed = tracker.failed
    done = sum(p.status == "done" for p in tracker.trials.values())
    took = duration(time.monotonic() - began)
    words = f"{done:,} of {len(tracker.trials):,} trials done in {took}"
    counts: dict[str, int] = {}
    for key in failed:
        name = {"diverged": "diverged", "no_effect": "had no effect"}.get(
            tracker.trials[key].status, "failed"
        )
        counts[name] = counts.get(name, 0) + 1
    output.note("", ", ".join([words, *(f"{n} {name}" for name, n in counts.items())]))
    _failures(
        session, output, {k: (tracker.trials[k].status, tracker.trials[k].message) for k in failed}
    )


def _failures(session: Session, output: Output, failed: dict[str, tuple[str, str]]) -> None:
    from ablate.console.tracking import in_words

    for key, (status, message) in failed.items():
        told = f"{key[:6]} {session.resolved.labels[key]}: {in_words(status, message)}"
        output.failure([("✗", "failed"), (f" {told}", "")])


def _interrupted(session: Session, output: Output, outcome: Outcome, selection: Selection) -> None:
    resolved, store = session.resolved, session.store
    states = store.states(resolved.order)
    done = sum(state.status == "done" for state in states.values())
    stopped = [key for key, status in outcome.statuses.items() if status == "interrupted"]
    parts = [f"{done} of {len(resolved.order)} trials done"]
    parts += [
        f"{resolved.labels[key]} kept up to epoch {states[key].kept}"
        for key in stopped
        if states[key].kept
    ]
    again, so_far = selection.suggestion("run"), selection.suggestion("report")
    output.note(f"Interrupted: {', '.join(parts)}.")
    if output.err.interactive:
        output.note([("Next", "bold"), (f"  {again} continues · {so_far} so far", "")])


def _next_steps(
    session: Session, selection: Selection, tables: list[ReportTable], tracker: Tracker
) -> list[tuple[str, str, str]]:
    from ablate.cli.advice import more_seeds, order_matters

    steps = []
    retried = [k for k in tracker.failed if tracker.trials[k].status in ("failed", "oom")]
    if retried:
        which = "the failed one" if len(retried) == 1 else f"the {len(retried)} failed ones"
        steps.append((f"train {which}", selection.suggestion("run"), ""))
    steps += more_seeds(session, selection, tables)
    steps += order_matters(session.resolved)
    steps.append(
        (
            "write it up",
            selection.suggestion("report", "--format", "html", "-o", "report.html"),
            "",
        )
    )
    return steps


def _study_end(
    session: Session,
    output: Output,
    outcome: Outcome,
    tables: list[ReportTable],
    began: float,
) -> None:
    import json

    from ablate.report import render_json

    statuses = {key: outcome.statuses.get(key, "new") for key in session.resolved.order}
    output.event(
        "study_end",
        study=session.resolved.name,
        statuses=statuses,
        messages={key: text for key, text in outcome.messages.items() if text},
        done=sum(status == "done" for status in statuses.values()),
        failed=sum(status not in ("done", "new", "interrupted") for status in statuses.values()),
        seconds=time.monotonic() - began,
        signal=outcome.signal,
        tables=json.loads(render_json(tables))["tables"],
    )
