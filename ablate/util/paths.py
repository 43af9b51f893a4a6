"""Where things lie when nobody says: data sets, decoded caches, compiled models, results."""

from __future__ import annotations

import os
from pathlib import Path

from ablate.errors import DataError

DEFAULT_STORE = "ablate-results"


def store_path() -> Path:
    """ABLATE_STORE, else `ablate-results` in the working directory."""
    return Path(os.environ.get("ABLATE_STORE") or DEFAULT_STORE).expanduser()


_DECODED_LIMIT = 50.0  # GB


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


def decoded_limit() -> tuple[int, bool]:
    """(bytes of pixels up to which a data set is kept decoded, whether someone said so).

    `ABLATE_CACHE_LIMIT` in GB, else 50. Raises DataError for what is no such number.
    """
    named = os.environ.get("ABLATE_CACHE_LIMIT")
    try:
        gigabytes = float(named) if named else _DECODED_LIMIT
        return int(gigabytes * 1e9), bool(named)
    except (ValueError, OverflowError):
        raise DataError(
            f"ABLATE_CACHE_LIMIT is '{named}', expected the GB of decoded images to keep",
            hint="ABLATE_CACHE_LIMIT=200",
        ) from None


def compiled_root() -> Path:
    """The folder of compiled models, in `ABLATE_CACHE` or the user's cache."""
    named = os.environ.get("ABLATE_CACHE")
    return (Path(named).expanduser() if named else user_cache()) / "compiled"


def shown(path: Path) -> str:
    """The path as a person would type it: `~` for the home directory; what is no printable
    character is escaped, so that a message stays one line."""
    try:
        text = str(Path("~") / path.relative_to(Path.home()))
    except (ValueError, RuntimeError):  # elsewhere, or no home
        text = str(path)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
