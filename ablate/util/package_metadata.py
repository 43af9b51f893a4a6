"""One installed package whose entry points cannot be read takes no other one down.

pydantic, torch and triton look through the entry points of all packages while they are imported,
with Python's own reader, which fails for all of them if one has a line that is no entry or bytes
that are not UTF-8. `ablate.tricks.installed` says which package it is.
"""

from __future__ import annotations


def tolerate_unreadable() -> None:
    """In this process a package whose entry points cannot be read has none. To be said before
    pydantic or torch is imported."""
    from importlib.metadata import Distribution, EntryPoints

    read = Distribution.entry_points.fget  # type: ignore[attr-defined]
    if read.__module__ == __name__:
        return

    def entry_points(self: Distribution) -> EntryPoints:
        try:
            found: EntryPoints = read(self)
        except Exception:  # noqa: BLE001 - whatever a stranger's file raises
            return EntryPoints(())
        return found

    Distribution.entry_points = property(entry_points)  # type: ignore[assignment, method-assign]


def version_of(package: str) -> str:
    """The version of an installed package, "unknown" where its metadata does not say."""
    from importlib.metadata import version

    try:
        return version(package) or "unknown"
    except Exception:  # noqa: BLE001 - as above
        return "unknown"
