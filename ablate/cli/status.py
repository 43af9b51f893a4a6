"""`ablate status`: what is done, running, failed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.app import command
from ablate.cli.options import Options

if TYPE_CHECKING:
    from ablate.console.output import Line, Output
    from ablate.planning.timing import Timings
    from ablate.resolved import ResolvedStudy
    from ablate.store import Store, TrialState

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
    from ablate.errors import AblateError
    from ablate.planning.timing import Timings
    from ablate.store import Store

    output = options.output()
    if watch:
        from ablate.cli.watching import DEFAULT, Watch, check_seconds

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
    from ablate.console.text import count, duration, megabytes, pad, width

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
        from ablate.devices import choose_devices, slots

        return timings.total(remaining, slots(choose_devices("cpu")))
    return timings.total(remaining, max(1, running))


def _now(resolved: ResolvedStudy, states: dict[str, TrialState]) -> str:
    """The trial that runs, else one that failed, else when the last one ended."""
    from ablate.console.tracking import in_words
    from ablate.files import moment

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
    total = 0
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                total += os.stat(os.path.join(folder, file)).st_size
            except OSError:  # gone meanwhile: a checkpoint replaced, a claim released
                continue
    return total
