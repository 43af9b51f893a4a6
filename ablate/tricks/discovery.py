"""Finding tricks: entry points of the group `ablate.tricks`, and loose files a study names.

Names are read without importing anything; a trick is imported when it is asked for, and one that
fails to import is named and never takes anything else down. Of two distributions that offer one
name none is chosen silently: a bundled trick is never replaced, and of others the study says which.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.machinery import SourceFileLoader
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType
from typing import Any

from ablate.errors import AblateError, brief, did_you_mean
from ablate.tricks.base import Trick
from ablate.tricks.guard import contained
from ablate.tricks.installed import BUNDLED, Installed, Offer, Unreadable, installed, normal
from ablate.util.notices import notice
from ablate.util.own_code import plugins_refused


@dataclass(frozen=True)
class LoadedTrick:
    """An imported trick. source: the loose file, or "name version" of the distribution. contested:
    the distribution's name, where another one offers the same name and the study chose."""

    name: str
    cls: type[Trick]
    source: str
    file: Path
    contested: str = ""

    @cached_property
    def behaviour(self) -> str:
        """ "v1" or "sha256:…", part of the key."""
        from ablate.tricks.fingerprint import behaviour

        found = behaviour(self.cls, self.file)
        # Two tricks may declare the same version; their sources differ.
        declared = self.contested and self.cls.version is not None
        return f"{found} of {self.contested}" if declared else found

    @property
    def bundled(self) -> bool:
        """Whether it came with ablate itself."""
        return self.source.split(" ")[0] == BUNDLED


@dataclass(frozen=True)
class Clash:
    """A name that is offered more than once. used: the source that a study gets, "" if it is
    refused until the study says which; others: the sources that it does not get."""

    name: str
    used: str
    others: tuple[str, ...]

    def __str__(self) -> str:
        if self.used:
            return f"'{self.name}' of {' and '.join(self.others)} is never used: {self.used} has it"
        return f"'{self.name}' is offered by {' and '.join(self.others)}"


class Catalogue:
    """The tricks that a command may use, by name. clashes: names that are offered more than once.
    unreadable: distributions whose tricks are left out."""

    def __init__(
        self,
        offers: Mapping[str, Sequence[Offer]],
        loose: Mapping[str, LoadedTrick],
        clashes: tuple[Clash, ...] = (),
        contested: frozenset[str] = frozenset(),
        unreadable: tuple[Unreadable, ...] = (),
    ) -> None:
        """offers: for each name one, or all those that none was chosen of. contested: names that
        the study chose for one of several."""
        self._offers = offers
        self._loose = loose
        self._contested = contested
        self._loaded: dict[str, LoadedTrick] = {}
        self.clashes = clashes
        self.unreadable = unreadable
        self.names: tuple[str, ...] = tuple(sorted({*offers, *loose}))

    def source(self, name: str) -> str:
        """Where a trick comes from, without importing it."""
        if name in self._loose:
            return self._loose[name].source
        return " and ".join(offer.source for offer in self._offers[name])

    def load(self, name: str) -> LoadedTrick:
        """Import the trick `name` of `names`; AblateError says why it cannot be."""
        if name in self._loose:
            return self._loose[name]
        if name not in self._loaded:
            if name not in self._offers:
                near = did_you_mean(name, self.names)
                if not near.startswith("; did you mean"):  # the list would fill the screen
                    raise AblateError(f"unknown trick '{name}'", hint="ablate tricks")
                raise AblateError(f"unknown trick '{name}'{near}")
            offers = self._offers[name]
            if len(offers) > 1:
                raise _ambiguous(name, offers)
            self._loaded[name] = _load(name, offers[0], contested=name in self._contested)
        return self._loaded[name]

    def load_all(self) -> Iterator[LoadedTrick | AblateError]:
        """Every trick, or why it cannot be used, each in its own try."""
        for name in self.names:
            try:
                yield self.load(name)
            except AblateError as error:
                yield error


def load_catalogue(
    plugins: Sequence[str] = (),
    *,
    base: Path | None = None,
    bundled_only: bool = False,
    sources: Mapping[str, str] | None = None,
) -> Catalogue:
    """The installed tricks, and those of `plugins`: "./file.py" (relative to `base`) or a
    distribution that must be installed, and that is meant where others offer its names too. With
    `bundled_only`, ablate's own alone. sources: of a trial's tricks by name; they decide likewise.
    """
    bundled_only = bundled_only or plugins_refused()
    there = _remembered[0] if _remembered else installed()
    for package in there.unreadable if not _remembered else ():
        notice(f"{package}; its tricks, if it has any, are left out")
    offers: dict[str, list[Offer]] = {}
    for offer in there.offers:
        if offer.bundled or not bundled_only:
            offers.setdefault(offer.entry.name, []).append(offer)
    meant = {normal(plugin) for plugin in plugins if not _is_file(plugin)}
    chosen, clashes, contested = {}, [], set()
    for name, several in offers.items():
        source = (sources or {}).get(name)
        found = _chosen(several, {normal(source.split(" ")[0])} if source else meant)
        chosen[name] = found
        left = [offer for offer in several if offer not in found]
        if len(found) > 1:
            clashes.append(Clash(name, "", tuple(_sources(several))))
        elif left:
            clashes.append(Clash(name, found[0].source, tuple(_sources(left))))
            if not found[0].bundled and {offer.package for offer in left} != {found[0].package}:
                contested.add(name)
    loose: dict[str, LoadedTrick] = {}
    for plugin in plugins:
        if _is_file(plugin):
            if bundled_only:
                raise AblateError(f"plugin {plugin} is refused by --no-plugins")
            for trick in _load_file(plugin, base or Path()):
                if trick.name == "baseline":
                    raise AblateError(
                        f"{plugin}: no trick can be named 'baseline', which is the row without any",
                        hint="rename the class, or give it `name: ClassVar[str]`",
                    )
                if trick.name in offers or trick.name in loose:
                    others = _sources(offers.get(trick.name, ())) or [loose[trick.name].source]
                    raise AblateError(
                        f"{plugin}: a trick named '{trick.name}' exists already, of "
                        f"{' and '.join(others)}",
                        hint="rename the class, or give it `name: ClassVar[str]`",
                    )
                loose[trick.name] = trick
        else:
            _require(plugin, there.unreadable)
    return Catalogue(chosen, loose, tuple(clashes), frozenset(contested), there.unreadable)


def _is_file(plugin: str) -> bool:
    return plugin.endswith(".py") or "/" in plugin


def _chosen(several: Sequence[Offer], meant: set[str]) -> list[Offer]:
    """The one that a study gets, or all that it would have to choose from."""
    # A bundled name is never replaced by another package's: that would change results silently.
    for offer in several:
        if offer.bundled:
            return [offer]
    # What one distribution says twice is one offer, unless it says two things.
    distinct = list({(offer.package, offer.entry.value): offer for offer in several}.values())
    found = [offer for offer in distinct if normal(offer.package) in meant]
    values = [offer.entry.value for offer in distinct]
    # Two that import one module by one name get the first on the path, whichever was meant.
    decided = len(found) == 1 and values.count(found[0].entry.value) == 1
    return found if decided else distinct


def _sources(offers: Sequence[Offer]) -> list[str]:
    """ "name version" of each; with the entry where one distribution has several."""
    sources = [offer.source for offer in offers]
    return [
        f"{offer.source} ({offer.entry.value})" if sources.count(offer.source) > 1 else offer.source
        for offer in offers
    ]


def _ambiguous(name: str, offers: Sequence[Offer]) -> AblateError:
    packages = list(dict.fromkeys(offer.package for offer in offers))
    message = f"trick '{name}' is offered by {' and '.join(_sources(offers))}"
    remove = f"pip uninstall {packages[-1]}"
    if len(packages) > 1 and len({offer.entry.value for offer in offers}) > 1:
        remove = f'plugins = ["{packages[0]}"] in [study], or {remove}'
    return AblateError(message, hint=remove)


_remembered: list[Installed] = []


def remember() -> None:
    """Look once for what is installed, and import the bundled tricks: for a worker, whose trials
    would each do so. What is installed later is not seen in this process."""
    _remembered[:] = [installed()]
    for _ in load_catalogue(bundled_only=True).load_all():
        pass


def _load(name: str, offer: Offer, *, contested: bool) -> LoadedTrick:
    source, ours = offer.source, offer.bundled
    try:
        # stdout is for results, which programs read
        with redirect_stdout(sys.stderr), nullcontext() if ours else contained(f"trick '{name}'"):
            cls = offer.entry.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a third party's import may raise anything, SystemExit too
        raise AblateError(
            f"trick '{name}' ({source}) does not import: {_reason(error)}",
            hint=f"fix or remove it: pip uninstall {source.split(' ')[0]}"
            " · other tricks are not affected",
        ) from error
    return replace(_checked(name, cls, source, None), contested=offer.package if contested else "")


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


def _require(plugin: str, unreadable: Sequence[Unreadable]) -> None:
    for package in unreadable:
        if normal(package.package) == normal(plugin):
            raise AblateError(str(package), hint=f"pip install --force-reinstall {plugin}")
    try:
        distribution(plugin)
    except (PackageNotFoundError, ValueError) as error:
        raise AblateError(
            f"plugin '{plugin}' is not installed", hint=f"pip install {plugin}"
        ) from error
