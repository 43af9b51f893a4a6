"""`ablate query`: one read-only SQL statement over trials, epochs, predictions and effects."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli.app import command
from ablate.cli.errors import REFUSED, report_error
from ablate.cli.options import Options
from ablate.errors import AblateError, did_you_mean
from ablate.sql.limits import timed_out
from ablate.util.text import count

if TYPE_CHECKING:
    from collections.abc import Callable

    from ablate.console.output import Output
    from ablate.sql.statement import Answer

HELP = """\
Ask one read-only SQL statement over trials, epochs, predictions and effects. DuckDB's SQL.

Usage: ablate query "SQL" [options]
Example    ablate query "select label, top1 from trials order by top1 desc limit 5"

SQL may be - to be read from standard input. Without it, the views are listed.
Columns: ablate query "describe trials"; what each means is in docs/query.md.

Output     --format NAME        terminal, csv, json, markdown [default: terminal]
           --timeout SECONDS    stop a query that computes for longer [default: 30]
Where      --store DIR          [env: ABLATE_STORE] [default: ablate-results]
The terminal gets at most 100 rows; csv, json and markdown have all. Numbers are not rounded.
"""

FORMATS = ("terminal", "csv", "json", "markdown")
EXAMPLES = (
    "select label, top1 from trials order by top1 desc limit 5",
    "select dataset, trick, delta, verdict from effects where verdict = 'gain'",
)
_ROWS = 100  # on a terminal
_ROWS_ELSEWHERE = 100_000  # held in memory, for their widths


@command("query", HELP)
def query(
    options: Options,
    sql: Annotated[str | None, typer.Argument(metavar="SQL")] = None,
    format_: Annotated[str | None, typer.Option("--format")] = None,
    timeout: Annotated[float, typer.Option("--timeout")] = 30.0,
) -> None:
    """Ask, and print the answer."""
    from ablate.sql.statement import ask
    from ablate.store.store import Store

    output = options.output()
    kind = "json" if output.json else format_ or "terminal"
    if kind not in FORMATS:
        raise AblateError(f"--format '{kind}'{did_you_mean(kind, FORMATS)}")
    if not 0 < timeout <= threading.TIMEOUT_MAX / 2:
        raise AblateError(f"--timeout {timeout:g}: expected seconds, above 0", hint="--timeout 60")
    if sql is None:
        _views(output)
        return
    store = Store.open(options.store_path, create=False)
    text = _standard_input() if sql == "-" else sql
    behind = "taking what was written since the last time into the database"
    with ask(
        store,
        text,
        timeout=timeout,
        warn=output.warn,
        alone=True,
        stuck=_ender(output, timeout),
        behind=lambda: output.note([(behind, "dim")]),
    ) as answer:
        if output.quiet > 1:
            return
        _print(answer, kind, output)


def _print(answer: Answer, kind: str, output: Output) -> None:
    from ablate.cli import query_formats as formats

    if kind != "terminal":
        write = {"csv": formats.csv, "json": formats.json, "markdown": formats.markdown}[kind]
        for text in write(answer):
            output.raw(text)
        return
    most = _ROWS if output.out.interactive else _ROWS_ELSEWHERE
    rows = next(answer.pieces(most + 1), [])
    shown = rows[:most]
    output.result(*formats.terminal(answer.columns, shown, output.out.width))
    if len(rows) <= most:
        note = f"{count(len(rows), 'row')} in {answer.seconds:.2f} s (--format csv)"
        output.note([(note, "dim")])
        return
    seconds, total = answer.seconds, answer.total()
    of = f"{total:,}" if total is not None else "more"
    output.warn(f"{most:,} of {of} rows, in {seconds:.2f} s; --format csv has all")


def _views(output: Output) -> None:
    from ablate.sql.statement import VIEWS

    if output.json:
        output.document({"views": VIEWS, "examples": list(EXAMPLES)})
        return
    output.result(*output.table([[name, text] for name, text in VIEWS.items()], gap=3), "")
    output.result(
        'ablate query "describe trials"      what each column means: docs/query.md',
        *(f'ablate query "{example}"' for example in EXAMPLES),
    )


def _standard_input() -> str:
    from ablate.sql.statement import LONGEST

    try:
        if sys.stdin.isatty() or not hasattr(sys.stdin, "buffer"):
            return sys.stdin.read(LONGEST + 1)
        # a file of SQL is UTF-8, whatever the locale; a character has at most four bytes
        return str(sys.stdin.buffer.read(4 * (LONGEST + 1)), "utf-8-sig")
    except UnicodeDecodeError:
        raise AblateError("query: standard input is not UTF-8 text") from None


def _ender(output: Output, timeout: float) -> Callable[[], None]:
    """Ends the process where DuckDB does not hear that it shall stop."""

    def end() -> None:
        import os

        report_error(timed_out(timeout), output)
        sys.stderr.flush()
        os._exit(REFUSED)

    return end
