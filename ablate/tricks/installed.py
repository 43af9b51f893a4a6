"""What installed distributions offer under `ablate.tricks`, read without importing anything.

Each distribution is read by itself, since Python's own `entry_points` fails for all of them if one
has a file that cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import PurePath

GROUP = "ablate.tricks"
BUNDLED = "ablate-study"


@dataclass(frozen=True)
class Offer:
    """A trick's entry point. package: the distribution's name; source: "name version"."""

    entry: EntryPoint
    package: str
    source: str

    @property
    def bundled(self) -> bool:
        """Whether it comes with ablate itself."""
        return self.package == BUNDLED


@dataclass(frozen=True)
class Unreadable:
    """A distribution whose metadata cannot be read, so that its tricks, if any, are left out."""

    package: str
    place: str
    reason: str

    def __str__(self) -> str:
        return f"the installed package {self.package} cannot be read: {self.reason} ({self.place})"


@dataclass(frozen=True)
class Installed:
    """offers: in the order of the path. unreadable: what is left out."""

    offers: tuple[Offer, ...]
    unreadable: tuple[Unreadable, ...]


def installed() -> Installed:
    """Look at every distribution on the path; of several with one name the first one counts, as for
    imports, unless they lie in one folder."""
    offers: list[Offer] = []
    unreadable: list[Unreadable] = []
    places: dict[str, str] = {}
    for dist in distributions():
        path = _path(dist)
        name = _stem(dist)
        folder = str(path.parent) if path is not None else ""
        if name.startswith("~"):  # what pip leaves of a package that it was stopped removing
            continue
        if places.setdefault(normal(name), folder) != folder:
            continue
        try:
            offers += _offers(dist)
        except Exception as error:  # noqa: BLE001 - a stranger's file; whatever reading it raises
            place = str(path) if path is not None else "metadata"
            unreadable.append(Unreadable(name or "without a name", place, _reason(error)))
    return Installed(tuple(offers), tuple(unreadable))


def normal(name: str) -> str:
    """A distribution's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _offers(dist: Distribution) -> Iterator[Offer]:
    text = dist.read_text("entry_points.txt")
    if text is None:
        _check_absent(dist)
        return
    entries = [entry for entry in list(_entries(text)) if entry.group == GROUP]
    if not entries:
        return
    name, version = _said(dist, "Name"), _said(dist, "Version")
    if not name:
        raise ValueError("METADATA is missing or has no name")
    for entry in entries:
        if EntryPoint.pattern.match(entry.value) is None:
            raise ValueError(f"entry_points.txt: {entry.name!r} = {entry.value!r} is no entry")
        yield Offer(entry, name, f"{name} {version or 'without a version'}")


def _entries(text: str) -> Iterator[EntryPoint]:
    """As Python reads them, which fails for a line that is none, whatever its group."""
    group = None
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1]
            continue
        name, equals, value = map(str.strip, line.partition("="))
        if not equals or not name:
            raise ValueError(f"entry_points.txt: {line!r} is no entry")
        if group is not None:
            yield EntryPoint(name, value, group)


def _check_absent(dist: Distribution) -> None:
    """Raise if there are entry points: of some that it cannot read `read_text` says None."""
    path = _path(dist)
    try:
        there = path is not None and path.joinpath("entry_points.txt").exists()  # type: ignore[attr-defined]
    except NotADirectoryError:  # an .egg-info may be a file
        return
    if there:
        raise OSError("entry_points.txt is not a file that can be read")


def _path(dist: Distribution) -> PurePath | None:
    """Where its metadata lie, in a folder or a zip file; not every finder says so."""
    return getattr(dist, "_path", None)


def _said(dist: Distribution, what: str) -> str:
    try:
        said = dist.metadata.get(what)  # type: ignore[attr-defined]  # an email.message.Message
    except FileNotFoundError:  # of newer Pythons
        return ""
    return said or ""


def _stem(dist: Distribution) -> str:
    """The name, from the folder's: `tk_dup_a-1.0.dist-info`."""
    path = _path(dist)
    stem, dot, kind = str(getattr(path, "name", "")).rpartition(".")
    if dot and kind in ("dist-info", "egg-info"):
        return stem.partition("-")[0]
    try:
        return _said(dist, "Name")
    except Exception:  # noqa: BLE001 - as in `installed`
        return ""


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "its metadata is not UTF-8"
    text = " ".join(str(error).split()) or type(error).__name__
    return text.partition("] ")[2] or text if isinstance(error, OSError) else text
