"""Collecting every problem of a study, and the checks that hold for all of its parts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ablate.core.recipe import Recipe
from ablate.errors import Problem, did_you_mean
from ablate.models import catalogue
from ablate.study.document import Document, printable
from ablate.study.messages import expectation, findings, found
from ablate.study.misplaced import unknown_setting
from ablate.study.toml_positions import Path
from ablate.util import own_code

Model = TypeVar("Model", bound=BaseModel)
SETTINGS = tuple(Recipe.model_fields)
MAX_PROBLEMS = 1000  # of a hostile file; a person reads the first few
_NOT_IN_NAMES = frozenset("/\\:@,'\"")


class Checker:
    """The problems so far. One place has one problem: the first that was found there."""

    def __init__(self, document: Document, *, bundled_only: bool = False) -> None:
        """bundled_only: nothing may run but ablate's own code."""
        self.document = document
        self.bundled_only = bundled_only
        self.problems: list[Problem] = []
        self._places: set[Path] = set()

    def problem(
        self, path: Path, message: str, *, hint: str | None = None, key: bool = False
    ) -> None:
        """Report `message` at `path`, unless it or what encloses it is reported already."""
        enclosing = (path[:length] for length in range(1, len(path) + 1))
        if len(self.problems) >= MAX_PROBLEMS or any(p in self._places for p in enclosing):
            return
        self._places.add(path)
        self.problems.append(self.document.problem(path, message, hint=hint, key=key))

    def within(self, path: Path) -> bool:
        """Whether something at or below `path` is reported."""
        return any(place[: len(path)] == path for place in self._places)

    def wrong(self, path: Path, wanted: str, value: Any) -> None:
        """Report that something else was expected at `path`."""
        name = next((part for part in reversed(path) if isinstance(part, str)), "")
        repairable = isinstance(path[-1], str) if path else False
        self.problem(path, expectation(wanted, value, name if repairable else ""))

    def table(self, path: Path, value: Any, wanted: str = "a table") -> dict[str, Any]:
        """`value` if it is a table, else a problem and an empty one."""
        if isinstance(value, dict):
            return value
        self.wrong(path, wanted, value)
        return {}

    def values(self, value: Any, path: Path = ()) -> None:
        """Refuse what TOML can write and no setting takes: nan, inf, huge integers, dates."""
        if isinstance(value, dict):
            for key, item in value.items():
                self.values(item, (*path, key))
        elif isinstance(value, list):
            for number, item in enumerate(value):
                self.values(item, (*path, number))
        elif isinstance(value, float) and not math.isfinite(value):
            self.problem(path, f"{value} is not a finite number")
        elif isinstance(value, int) and abs(value) >= 2**63:
            self.problem(path, "is out of range; must have fewer than 19 digits")
        elif isinstance(value, datetime | date | time):
            self.problem(path, "no setting is a date or time")

    def unknown_keys(self, path: Path, table: Mapping[str, Any], known: Sequence[str]) -> None:
        """Report every key that is none of `known`."""
        for key in table:
            if key not in known:
                self.unknown((*path, key), known)

    def unknown(self, path: Path, known: Sequence[str], here: str = "") -> None:
        """Report a key that its table does not have: where it belongs, or what was meant.

        here: the kind of table, if it is one of several, as "recipe" of all that set a recipe's.
        """
        message = unknown_setting(str(path[-1]), here, known, self._tricks)
        self.problem(path, message, key=True)

    def _tricks(self) -> Sequence[str]:
        from ablate.tricks.discovery import load_catalogue

        return load_catalogue().names  # read without importing any

    def model(self, cls: type[Model], path: Path, table: dict[str, Any]) -> Model | None:
        """`table` as a `cls`; TOML types are not coerced because the fields are strict."""
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            self.findings(error, path, table, tuple(cls.model_fields), "setting")
            return None

    def findings(
        self, error: ValidationError, path: Path, table: Any, known: Sequence[str], noun: str
    ) -> None:
        """Report what pydantic found in the value at `path`."""
        details = error.errors(include_url=False)
        for finding in findings(details, table, known, noun):
            where = (*path, *finding.path)
            if finding.key and len(finding.path) == 1 and finding.path[0] not in known:
                self.unknown(where, known, "recipe" if known == SETTINGS else str(path[-1]))
            else:
                self.problem(where, finding.message, key=finding.key)

    def settings(self, path: Path, value: Any) -> dict[str, Any]:
        """Some settings of a recipe; those that are wrong are reported and left out."""
        table = self.table(path, value)
        # model is required of a whole recipe, not of a part of one
        stand_in = {} if "model" in table else {"model": "any"}
        try:
            Recipe.model_validate(table | stand_in)
        except ValidationError as error:
            self.findings(error, path, table, SETTINGS, "setting")
        model = table.get("model")
        if isinstance(model, str):
            self.model_name((*path, "model"), model)
        return {key: item for key, item in table.items() if key in SETTINGS}

    def model_name(self, path: Path, name: str) -> None:
        """Report a model that the zoo does not have."""
        if self._refused(path, name):
            return
        if not catalogue.is_model(name):
            close = did_you_mean(name, catalogue.model_names())
            if not close.startswith("; did you mean"):
                close = "; ablate models lists them"  # too many for a message
            self.problem(path, f"unknown model '{printable(name)}'{close}")

    def dataset_name(self, path: Path, name: str) -> bool:
        """Whether the data set may exist; nothing is imported or read to find out."""
        from ablate.data import catalogue

        if self._refused(path, name):
            return False
        folder = name.startswith("imagefolder:") and name != "imagefolder:"
        if folder or own_code.is_function(name) or name in catalogue.dataset_names():
            return True
        known = did_you_mean(name, catalogue.dataset_names())
        self.problem(path, f"unknown data set '{printable(name)}'{known}")
        return False

    def _refused(self, path: Path, name: str) -> bool:
        """Report a function that is never called."""
        if not own_code.is_function(name):
            return False
        refused = own_code.refusal(name, bundled_only=self.bundled_only)
        if refused is None:
            return False
        self.problem(path, f"'{printable(name)}' {refused[0]}", hint=refused[1])
        return True

    def texts(self, path: Path, value: Any, wanted: str) -> tuple[tuple[int, str], ...]:
        """(index, text) of a list of texts; what is none is reported and left out."""
        if not isinstance(value, list):
            self.wrong(path, wanted, value)
            return ()
        texts = []
        for number, item in enumerate(value):
            if isinstance(item, str):
                texts.append((number, item))
            else:
                self.problem((*path, number), f"expected a text, found {found(item)}")
        return tuple(texts)

    def one_or_many(self, path: Path, value: Any) -> tuple[tuple[Path, str], ...]:
        """(path, text) of one text or a list of them."""
        if isinstance(value, str):
            return ((path, value),)
        texts = self.texts(path, value, "a text or a list of texts")
        if value == []:
            self.problem(path, "is empty")
        return tuple(((*path, number), text) for number, text in texts)

    def label(self, path: Path, name: str, *, key: bool = True) -> None:
        """Report a name that could not be printed, addressed or made part of a file name."""
        if problem := name_problem(name):
            self.problem(path, problem, key=key)


def name_problem(name: str) -> str | None:
    """Why `name` cannot name an ablation, an alias or a trial; None if it can."""
    if not name or len(name) > 64:
        return "a name has 1 to 64 characters"
    if name.startswith((".", "-")):
        return f"'{printable(name)}' is no name: it begins with {name[0]}"
    if printable(name, 64) != name or name.strip() != name:
        return f"'{printable(name)}' is no name; use letters, digits, _ and -"
    if bad := sorted(_NOT_IN_NAMES & set(name)):
        return f"a name may not have {' '.join(bad)} in it"
    return None


def alike(name: str, other: str) -> str:
    """What is said of a name that looks like another one and is not: where they part, in code."""
    place = next((i for i, (a, b) in enumerate(zip(name, other, strict=False)) if a != b), None)
    place = min(len(name), len(other)) if place is None else place
    here, there = (
        " ".join(f"U+{ord(char):04X}" for char in text[place : place + 2]) or "its end"
        for text in (name, other)
    )
    return f"'{printable(name)}' looks like another name here: it has {here}, that one {there}"


def as_json(value: Any) -> str:
    """JSON for pydantic's strict mode, in which a TOML list may become a tuple."""
    return json.dumps(value, default=str, skipkeys=True)
