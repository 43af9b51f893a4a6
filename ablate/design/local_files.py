"""Files that tricks are configured with: where they are, and what is in them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from ablate.design.rows import RowProblem
from ablate.errors import AblateError
from ablate.study.model import Override, Study
from ablate.study.toml_positions import Path
from ablate.tricks.file_params import digest, file_fields

if TYPE_CHECKING:
    from ablate.tricks.base import Trick

MISSING = "missing"  # in the place of a digest: the trial's key is nobody's


@dataclass(frozen=True)
class Files:
    """A trick's parameters that are files. unused: those that were left out, which are in no key:
    a trick that learns to take a file keeps the trials that do without."""

    paths: Mapping[str, str]
    digests: Mapping[str, str]
    unused: tuple[str, ...]


def find_files(
    study: Study, label: str, trick: Trick, rules: Sequence[Override], *, need: bool
) -> Files:
    """Absolute paths and digests. A path is relative to the file that says it, or, from `--set`, to
    the working directory.

    need: refuse what is not there, with RowProblem; else its digest is `MISSING`.
    """
    paths, digests, unused = {}, {}, []
    for name in file_fields(type(trick)):
        value = getattr(trick, name)
        if value is None:
            unused.append(name)
            continue
        place = _place(study, label, name, rules)
        said_in = study.document.origin_of(place).source.path
        base = said_in.parent if said_in is not None else FilePath()
        path = base / FilePath(value).expanduser()
        path = FilePath(os.path.realpath(path.parent), path.name)  # a link keeps its own suffix
        paths[name] = str(path)
        try:
            digests[name] = digest(path)
        except AblateError as error:
            if need:
                where = "the study's file" if said_in is not None else "the working directory"
                hint = f"a path that is not absolute is relative to {where}"
                raise RowProblem(error.message, hint=hint, path=place) from error
            digests[name] = MISSING
    return Files(paths, digests, tuple(unused))


def _place(study: Study, label: str, name: str, rules: Sequence[Override]) -> Path:
    """Where the value in force stands, `--set` before overrides before [tricks]."""
    if name not in study.final_params.get(label, {}):
        for rule in reversed(rules):
            if name in rule.params.get(label, {}):
                return (*rule.path, "tricks", label, name)
    return ("tricks", label, name)
