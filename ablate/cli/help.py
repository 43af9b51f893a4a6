"""Help as ablate prints it: grouped by what the reader wants, no boxes, an example each.

The texts are written by hand, beside their commands; a test holds them to the options there are.
No rich here: help must be instant.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

MAIN = """\
Which training tricks help, by how much, and how sure one can be.

Usage: ablate <command> [options]

Study      init      write a commented study file
           check     list every mistake in study files
           plan      show rows, trials, time, and what the seeds can resolve; trains nothing
           run       train what is missing, then print the table
Results    status    what is done, running, failed; --watch follows a run from another terminal
           report    the comparison table: terminal, markdown, html, latex, csv, json, parquet
           diff      two rows or trials: the settings that differ, then the metrics
           query     one read-only SQL statement over trials, epochs, predictions, effects
           export    one archive: studies, tables, seeds, provenance
           merge     add another store's trials
           verify    retrain one finished trial and compare
           logs      the log of one trial
Catalogue  tricks · models · datasets    list them; `show NAME` for one; `datasets fetch NAME`
           schema    JSON Schema of study files, for editors
Upkeep     doctor    check this machine and the store, say what to do
           reindex   rebuild the database from the spool
           gc        show, then remove, what no study needs
           --install-completion, --show-completion    the Tab key in your shell
Everywhere: -h  -q  -v  --json  --no-plugins  --color auto|always|never  --store DIR  --data DIR  --version
New here?   ablate run studies/quickstart.toml      (nothing to download, under five minutes)
"""  # noqa: E501

TEXTS: dict[str, str] = {"": MAIN}


def text_of(path: str) -> str:
    """The help of a command, "run" or "tricks show"; of ablate itself for ""."""
    return TEXTS[path]


def _shown(path: str) -> str:
    import sys

    from ablate.console.terminal import look_at
    from ablate.util.text import ascii_only

    text = text_of(path)
    return text if look_at(sys.stdout).unicode else ascii_only(text)


def _path(context: Any) -> str:
    """ "tricks show", whatever the program is called."""
    names: list[str] = []
    while context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    return " ".join(names)


class Group(TyperGroup):
    """A group of commands with a help text of ours."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the text."""
        formatter.write(_shown(_path(ctx)))


class Command(TyperCommand):
    """A command with a help text of ours."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the text."""
        formatter.write(_shown(_path(ctx)))
