"""The ledger of looks: at which seeds, and at which level, each table was judged.

    looks/<table>/<digest>.json

<table> is `ablate.core.table_looks.identity`, <digest> that of the document without its time, so
that the same report twice writes one file, and two stores' ledgers are merged by copying. Files are
added and never changed. A store that an older ablate made has no `looks`; what its saved runs say
is written down when the first look is (`ablate.store.past_looks`).
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from ablate.core.recipe import Frozen
from ablate.core.table_looks import EarlierLook
from ablate.store.format_version import refuse_newer
from ablate.util import beneath, files

LOOK_FORMAT: Final = 1
FOLDER: Final = "looks"
LOCK: Final = ".looks.lock"
MAKING: Final = ".looks-"  # what is to become the folder begins so
_NAME: Final = re.compile(r"[0-9a-f]{64}")


class KeptLook(Frozen):
    """A table as it was judged once.

    table: its identity. study, title: what it was called, for people. seeds: of every row.
    verdicts: (row, verdict) of each that had one. planned: by `--until`. at: when, ISO 8601, UTC.
    """

    format: int = LOOK_FORMAT
    table: str
    study: str
    title: str
    metric: str
    margin: float
    seeds: tuple[int, ...]
    alpha: float
    planned: bool = False
    verdicts: tuple[tuple[str, str], ...] = ()
    at: str

    @property
    def name(self) -> str:
        """Of its file: a digest of all but the time."""
        told = self.model_dump(mode="json", exclude={"at"})
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @property
    def sound(self) -> bool:
        """Whether it can be a look: one that was read from a file need not be."""
        seeds = self.seeds
        right = len(seeds) > 1 and len(set(seeds)) == len(seeds) and 0 < self.alpha < 1
        return right and is_name(self.table) and files.moment(self.at) is not None


def is_name(name: str) -> bool:
    """Whether a table's folder, or without its ending a look's file, could have this name."""
    return _NAME.fullmatch(name) is not None


def is_begun(store: Path) -> bool:
    """Whether the store has a ledger; one of an older ablate has none."""
    return beneath.kind(store / FOLDER) == "folder"


def paths(store: Path) -> Iterator[Path]:
    """The files of all looks, sorted."""
    for folder in _names(store / FOLDER, ""):
        yield from _of_table(store, folder)


def read(path: Path) -> KeptLook | None:
    """A look, or None if the file is damaged. Raises AblateError for one of a newer format."""
    document = files.read_json(path)
    refuse_newer(path, document, LOOK_FORMAT)
    return parse(json.dumps(document), path)


def parse(text: str, path: Path) -> KeptLook | None:
    """A look from its document, None where it is not what the file's place says."""
    try:
        look = KeptLook.model_validate_json(text)
    except (ValidationError, ValueError, RecursionError):
        return None
    right = look.sound and (look.table, f"{look.name}.json") == (path.parent.name, path.name)
    return look if right else None


def looks(store: Path, table: str) -> list[KeptLook]:
    """Of one table, oldest first; a damaged one is left out, and `ablate doctor` tells it."""
    found = [look for path in _of_table(store, table) if (look := read(path)) is not None]
    return sorted(found, key=lambda look: (look.at, look.name))


def history(kept: Iterable[KeptLook]) -> tuple[EarlierLook, ...]:
    """One look for each set of seeds, in the order in which they were first judged.

    Of the same seeds at several levels, as two stores may have had them, the highest was spent; of
    a row the verdict that it had last.
    """
    found: dict[tuple[int, ...], EarlierLook] = {}
    for look in kept:
        known = found.get(look.seeds)
        verdicts = dict(known.verdicts if known else ()) | dict(look.verdicts)
        found[look.seeds] = EarlierLook(
            look.seeds,
            max(look.alpha, known.alpha if known else 0.0),
            tuple(verdicts.items()),
            look.planned and (known is None or known.planned),
        )
    return tuple(found.values())


def place(store: Path, look: KeptLook) -> Path:
    """Where a look is kept."""
    return store / FOLDER / look.table / f"{look.name}.json"


def keep(store: Path, look: KeptLook) -> None:
    """Write a look, once. Raises OSError where the store cannot be written."""
    _write(place(store, look), look)


def begin(store: Path, earlier: Iterable[KeptLook]) -> None:
    """Make the ledger of a store without one, whole or not at all, with what is known already.

    Raises OSError where the store cannot be written.
    """
    making = store / f"{MAKING}{secrets.token_hex(4)}"
    beneath.make_folder(making)
    for look in earlier:
        _write(making / look.table / f"{look.name}.json", look)
    beneath.rename(making, store / FOLDER)


def _write(path: Path, look: KeptLook) -> None:
    if read(path) is None:
        beneath.make_folder(path.parent, exist_ok=True)
        files.write_sealed(path, look.model_dump_json(indent=1))


def _of_table(store: Path, table: str) -> list[Path]:
    folder = store / FOLDER / table
    return [folder / name for name in _names(folder, ".json")]


def _names(folder: Path, ending: str) -> list[str]:
    try:
        names = [name for name, _ in beneath.entries(folder)]
    except OSError:
        return []
    return [n for n in names if n.endswith(ending) and is_name(n.removesuffix(ending))]
