"""Parameters that are files: a trial's key has their content, whoever needs them their path.

    from ablate import LocalFile, Trick

    class Pretrained(Trick):
        weights: LocalFile

In a study the path is relative to the file that says it. The key has the SHA-256 of the content in
its place, so that a changed file is another trial and a moved one is not. In the process that
trains, the parameter is an absolute path to a file with that content.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel

from ablate.errors import AblateError

if TYPE_CHECKING:
    from ablate.core.trial import TrickSpec


@dataclass(frozen=True)
class IsFile:
    """Marks a parameter's type; `LocalFile` has it."""


def _spelled(value: str) -> str:
    if value.startswith("@"):
        raise ValueError(f'"{value}" is a trial of the study; a file is expected here')
    if not value.strip() or "\0" in value:
        raise ValueError("expected the name of a file")
    return value


LocalFile = Annotated[str, AfterValidator(_spelled), IsFile()]


def file_fields(cls: type[BaseModel]) -> tuple[str, ...]:
    """The parameters that are `LocalFile` or `LocalFile | None`.

    Raises TypeError for one inside a list or the like: only the path would be in the key.
    """
    found = []
    for name, field in cls.model_fields.items():
        own = any(isinstance(mark, IsFile) for mark in field.metadata)
        members = [part for part in get_args(field.annotation) if part is not NoneType]
        union = get_origin(field.annotation) in (Union, UnionType) and len(members) == 1
        if own or (union and any(isinstance(mark, IsFile) for mark in _marks(members[0]))):
            found.append(name)
        elif _mentions(field.annotation):
            raise TypeError(f"{cls.__name__}.{name}: a file is LocalFile or LocalFile | None")
    return tuple(found)


def _marks(annotation: Any) -> tuple[Any, ...]:
    return tuple(getattr(annotation, "__metadata__", ()))


def _mentions(annotation: Any) -> bool:
    inner = (*get_args(annotation), *_marks(annotation))
    return any(isinstance(part, IsFile) or _mentions(part) for part in inner)


def digest(path: Path) -> str:
    """ "sha256:" and 64 hex digits of a file's content. Raises AblateError if it has none."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise AblateError(f"{path} is not a file")
        return _digest(path, about.st_size, about.st_mtime_ns, about.st_ino)
    except FileNotFoundError as error:
        raise AblateError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or str(error)
        raise AblateError(f"{path} cannot be read: {reason}") from error


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, modified: int, inode: int) -> str:
    """Of a file with these marks: planning asks for the same one in every row."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def checked(spec: TrickSpec) -> Mapping[str, Any]:
    """A configured trick's parameters with its files' paths, each with the planned content.

    Raises AblateError for a file that is gone or has changed.
    """
    for name, path in spec.files.items():
        if digest(Path(path)) != spec.params[name]:
            raise AblateError(
                f"{path} changed since the study was planned, and {spec.label}'s {name} is part "
                f"of the key; run it again: with this content it is another trial"
            )
    return spec.given()
