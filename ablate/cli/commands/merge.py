"""`ablate merge`: another store's trials added to this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.app import command
from ablate.cli.options import Options
from ablate.util.text import count, megabytes

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.store.merge import Merge

HELP = """\
Add the trials, saved studies and looks of other stores to this one.

Usage: ablate merge OTHER… [options]
Example    ablate merge ../gpu-box/ablate-results --dry-run

Definitions, endings and lines are checked first; what does not fit is named and left out. Attempts
that are here already are skipped, so that the same command continues after a kill. Nothing is
deleted, and the other store is only read. Of two finished attempts the first counts.

           --dry-run            only say what would be copied
           --store DIR          [env: ABLATE_STORE] [default: ablate-results]
Exit: 0 all of it is here, 1 something was left out or disagrees, 2 refused beforehand.
"""


@command("merge", HELP)
def merge(
    options: Options,
    others: Annotated[list[Path], typer.Argument(metavar="OTHER")],
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False,
) -> None:
    """Merge."""
    from ablate.index import database
    from ablate.store.merge import carry_out, survey
    from ablate.store.store import Store

    output = options.output()
    for other in others:
        Store.open(other, create=False)  # before the first is copied
    if dry_run and not options.store_path.exists():
        store = Store(options.store_path)  # as it would be made
    else:
        store = Store.open(options.store_path, create=not dry_run)
    found = []
    for other in others:
        what = survey(store, other)
        if not dry_run:
            from ablate.console.progress import Progress

            with Progress(output) as progress:
                total = what.size

                def told(size: int, name: str = str(other), total: int = total) -> None:
                    amount = f"{megabytes(size)} of {megabytes(total)}"
                    progress.update(name, "copying", size, max(total, 1), amount)

                retired = carry_out(store, what, told)
            # The index has the rows of retired attempts already: only a new one is without them.
            if retired:
                database.reindex(store.path)
            else:
                database.ingest(store.path, output.warn)
        found.append(what)
        if not output.json:
            _tell(output, what, dry_run)
    if output.json:
        output.document(
            {
                "store": str(store.path),
                "dry_run": dry_run,
                "merged": [_document(what, dry_run) for what in found],
            }
        )
    if not all(what.clean for what in found):
        raise typer.Exit(1)


def _tell(output: Output, what: Merge, dry_run: bool) -> None:
    attempts = what.attempts if dry_run else what.copied
    trials = len({trial.key for trial in what.trials if trial.attempts})
    parts = [f"{count(attempts, 'attempt')} at {count(trials, 'trial')}"] if attempts else []
    parts += [count(len(what.studies), "saved run")] if what.studies else []
    parts += [count(len(what.looks), "look")] if what.looks else []
    defined = len([trial for trial in what.trials if not trial.attempts])
    parts += [count(defined, "definition")] if defined else []
    size = f" ({megabytes(what.size)})" if attempts else ""
    verb = "would be added" if dry_run else "added"
    line = f"{what.other}: " + (f"{', '.join(parts)} {verb}{size}" if parts else "nothing new")
    if what.present:
        line += f"; {count(what.present, 'attempt')} already here"
    if what.idle:
        line += f"; {count(what.idle, 'unfinished attempt')} at finished trials not needed"
    output.result(line)
    for place, why in what.left_out:
        output.failure([("✗", "failed"), (f" {place}: {why}", "")])
    for one in what.conflicts:
        told = f" {one.key[:6]} {one.label}: {one.metric} {one.value:.6g} in {one.first}, which "
        told += f"counts, and {one.other_value:.6g} in {one.other}"
        told += "; until now the other counted here" if one.changes else ""
        output.failure([("!", "worse"), (told, "")])


def _document(what: Merge, dry_run: bool) -> dict[str, Any]:
    return {
        "other": str(what.other),
        "trials": [trial.key for trial in what.trials if trial.attempts],
        "attempts": what.attempts if dry_run else what.copied,
        "definitions": [trial.key for trial in what.trials if not trial.attempts],
        "bytes": what.size,
        "studies": [{"study": name, "invocation": at} for name, at, _ in what.studies],
        "looks": [
            {"study": one.study, "table": one.title, "seeds": list(one.seeds), "alpha": one.alpha}
            for one in what.looks
        ],
        "present": what.present,
        "not_needed": what.idle,
        "left_out": [{"what": place, "why": why} for place, why in what.left_out],
        "disagreements": [vars(one) for one in what.conflicts],
    }
