"""`ablate gc`: what no study needs, shown and then removed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.app import command
from ablate.cli.options import Options
from ablate.errors import AblateError, did_you_mean
from ablate.util.text import megabytes, one_line

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.store.collect import Garbage, Kind, Removal

HELP = """\
Show what in the store no study needs, by kind and size; remove it with --yes, or when you say so.

Usage: ablate gc [options]
Example    ablate gc --yes

A trial is needed if any saved run of any study names it. Every report stays as it is. What is being
trained is left alone, links are not followed, and what has no name of ablate's stays. -v shows each
file. Data sets and caches are elsewhere and stay too.

           --yes                remove it; else gc asks, and removes nothing where nobody can answer
           --latest             of each study only the last saved run counts: earlier ones go, and
                                the trials that they alone name (quick tries, other seeds)
           --only KIND          only this: trials, attempts, retired, checkpoints, weights, runs,
                                claims, databases, crashes, temporary, removed; may be repeated
           --store DIR          [env: ABLATE_STORE] [default: ablate-results]
Exit: 0 done, or shown; 1 something could not be removed; 2 refused beforehand.
"""

_TOLD = 10  # places that stay, without -v


@command("gc", HELP)
def gc(
    options: Options,
    yes: Annotated[bool, typer.Option("--yes", "-y")] = False,
    latest: Annotated[bool, typer.Option("--latest")] = False,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="KIND")] = None,
) -> None:
    """Show, then remove."""
    from ablate.index import database
    from ablate.store.collect import carry_out, survey
    from ablate.store.store import Store

    output = options.output()
    kinds = _kinds(only)
    found = survey(Store.open(options.store_path, create=False), latest=latest)
    found.pieces = [piece for piece in found.pieces if piece.kind in kinds]
    if not output.json:
        _show(output, found, kinds)
    removal: Removal | None = None
    if found.pieces and (yes or (not output.json and _asked(output))):
        from ablate.console.progress import Progress

        with Progress(output) as progress:

            def told(done: int, of: int) -> None:
                progress.update("gc", "removing", done, max(of, 1), f"{done:,} of {of:,}")

            removal = carry_out(found, kinds, told)
        database.ingest(found.store.path, output.warn)  # it notices what is gone
    if output.json:
        output.document(_document(found, removal))
    elif removal is not None:
        _tell(output, removal)
    elif found.pieces:
        output.note(f"Nothing was removed. {_command(options, latest, only)} removes it.")
    if removal is not None and removal.left:
        raise typer.Exit(1)


def _kinds(only: list[str] | None) -> tuple[Kind, ...]:
    from ablate.store.collect import KINDS

    for word in only or ():
        if word not in KINDS:
            raise AblateError(
                f"--only {word}: no such kind{did_you_mean(word, KINDS)}", hint="ablate gc --help"
            )
    return tuple(kind for kind in KINDS if not only or kind in only)


def _show(output: Output, found: Garbage, kinds: tuple[Kind, ...]) -> None:
    from ablate.store.collect import WORDS

    if not found.pieces:
        output.result(f"{found.store.path}: everything is needed")
    rows = []
    for kind in kinds:
        pieces = found.of(kind)
        if pieces:
            size = megabytes(sum(piece.size for piece in pieces))
            earlier = kind == "runs" and found.latest
            words = "saved runs that are not a study's last" if earlier else WORDS[kind]
            rows.append([f"{len(pieces):,}", words, size, f"--only {kind}"])
            if output.verbose:
                rows += [["", f"  {_place(found, p.paths[0])}", megabytes(p.size)] for p in pieces]
    if rows:
        output.result(
            f"{found.store.path}: {megabytes(found.size)} that no study needs",
            *output.table(rows, "><>"),
        )
    if found.left:
        output.result("Not touched:")
    shown = found.left if output.verbose else found.left[:_TOLD]
    for place, why in shown:
        output.result(f"  {_place(found, Path(place))}: {why}")
    if len(found.left) > len(shown):
        output.result(f"  and {len(found.left) - len(shown):,} more (-v)")


def _place(found: Garbage, path: Path) -> str:
    return one_line(str(path.relative_to(found.store.path)))


def _asked(output: Output) -> bool:
    """Whether a person says yes; nobody is asked where nobody can answer."""
    if not (sys.stdin is not None and sys.stdin.isatty() and output.err.interactive):
        return False
    sys.stdout.flush()
    sys.stderr.write("Remove it? [y/N] ")
    sys.stderr.flush()
    try:
        answer = sys.stdin.readline()
    except (OSError, ValueError):
        return False
    return answer.strip().lower() in ("y", "yes")


def _command(options: Options, latest: bool, only: list[str] | None) -> str:
    import shlex

    words = ["ablate", "gc", "--yes", *(["--latest"] if latest else [])]
    for kind in only or ():
        words += ["--only", kind]
    if options.store is not None:
        words += ["--store", str(options.store)]
    return shlex.join(words)


def _tell(output: Output, removal: Removal) -> None:
    from ablate.store.collect import KINDS

    counts = {kind: sum(p.kind == kind for p in removal.pieces) for kind in KINDS}
    parts = [f"{number:,} {kind}" for kind, number in counts.items() if number]
    output.result(f"Removed {megabytes(removal.size)}: {', '.join(parts) or 'nothing'}")
    for place, why in removal.left:
        output.failure([("!", "worse"), (f" {place} stays: {why}", "")])


def _document(found: Garbage, removal: Removal | None) -> dict[str, Any]:
    gone = {piece.paths[0] for piece in removal.pieces} if removal else set()
    return {
        "store": str(found.store.path),
        "removed": removal is not None,
        "bytes": found.size if removal is None else removal.size,
        "found": [
            {
                "kind": piece.kind,
                "path": str(piece.paths[0]),
                "bytes": piece.size,
                "removed": piece.paths[0] in gone,
            }
            for piece in found.pieces
        ],
        "not_touched": [
            {"path": place, "why": why}
            for place, why in [*found.left, *(removal.left if removal else [])]
        ],
    }
