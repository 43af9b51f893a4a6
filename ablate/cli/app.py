"""The commands and their groups. What a command needs is imported when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from ablate.cli.help import TEXTS, Command, Group
from ablate.cli.options import Options, common


def _group(**settings: Any) -> typer.Typer:
    return typer.Typer(
        cls=Group,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


app = _group(add_completion=True)
_groups: dict[str, typer.Typer] = {}


def command(path: str, help_text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as the command "run" or "tricks show"; it gets `Options` first."""
    *groups, name = path.split(" ")
    TEXTS[path] = help_text

    def register(function: Callable[..., None]) -> Callable[..., None]:
        parent = _groups[groups[0]] if groups else app
        summary = help_text.partition("\n")[0]
        parent.command(name, cls=Command, short_help=summary)(common(function))
        return function

    return register


def group(name: str, help_text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a group of commands; the function runs where none of them is named."""
    TEXTS[name] = help_text
    _groups[name] = _group(add_completion=False)
    app.add_typer(_groups[name], name=name, short_help=help_text.partition("\n")[0])

    def register(function: Callable[..., None]) -> Callable[..., None]:
        _groups[name].callback()(common(function))
        return function

    return register


def _bare(options: Options) -> None:
    """`ablate` alone: what there is."""
    typer.echo(TEXTS[""], nl=False)


app.callback()(common(_bare))
