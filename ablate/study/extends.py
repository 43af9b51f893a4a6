"""`extends`, `--set`, `--seeds` and `--dataset`: from files and options to one document."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli

from ablate.errors import Problem, StudyError
from ablate.study.document import Document, Origin, document_of, merged, printable
from ablate.study.misplaced import full_name
from ablate.study.source import Source, read_source

_SETTABLE = ("recipe", "tricks", "study", "protocol", "trial")


def read_document(path: Path, shown: str) -> Document:
    """The file with everything it extends merged below it."""
    return _read(path, shown, None, ())


def _read(
    path: Path, shown: str, blame: Problem | None, chain: tuple[tuple[Path, str], ...]
) -> Document:
    source = read_source(path, shown, blame)
    document = document_of(source)
    if "extends" not in source.table:
        return document
    extends = source.table["extends"]
    if not isinstance(extends, str) or not extends or "\0" in extends:
        raise StudyError(
            [document.problem(("extends",), 'expected a file name, as in extends = "group1.toml"')]
        )
    name = printable(extends, 200)
    missing = document.problem(("extends",), f"'{name}' is not a study file that can be read")
    target = path.parent / extends
    try:
        here, there, exists = path.resolve(), target.resolve(), target.is_file()
    except (OSError, RuntimeError) as error:  # a name too long, links that go in a circle
        raise StudyError([missing]) from error
    if not _allowed(here, there):
        message = f"'{name}' is outside the studies and the working directory"
        raise StudyError([document.problem(("extends",), message)])
    chain = (*chain, (here, shown))
    if there in [seen for seen, _ in chain]:
        files = " → ".join([file for _, file in chain] + [name])
        raise StudyError([document.problem(("extends",), f"extends itself: {files}")])
    inner = os.path.normpath(os.path.join(os.path.dirname(shown), extends))
    below = _read(target, inner, None if exists else missing, chain)
    table = {key: value for key, value in below.table.items() if key != "extends"}
    if isinstance(table.get("study"), dict):  # a name is one file's own
        table["study"] = {key: value for key, value in table["study"].items() if key != "name"}
    return merged(Document(table, below.origin, below.sources), document)


def _allowed(file: Path, target: Path) -> bool:
    """Whether the target is below the file's folder, its `studies`, or the working directory."""
    roots = [file.parent, Path.cwd()]
    roots += [parent for parent in file.parents if parent.name == "studies"][:1]
    return any(target.is_relative_to(root) for root in roots)


def with_options(
    document: Document, overrides: Sequence[str], seeds: int | None, datasets: Sequence[str]
) -> tuple[Document, dict[str, Any]]:
    """The document below the options, and what `--set` said: {"recipe": {...}, "tricks": ...}."""
    problems: list[Problem] = []
    said: dict[str, Any] = {}
    for text in overrides:
        table = _setting(text, problems)
        if table is not None:
            option = document_of(Source(f"--set {printable(text, 100)}", text, table))
            document = merged(document, option)
            said = merged(document_of(Source("", "", said)), option).table
    if seeds is not None:
        document = merged(document, _option(f"--seeds {seeds}", {"study": {"seeds": seeds}}))
    if datasets:
        shown = " ".join(f"--dataset {printable(name, 100)}" for name in datasets)
        document = merged(document, _option(shown, {"study": {"datasets": list(datasets)}}))
    if problems:
        raise StudyError(problems)
    files = tuple(source for source in document.sources if source.path is not None)
    return Document(document.table, document.origin, files), said


def _option(shown: str, table: dict[str, Any]) -> Document:
    source = Source(shown, "", table)
    return Document(table, Origin(source), (source,))


def _setting(text: str, problems: list[Problem]) -> dict[str, Any] | None:
    """{"recipe": {"epochs": 5}} of "recipe.epochs=5"; what is no TOML value is taken as text."""
    file = f"--set {printable(text, 100)}"
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or "\n" in text or "\r" in text:
        message = "expected KEY=VALUE, as in --set recipe.epochs=5"
        problems.append(Problem(file, 0, "", message))
        return None
    if (unquoted := _unquoted(name, value)) is not None:
        problems.append(Problem(file, 0, "", unquoted))
        return None
    table: dict[str, Any] = {}
    for candidate in (value, json.dumps(value.strip(), ensure_ascii=False)):
        try:
            table = tomli.loads(f"{name} = {candidate}")
        except (ValueError, RecursionError):
            continue
        break
    group = next(iter(table), None)
    if group not in _SETTABLE or not isinstance(table[group], dict):
        known = ", ".join(f"{known}.*" for known in _SETTABLE)
        message = f"--set changes {known}; '{name.strip()}' is none"
        full = full_name(name.strip())
        hint = f"--set {full}={value}" if full else "for example --set recipe.lr=0.1"
        problems.append(Problem(file, 0, "", message, hint))
        return None
    return table


def _unquoted(name: str, value: str) -> str | None:
    """What is said of a list or table whose quotes a shell took away, `[cosine]`; else None."""
    text = value.strip()
    brackets = {"[": "]", "{": "}"}
    if not text or brackets.get(text[0]) != text[-1]:
        return None

    def parses(candidate: str) -> bool:
        try:
            tomli.loads(f"x = {candidate}")
        except (ValueError, RecursionError):
            return False
        return True

    if parses(text):
        return None
    kind = "list" if text[0] == "[" else "table"
    quoted = _WORD.sub(
        lambda m: m[0] if parses(m[0]) else json.dumps(m[0], ensure_ascii=False), text
    )
    if not parses(quoted):
        quoted = '["warmup", "mixup"]' if kind == "list" else "{ epochs = 2 }"
    shown = printable(f"{name.strip()}={quoted}", 200)
    return (
        f"{printable(text, 60)} is no {kind} of TOML: a shell takes quotes away; put all of it in "
        f"single ones: --set '{shown}'"
    )


_WORD = re.compile(r"[^\[\]{},=\s\"']+(?!\s*=)(?=\s*[\]},])")
