"""`ablate run`: train what is missing, then print the table."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli import training_stages
from ablate.cli.app import command
from ablate.cli.options import Datasets, Limit, MaxSeeds, Options, Seeds, Settings, Until
from ablate.cli.selection import Selection
from ablate.cli.training_stages import Training
from ablate.console.others_code import tell_functions
from ablate.console.tracker import in_words
from ablate.util.job_control import writing_in_background
from ablate.util.text import duration

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.execution.runner import Outcome
    from ablate.report.model import ReportTable
    from ablate.session.session import Session

HELP = """\
Train every trial of a study that the store does not have yet, then print the table.

Usage: ablate run STUDY [options]
Example    ablate run studies/group1.toml --set recipe.epochs=2 --seeds 1        a quick try

What       --seeds N            seeds 0 to N−1 instead of the study's
           --dataset NAME       only this dataset; may be repeated
           --limit N            at most N images a split, class-balanced, for a quick try
           --retrain TRICK      train again whatever this trick is part of
           --set KEY=VALUE      change one setting (recipe.* and tricks.* enter the key)
           --until resolved     add seeds by a rule fixed beforehand; --max-seeds N [default: 10]
Where      --device NAME        auto, cpu, cuda, cuda:1 [default: auto, all GPUs]
           --store DIR          [env: ABLATE_STORE] [default: ablate-results]
           --data DIR           [env: ABLATE_DATA] [default: ~/.cache/ablate]
Output     -q  -qq              only the table and errors; only errors
           -v  -vv              each trial's start and end too; what acts at each hook
           --json               one event per line on stdout instead of the table
           --profile            also write where the time went, for each row's first seed
Ctrl-C is safe: the same command continues. Ctrl-Z pauses the training too; fg goes on.
Exit: 0 done, 1 a trial failed, 2 refused beforehand.
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
    until: Until = None,
    max_seeds: MaxSeeds = None,
    device: Annotated[str, typer.Option("--device")] = "auto",
    profile: Annotated[bool, typer.Option("--profile")] = False,
) -> None:
    """Run it."""
    began = time.monotonic()
    from ablate.session.judged_tables import tables_of
    from ablate.session.session import open_session
    from ablate.session.stages import run_stages

    output = options.output()
    selection = Selection.of(study, seeds, dataset, limit, settings, options, until, max_seeds)
    loaded = selection.load(bundled_only=options.no_plugins)
    tell_functions(loaded, output)
    session = open_session(
        loaded,
        store=options.store_path,
        device=device,
        data_root=options.data,
        command=selection.command("run"),
        bundled_only=options.no_plugins,
        retrain=retrain or (),
        looks=selection.looks(),
    )
    with writing_in_background(), Training(output, profile=profile) as training:
        for warning in session.warnings():
            output.warn(warning)
        ran = run_stages(session, training.stage, training.ended)
    if profile and not ran.trained:
        training_stages.nothing(output)
    session, outcome = ran.session, ran.outcome
    printed = output.json or outcome.signal is None
    tables = tables_of(session.resolved, session.store, printed=printed)
    if output.json:
        training.begun(session)
        training_stages.tell(session, output, training.profiled)
        _study_end(session, output, outcome, tables, began)
    elif outcome.signal is not None:
        _interrupted(session, output, outcome, selection)
    else:
        _print(tables, output)
        if ran.trained:
            training_stages.tell(session, output, training.profiled)
            _summary(session, output, outcome, began)
            output.next_steps(_next_steps(session, selection, tables, outcome))
        else:
            _nothing_trained(session, output, outcome, began)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _nothing_trained(session: Session, output: Output, outcome: Outcome, began: float) -> None:
    resolved = session.resolved
    number = f"{len(resolved.order):,}"
    seconds = f"({time.monotonic() - began:.1f} s)"
    wrong = outcome.wrong
    if wrong or outcome.incomplete:
        done = f"{len(resolved.order) - len(wrong)} of {number} trials done"
        output.note(f"{resolved.name}: {done}, nothing to train {seconds}")
        _failures(session, output, outcome)
    else:
        output.note(f"{resolved.name}: all {number} trials done, nothing to train {seconds}")


def _print(tables: list[ReportTable], output: Output) -> None:
    from ablate.report import render_terminal

    if output.quiet < 2:
        terminal = output.out
        output.drawn(
            render_terminal(
                tables,
                width=terminal.width,
                color=terminal.color,
                ascii=not terminal.unicode,
                failures=False,  # they follow the table, on stderr
            )
        )


def _summary(session: Session, output: Output, outcome: Outcome, began: float) -> None:
    statuses = outcome.statuses
    done = sum(status == "done" for status in statuses.values())
    took = duration(time.monotonic() - began)
    words = f"{done:,} of {len(statuses):,} trials done in {took}"
    counts: dict[str, int] = {}
    for status in [s for s in statuses.values() if s != "done"]:
        name = {"diverged": "diverged", "no_effect": "had no effect"}.get(status, "failed")
        counts[name] = counts.get(name, 0) + 1
    output.note("", ", ".join([words, *(f"{n} {name}" for name, n in counts.items())]))
    _failures(session, output, outcome)


def _failures(session: Session, output: Output, outcome: Outcome) -> None:
    from ablate.core.resolved_study import unchosen_in_words
    from ablate.planning.looks import open_rows

    resolved = session.resolved
    told = [
        f"{key[:6]} {resolved.labels[key]}: "
        f"{in_words(outcome.statuses[key], outcome.messages.get(key, ''))}"
        for key in outcome.wrong
    ]
    for table, row in open_rows(resolved):
        settings = table.tuning.settings if table.tuning else ()
        place = " · ".join(part for part in (table.dataset, table.column, row.label) if part)
        told.append(f"{place}: {unchosen_in_words(settings, row.reasons)}, so not trained")
    for line in told:
        output.failure([("✗", "failed"), (f" {line}", "")])


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
    session: Session, selection: Selection, tables: list[ReportTable], outcome: Outcome
) -> list[tuple[str, str, str]]:
    import shlex

    from ablate.cli.next_steps import more_seeds

    steps = []
    retried = [k for k in outcome.wrong if outcome.statuses[k] in ("failed", "oom")]
    if retried:
        which = "the failed one" if len(retried) == 1 else f"the {len(retried)} failed ones"
        logs = shlex.join(["ablate", "logs", retried[0][:6], *selection.places])
        steps.append((f"train {which}", selection.suggestion("run"), ""))
        steps.append(("see why", logs, ""))
    steps += more_seeds(session, selection, tables)
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
    # a setting that diverged while one was chosen is an answer, not a failure
    wrong = {key for key in outcome.wrong if statuses[key] not in ("new", "interrupted")}
    output.event(
        "study_end",
        study=session.resolved.name,
        statuses=statuses,
        messages={key: text for key, text in outcome.messages.items() if text},
        done=sum(status == "done" for status in statuses.values()),
        failed=len(wrong),
        seconds=time.monotonic() - began,
        signal=outcome.signal,
        tables=json.loads(render_json(tables))["tables"],
    )
