"""Where data sets lie and where decoded caches go."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """`~/.cache/ablate`, or below `XDG_CACHE_HOME`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ablate"


def data_root(given: Path | None = None) -> Path:
    """The folder with the data sets: `given` (--data), else ABLATE_DATA, else the user's cache."""
    if given is not None:
        return Path(given).expanduser()
    named = os.environ.get("ABLATE_DATA")
    return Path(named).expanduser() if named else user_cache()


def decoded_root() -> Path:
    """The folder of decoded caches: ABLATE_CACHE, else `decoded` in the user's cache.

    Never the data root, which may be read-only or shared.
    """
    named = os.environ.get("ABLATE_CACHE")
    return Path(named).expanduser() if named else user_cache() / "decoded"


def shown(path: Path) -> str:
    """The path as a person would type it: `~` for the home directory."""
    try:
        relative = path.relative_to(Path.home())
    except (ValueError, RuntimeError):  # elsewhere, or no home
        return str(path)
    return str(Path("~") / relative)
