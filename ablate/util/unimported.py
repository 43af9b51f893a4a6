"""Where a function of one's own is, and whether it is there, found without importing anything."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from pkgutil import get_importer

from ablate.errors import AblateError, brief
from ablate.util.own_code import ON_PATH

_LARGEST = 1_000_000  # bytes of a source that is parsed, which takes a hundred times as much


def look(what: str, name: str) -> str:
    """The file that a function is in, found without running any of it; "" where that is not known.

    Raises AblateError where there is no such module, or no such name in it. What a module computes
    its names from is not known, and then nothing is said.
    """
    module, _, wanted = name.partition(":")
    spec, reached = _spec(module)
    if spec is None:
        if reached == "?":
            return ""
        raise AblateError(
            f"{what} '{name}': {module} does not import: no module named '{reached}'",
            hint=ON_PATH if "." not in reached else None,
        )
    file = spec.origin or ""
    if not file.endswith(".py"):
        return file if spec.has_location else ""
    try:
        with open(file, "rb") as opened:
            source = opened.read(_LARGEST + 1)
        if len(source) > _LARGEST:
            return file
        tree = ast.parse(importlib.util.decode_source(source))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise AblateError(f"{what} '{name}': {module} does not import: {brief(error)}") from error
    except (OSError, ValueError, RecursionError, MemoryError):
        return file
    names = _names(tree)
    if names is not None and wanted not in names:
        raise AblateError(f"{what} '{name}': {module} has no function '{wanted}'")
    return file


def _spec(module: str) -> tuple[ModuleSpec | None, str]:
    """Where a module is, without importing its parents; else None and which one is not there,
    "?" if only its parents could tell."""
    top, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None, "?"
    name = top
    for part in inner:
        if spec is None:
            break
        folders, parent, name = spec.submodule_search_locations, spec, f"{name}.{part}"
        if folders is None:
            return None, name
        spec = _inside(folders, name)
        if spec is None and _finds_more(parent):
            return None, "?"
    return spec, name


def _inside(folders: Iterable[str], name: str) -> ModuleSpec | None:
    """A module of a package with these folders; Python's own search wants its parents imported."""
    parts: list[str] = []
    for folder in folders:
        finder = get_importer(folder)
        spec = finder.find_spec(name) if finder is not None else None
        if spec is not None and spec.loader is not None:
            return spec
        parts += (spec.submodule_search_locations or []) if spec is not None else []
    found = ModuleSpec(name, None, is_package=True)  # without an `__init__`
    found.submodule_search_locations = parts
    return found if parts else None


def _finds_more(package: ModuleSpec) -> bool:
    """Whether a package may have modules elsewhere than in its folder."""
    try:
        text = Path(package.origin or "").read_bytes()
    except OSError:
        return True
    return b"__path__" in text or b"sys.modules" in text


def _names(tree: ast.Module) -> set[str] | None:
    """What a module binds; None where that takes running it."""
    found: set[str] = set()
    for node in _outside_functions(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                found.add(alias.asname or alias.name.partition(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.MatchAs | ast.MatchStar):
            found.add(node.name or "")
    # names of another module, and what makes names of texts
    texts = {"*", "__getattr__"} & found
    computed = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    changed = any(isinstance(node, ast.Global) for node in ast.walk(tree))
    tricky = {"globals", "vars", "locals", "setattr", "exec", "eval", "sys"} & computed
    return None if texts or tricky or changed else found


def _outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs when the module is imported, in no function or class of it."""
    waiting = list(ast.iter_child_nodes(tree))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
