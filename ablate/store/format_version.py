"""What a store's directory is made of, and which versions of it this ablate reads.

FORMAT is raised when an older ablate would misread what a newer one writes; what it would merely
not know needs no other number. Definitions and saved invocations carry their own, since stores are
copied over each other.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ablate.errors import AblateError
from ablate.util import beneath, files

FORMAT: Final = 1

_FOLDERS: Final = ("studies", "trials", "looks")
_OURS: Final = frozenset({"FORMAT", ".gitignore", *_FOLDERS})
_BEING_WRITTEN: Final = re.compile(r"\.(FORMAT|\.gitignore)\.[0-9a-f]{8}\.tmp")
_UPGRADE: Final = "pip install --upgrade ablate-study"
_ANOTHER: Final = "use another: --store DIR"


def make_folder(path: Path) -> None:
    """Make the folder of a store, with those above it. Raises AblateError."""
    with files.writing(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileNotFoundError, FileExistsError, NotADirectoryError) as error:
            reason = (error.strerror or str(error)).lower()
            raise AblateError(f"cannot make the store {path}: {reason}", hint=_ANOTHER) from error


def refuse_links(path: Path) -> None:
    """Raises AblateError where a folder of a store, or FORMAT, is a link: none is followed."""
    for name in (*_FOLDERS, "FORMAT"):
        if beneath.kind(path / name) == "link":
            raise AblateError(
                f"{path / name} is a link, and none is followed in a store",
                hint="put what it leads to in its place; the store itself may be a link",
            )


def create(path: Path) -> None:
    """Make what is missing of a store. Raises AblateError where something else is there."""
    present = _present(path)
    if "FORMAT" in present:
        check(path)  # before anything is written
    elif _keeps_something(path):
        raise _unknown(path, present)
    # Another process may be making it: files.write_whole's temporary files come and go.
    others = {name for name in present - _OURS if not _BEING_WRITTEN.fullmatch(name)}
    if "FORMAT" not in present and others:
        raise AblateError(f"{path} is not an ablate store and not empty", hint=_ANOTHER)
    with files.writing(path):
        try:
            made = _FOLDERS[:2] if "FORMAT" in present else _FOLDERS
            for name in made:  # a store of an older ablate has a ledger from its first look on
                beneath.make_folder(path / name, exist_ok=True)
        except (FileNotFoundError, FileExistsError, NotADirectoryError) as error:
            reason = (error.strerror or str(error)).lower()
            raise AblateError(f"cannot make the store {path}: {reason}", hint=_ANOTHER) from error
        if ".gitignore" not in present:
            files.write_whole(path / ".gitignore", lambda file: files.write_text(file, "*\n"))
        if "FORMAT" not in present:
            text = f'{{\n "format": {FORMAT}\n}}\n'  # no checksum: a person may look at it
            files.write_whole(path / "FORMAT", lambda file: files.write_text(file, text))
    if not os.access(path / "trials", os.W_OK | os.X_OK) or not os.access(path, os.W_OK):
        raise AblateError(f"the store {path} cannot be written", hint=_ANOTHER)


def check(path: Path) -> None:
    """Raises AblateError for a directory that is no store, or one of a newer format."""
    number = (files.read_json(path / "FORMAT") or {}).get("format")
    if type(number) is not int or number < 1:
        raise _unknown(path, _present(path))
    if number > FORMAT:
        raise AblateError(
            f"the store {path} has format {_shown(number)}; this ablate reads up to {FORMAT}",
            hint=_UPGRADE,
        )


def refuse_newer(path: Path, document: Mapping[str, Any] | None, known: int) -> None:
    """Refuse what a newer ablate wrote: this one would misread it. Raises AblateError."""
    number = (document or {}).get("format", known)
    if isinstance(number, int) and number > known:
        raise AblateError(
            f"{path} was written by a newer ablate (format {_shown(number)})", hint=_UPGRADE
        )


def _shown(number: int) -> str:
    return str(number) if number < 10**9 else "beyond 10^9"


def _present(path: Path) -> set[str]:
    try:
        return set(os.listdir(path))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise AblateError(f"cannot open the store {path}: {reason}", hint=_ANOTHER) from error


def _keeps_something(path: Path) -> bool:
    """Whether trials or studies are in what would be a store."""
    with contextlib.suppress(OSError):
        return any(beneath.entries(path / "trials")) or any(beneath.entries(path / "studies"))
    return False


def _unknown(path: Path, present: set[str]) -> AblateError:
    if not present >= {"trials", "studies"}:
        return AblateError(f"{path} is not an ablate store", hint=_ANOTHER)
    what = "damaged" if "FORMAT" in present else "missing"
    mend = shlex.quote(str(path / "FORMAT"))
    return AblateError(
        f"{path / 'FORMAT'}, which tells the store's format, is {what}",
        hint=f"if it was format {FORMAT}: echo '{{\"format\": {FORMAT}}}' > {mend}",
    )
