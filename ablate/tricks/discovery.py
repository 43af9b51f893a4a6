"""Finding tricks: entry points of the group `ablate.tricks`, and loose files a study names.

Names are read without importing anything; a trick is imported when it is asked for, and one that
fails to import is named and never takes anything else down.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import SourceFileLoader
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution
from importlib.metadata import entry_points as installed_entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from ablate.errors import AblateError, brief, did_you_mean
from ablate.tricks.base import Trick
from ablate.tricks.guard import contained

GROUP = "ablate.tricks"
BUNDLED = "ablate-study"


@dataclass(frozen=True)
class LoadedTrick:
    """An imported trick. source: the loose file, or "name version" of the distribution."""

    name: str
    cls: type[Trick]
    source: str
    file: Path

    @cached_property
    def behaviour(self) -> str:
        """ "v1" or "sha256:…", part of the key."""
        from ablate.tricks.fingerprint import behaviour

        return behaviour(self.cls, self.file)

    @property
    def bundled(self) -> bool:
        """Whether it came with ablate itself."""
        return self.source.split(" ")[0] == BUNDLED


class Catalogue:
    """The tricks that a command may use, by name."""

    def __init__(self, entries: dict[str, EntryPoint], loose: dict[str, LoadedTrick]) -> None:
        self._entries = entries
        self._loose = loose
        self._loaded: dict[str, LoadedTrick] = {}
        self._sources: dict[str, str] = {}
        self.names: tuple[str, ...] = tuple(sorted({*entries, *loose}))

    def source(self, name: str) -> str:
        """Where a trick comes from, without importing it."""
        if name in self._loose:
            return self._loose[name].source
        if name not in self._sources:  # it reads a file
            self._sources[name] = _source(self._entries[name].dist)
        return self._sources[name]

    def load(self, name: str) -> LoadedTrick:
        """Import the trick `name` of `names`; AblateError says why it cannot be."""
        if name in self._loose:
            return self._loose[name]
        if name not in self._loaded:
            if name not in self._entries:
                near = did_you_mean(name, self.names)
                if not near.startswith("; did you mean"):  # the list would fill the screen
                    raise AblateError(f"unknown trick '{name}'", hint="ablate tricks")
                raise AblateError(f"unknown trick '{name}'{near}")
            self._loaded[name] = _load(name, self._entries[name])
        return self._loaded[name]

    def load_all(self) -> Iterator[LoadedTrick | AblateError]:
        """Every trick, or why it cannot be used, each in its own try."""
        for name in self.names:
            try:
                yield self.load(name)
            except AblateError as error:
                yield error


def load_catalogue(
    plugins: Sequence[str] = (), *, base: Path | None = None, bundled_only: bool = False
) -> Catalogue:
    """The installed tricks, and those of `plugins`: "./file.py" (relative to `base`) or a
    distribution that must be installed. With `bundled_only`, ablate's own alone."""
    entries: dict[str, EntryPoint] = {}
    for entry, ours in _remembered or _installed():
        if bundled_only and not ours:
            continue
        # A bundled name is never replaced by another package's: that would change results silently.
        if ours or entry.name not in entries:
            entries[entry.name] = entry
    loose: dict[str, LoadedTrick] = {}
    for plugin in plugins:
        if plugin.endswith(".py") or "/" in plugin:
            if bundled_only:
                raise AblateError(f"plugin {plugin} is refused by --no-plugins")
            for trick in _load_file(plugin, base or Path()):
                if trick.name == "baseline":
                    raise AblateError(
                        f"{plugin}: no trick can be named 'baseline', which is the row without any",
                        hint="rename the class, or give it `name: ClassVar[str]`",
                    )
                if trick.name in entries or trick.name in loose:
                    raise AblateError(
                        f"{plugin}: a trick named '{trick.name}' exists already",
                        hint="rename the class, or give it `name: ClassVar[str]`",
                    )
                loose[trick.name] = trick
        else:
            _require(plugin)
    return Catalogue(entries, loose)


_remembered: list[tuple[EntryPoint, bool]] = []


def remember() -> None:
    """Look once for what is installed, and import the bundled tricks: for a worker, whose trials
    would each do so. What is installed later is not seen in this process."""
    _remembered[:] = _installed()
    for _ in load_catalogue(bundled_only=True).load_all():
        pass


def _installed() -> list[tuple[EntryPoint, bool]]:
    """Every trick's entry point, and whether it is a bundled one."""
    return [
        (entry, entry.dist is not None and entry.dist.name == BUNDLED)
        for entry in installed_entry_points(group=GROUP)
    ]


def _source(dist: Distribution | None) -> str:
    return f"{dist.name} {dist.version}" if dist is not None else "unknown distribution"


def _load(name: str, entry: EntryPoint) -> LoadedTrick:
    source = _source(entry.dist)
    ours = entry.dist is not None and entry.dist.name == BUNDLED
    try:
        # stdout is for results, which programs read
        with redirect_stdout(sys.stderr), nullcontext() if ours else contained(f"trick '{name}'"):
            cls = entry.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a third party's import may raise anything, SystemExit too
        raise AblateError(
            f"trick '{name}' ({source}) does not import: {_reason(error)}",
            hint=f"fix or remove it: pip uninstall {source.split(' ')[0]}"
            " · other tricks are not affected",
        ) from error
    return _checked(name, cls, source, None)


def _checked(name: str, cls: object, source: str, file: Path | None) -> LoadedTrick:
    if not isinstance(cls, type) or not issubclass(cls, Trick):
        raise AblateError(f"trick '{name}' ({source}) is not a subclass of ablate.Trick")
    if file is None:
        file = Path(sys.modules[cls.__module__].__file__ or "")
    cls.name = name
    cls.origin = source.split(" ")[0]
    return LoadedTrick(name, cls, source, file)


def _reason(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"no module named '{error.name}'"
    return brief(error)


def _load_file(plugin: str, base: Path) -> list[LoadedTrick]:
    try:
        path = (base / plugin).resolve()
        there = path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL
        raise AblateError(f"plugin {plugin} is no path: {brief(error)}") from error
    if not there:
        raise AblateError(f"plugin {plugin}: no such file {path}")
    module = _import_file(path, plugin)
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Trick)
        and value.__module__ == module.__name__
    ]
    if not classes:
        raise AblateError(f"plugin {plugin}: defines no subclass of ablate.Trick")
    return [_checked(cls.name, cls, str(path), path) for cls in classes]


class _Uncached(SourceFileLoader):
    """Compiles what is in the file.

    Python's cache of bytecode takes a file of the same size, edited in the same second, for the one
    before.
    """

    def path_stats(self, path: str) -> Mapping[str, Any]:
        raise OSError  # as of a file that has none: then no cache is read or written


def _import_file(path: Path, plugin: str) -> ModuleType:
    # The path is in the module's name so that two studies' `my_trick.py` do not meet.
    from hashlib import blake2b

    name = f"{path.stem}_{blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    loader = _Uncached(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic looks annotations up there
    try:
        with redirect_stdout(sys.stderr), contained(f"plugin {plugin}"):  # as in _load
            loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as in _load
        del sys.modules[name]
        raise AblateError(f"plugin {plugin} does not import: {_reason(error)}") from error
    return module


def _require(plugin: str) -> None:
    try:
        distribution(plugin)
    except (PackageNotFoundError, ValueError) as error:
        raise AblateError(
            f"plugin '{plugin}' is not installed", hint=f"pip install {plugin}"
        ) from error
