"""The options that every command has, before and after its name."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from ablate._version import __version__
from ablate.util.notices import listen
from ablate.util.own_code import without_plugins
from ablate.util.package_metadata import tolerate_unreadable
from ablate.util.paths import store_path

if TYPE_CHECKING:
    from ablate.console.output import Output

_COLORS = ("auto", "always", "never")


@dataclass(frozen=True)
class Options:
    """What was said for every command.

    store: None if not said. data: None if not said; ABLATE_DATA and the default are `util.paths`'s
    business.
    """

    quiet: int = 0
    verbose: int = 0
    json: bool = False
    no_plugins: bool = False
    color: str | None = None
    store: Path | None = None
    data: Path | None = None

    @property
    def store_path(self) -> Path:
        """The store's directory: the option, else ABLATE_STORE, else `ablate-results`."""
        return self.store or store_path()

    def places(self) -> tuple[str, ...]:
        """The options that a suggested command must repeat to mean the same."""
        words = ["--no-plugins"] if self.no_plugins else []
        words += ["--store", str(self.store)] if self.store is not None else []
        words += ["--data", str(self.data)] if self.data is not None else []
        return tuple(words)

    def output(self) -> Output:
        """The streams, as these options want them."""
        from ablate.console.output import Output

        return Output(
            color=cast("Literal['auto', 'always', 'never']", self.color or "auto"),
            quiet=self.quiet,
            verbose=self.verbose,
            json=self.json,
        )

    def over(self, outer: Options) -> Options:
        """These, and where they say nothing those given before the command's name."""
        return Options(
            quiet=self.quiet + outer.quiet,
            verbose=self.verbose + outer.verbose,
            json=self.json or outer.json,
            no_plugins=self.no_plugins or outer.no_plugins,
            color=self.color or outer.color,
            store=self.store or outer.store,
            data=self.data or outer.data,
        )


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ablate {__version__}")
        raise typer.Exit


def _color(value: str | None) -> str | None:
    if value is not None and value not in _COLORS:
        raise typer.BadParameter(f"'{value}' is none of {', '.join(_COLORS)}")
    return value


def _complete_color(incomplete: str) -> list[str]:
    return [color for color in _COLORS if color.startswith(incomplete)]


def path(text: str | Path) -> Path:
    """A path that was typed. "" is refused: `--store "$STORE"` of what is not set would be `.`.

    So is an option in its place: its value has been forgotten.
    """
    if not str(text).strip():
        raise typer.BadParameter("the path is empty")
    if str(text).startswith("--"):
        raise typer.BadParameter(f"{text} is an option; a path of this name must be ./{text}")
    return Path(text)


_COMMON: tuple[tuple[str, Any, Any], ...] = (
    ("quiet", Annotated[int, typer.Option("--quiet", "-q", count=True)], 0),
    ("verbose", Annotated[int, typer.Option("--verbose", "-v", count=True)], 0),
    ("json", Annotated[bool, typer.Option("--json")], False),
    ("no_plugins", Annotated[bool, typer.Option("--no-plugins")], False),
    (
        "color",
        Annotated[
            str | None,
            typer.Option("--color", callback=_color, autocompletion=_complete_color),
        ],
        None,
    ),
    ("store", Annotated[Path | None, typer.Option("--store", parser=path)], None),
    ("data", Annotated[Path | None, typer.Option("--data", parser=path)], None),
    (
        "version",
        Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)],
        False,
    ),
)

# Which part of a study, and with what changed: for `plan`, `run` and `report`.
Seeds = Annotated[int | None, typer.Option("--seeds")]
Datasets = Annotated[list[str] | None, typer.Option("--dataset")]
Limit = Annotated[int | None, typer.Option("--limit")]
Settings = Annotated[list[str] | None, typer.Option("--set")]
Until = Annotated[str | None, typer.Option("--until")]
MaxSeeds = Annotated[int | None, typer.Option("--max-seeds")]

COMMON_NAMES = frozenset(name for name, _, _ in _COMMON)


def common(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command whose first parameter is `options: Options` the options of every command.

    typer reads a function's signature; this writes one.
    """
    own = list(inspect.signature(function).parameters.values())[1:]
    hints = typing.get_type_hints(function, include_extras=True)

    def command(**values: Any) -> None:
        context = values.pop("context")
        said = {name: values.pop(name) for name in COMMON_NAMES}
        del said["version"]
        outer = context.parent.obj if context.parent is not None else None
        options = Options(**said)
        context.obj = options.over(outer) if isinstance(outer, Options) else options
        # A group's own function runs where none of its commands is named.
        if context.invoked_subcommand is None:
            tolerate_unreadable()
            listen(lambda text: context.obj.output().warn(text))
            try:
                with without_plugins(context.obj.no_plugins):
                    function(context.obj, **values)
            finally:
                listen(None)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("context", keyword, annotation=typer.Context)]
    parameters += [p.replace(annotation=hints[p.name], kind=keyword) for p in own]
    parameters += [
        inspect.Parameter(name, keyword, annotation=annotation, default=default)
        for name, annotation, default in _COMMON
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__name__ = function.__name__
    command.__doc__ = function.__doc__
    command.__module__ = function.__module__
    return command
