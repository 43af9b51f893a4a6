"""Which commands to register: importing all of them takes longer than showing a help text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

# Each is registered by the module of its name.
ALONE = frozenset(
    {
        *("init", "check", "plan", "run", "status", "report", "diff", "query", "export", "merge"),
        *("verify", "logs", "reindex", "tricks", "models", "datasets", "schema", "doctor"),
        "gc",
    }
)
_HELP = {"--help", "-h"}


def application(arguments: Sequence[str]) -> typer.Typer:
    """The application with the command that stands first, or with all where none does."""
    first = arguments[0] if arguments else ""
    completing = any(name.endswith("_COMPLETE") for name in os.environ)
    if first in _HELP and not completing:
        first = "reindex"  # the text names every command; typer wants one
    if first in ALONE and not completing:
        import_module(f"ablate.cli.{first}")
        from ablate.cli.app import app

        return app
    from ablate.cli.commands import app

    return app
