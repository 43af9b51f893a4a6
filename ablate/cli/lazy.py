"""Which commands to register: importing all of them takes longer than showing a help text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

# In the order of the help; each is registered by the module of its name.
COMMANDS = (
    *("init", "check", "plan", "run", "status", "report", "diff", "query", "export", "merge"),
    *("verify", "logs", "reindex", "gc", "tricks", "models", "datasets", "schema", "doctor"),
)
_HELP = {"--help", "-h"}


def application(arguments: Sequence[str]) -> typer.Typer:
    """The application with the command that stands first, or with all where none does."""
    first = arguments[0] if arguments else ""
    completing = any(name.endswith("_COMPLETE") for name in os.environ)
    if first in _HELP and not completing:
        first = "reindex"  # the text names every command; typer wants one
    return register([first] if first in COMMANDS and not completing else COMMANDS)


def register(commands: Sequence[str] = COMMANDS) -> typer.Typer:
    """The application with these commands."""
    for name in commands:
        import_module(f"ablate.cli.commands.{name}")
    from ablate.cli.app import app

    return app
