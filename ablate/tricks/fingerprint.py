"""A trick's behaviour as part of a trial's key: its declared version, else a hash of its source.

The hash is over the tokens of the trick's module and of every module of its own distribution that
it imports, without comments, docstrings and layout: a comment retrains nothing, a changed line
does.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

from ablate.tricks.base import Trick

_LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
_STARTS_LINE = {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
# Python 3.12 splits f-strings into tokens; their text is one string again here, so that the hash
# does not depend on the interpreter.
_FSTRING_START = getattr(tokenize, "FSTRING_START", -1)
_FSTRING_END = getattr(tokenize, "FSTRING_END", -1)


def behaviour(cls: type[Trick], file: Path) -> str:
    """ "v3" for a declared version, else "sha256:…" of the source."""
    if cls.version is not None:
        return f"v{cls.version}"
    digest = hashlib.sha256()
    for source in _sources(cls.__module__, file):
        digest.update("\x1e".join(_tokens(source)).encode())
        digest.update(b"\x1d")
    return f"sha256:{digest.hexdigest()[:32]}"


def source_digest(file: Path) -> str:
    """SHA-256 of the file as it is: recorded with a result, never keyed."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:32]


def _tokens(source: str) -> Iterator[str]:
    lines = source.splitlines(keepends=True)
    previous, depth, start = tokenize.ENCODING, 0, (1, 0)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for index, token in enumerate(tokens):
        if token.type == _FSTRING_START:
            start = token.start if depth == 0 else start
            depth += 1
        elif token.type == _FSTRING_END:
            depth -= 1
            if depth == 0:
                yield _between(lines, start, token.end)
                previous = tokenize.STRING
        elif depth == 0:
            following = tokens[index + 1].type if index + 1 < len(tokens) else tokenize.NEWLINE
            docstring = (
                token.type == tokenize.STRING
                and previous in _STARTS_LINE
                and following in (tokenize.NEWLINE, tokenize.COMMENT)
            )
            if token.type not in _LAYOUT and not docstring:
                yield token.string
            elif token.type in (tokenize.INDENT, tokenize.DEDENT):
                yield f"<{token.type == tokenize.INDENT}>"  # blocks are behaviour, widths are not
            if token.type not in (tokenize.COMMENT, tokenize.NL):
                previous = token.type


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    middle = "".join(lines[start[0] : end[0] - 1])
    return lines[start[0] - 1][start[1] :] + middle + lines[end[0] - 1][: end[1]]


def _sources(module: str, file: Path) -> list[str]:
    """The trick's module and what it imports of its own top-level package, sorted by name."""
    package = module.split(".")[0]
    found: dict[str, str] = {module: _text(file)}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        for imported in _imports(found[name], name):
            if imported.split(".")[0] != package or imported in found or "." not in module:
                continue
            path = _path(imported)
            if path is not None:
                found[imported] = _text(path)
                waiting.append(imported)
    return [found[name] for name in sorted(found)]


def _text(file: Path) -> str:
    return importlib.util.decode_source(file.read_bytes())  # "# -*- coding: latin-1 -*-" holds


def _imports(source: str, module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = module.rsplit(".", node.level)[0] + "." if node.level else ""
            base = f"{parent}{node.module or ''}".rstrip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _path(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, AttributeError, ValueError):  # `from module import function`
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)
