"""The way in: the picture is the layers that imports are held to, links lead to what they name."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest

from tests.helpers.environment import ROOT

ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = [ARCHITECTURE, ROOT / "docs" / "design.md", ROOT / "CONTRIBUTING.md"]
PICTURE = ARCHITECTURE.read_text(encoding="utf-8").split("```mermaid\n")[1].split("```")[0]
NODES = re.findall(r"^ +(\w+)\[", PICTURE, re.MULTILINE)
ARROWS = re.findall(r"^ +(\w+) --> (\w+)$", PICTURE, re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def layers() -> list[set[str]]:
    """What stands on each floor of the contract of `ablate`, from the top."""
    [contract] = [
        contract
        for contract in PROJECT["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers" and contract["containers"] == ["ablate"]
    ]
    return [set(re.findall(r"\w+", layer)) for layer in contract["layers"]]


FLOORS = {name: number for number, layer in enumerate(layers()) for name in layer}


def files_of(name: str) -> list[Path]:
    """The files of a package or module of `ablate`."""
    module = ROOT / "ablate" / f"{name}.py"
    return [module] if module.exists() else sorted((ROOT / "ablate" / name).rglob("*.py"))


def is_old_name(name: str) -> bool:
    """Whether it is kept for loose tricks alone, which the page says in words."""
    texts = [file.read_text(encoding="utf-8") for file in files_of(name)]
    return bool(texts) and all(text.startswith('"""Old name') for text in texts)


def test_the_picture_has_every_package_and_no_other() -> None:
    packages = {path.parent.name for path in (ROOT / "ablate").glob("*/__init__.py")}
    assert packages <= FLOORS.keys(), "a package without its place among the layers"
    assert sorted(NODES) == sorted(name for name in FLOORS if not is_old_name(name))


def test_the_picture_has_them_in_the_order_of_the_layers() -> None:
    floors = [FLOORS[name] for name in NODES]
    assert floors == sorted(floors)


def test_every_line_of_the_picture_is_read_here() -> None:
    assert PICTURE.splitlines()[0] == "flowchart TD"
    assert len([line for line in PICTURE.splitlines() if line.strip()]) == 1 + len(NODES + ARROWS)


def test_arrows_are_imports_and_none_points_upwards() -> None:
    assert ARROWS
    for above, below in ARROWS:
        assert FLOORS[above] < FLOORS[below], (above, below)
        assert below in set().union(*map(imported, files_of(above))), f"{above} does not import it"


def imported(file: Path) -> set[str]:
    """The packages of `ablate` that a file imports, at its top or in a function."""
    modules: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    return {module.split(".")[1] for module in modules if module.startswith("ablate.")}


def test_whatever_nothing_leads_to_is_where_a_person_begins() -> None:
    assert set(NODES) - {below for _, below in ARROWS} == {"__main__", "api", "testing"}


def links(page: Path) -> list[tuple[str, str]]:
    """(text, target) of every link outside of code, but for those to other sites."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.findall(r"\[((?:[^\[\]]|\[\w+\])+)\]\(([^)\s]+)\)", text)
    return [(words, target) for words, target in found if not target.startswith("http")]


def defines(file: Path, name: str) -> bool:
    """Whether a function, class or constant of this name is in the file; "Class.method" too."""
    scope: list[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
    for part in name.split("."):
        inside = [node for node in scope if part in names_of(node)]
        if not inside:
            return False
        scope = getattr(inside[0], "body", [])
    return True


def names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_a_file_that_has_what_they_name(page: Path) -> None:
    """In [`resolve`](../ablate/design/resolve.py) the text is a name that the file defines."""
    assert links(page)
    for words, target in links(page):
        path = target.partition("#")[0]
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if file.suffix == ".py":
            for name in re.findall(r"`([\w.]+)`", words):
                assert defines(file, name), f"{path} has no {name}"
            plain = words.replace("\\", "")
            assert "`" in words or path.endswith(plain), f"[{plain}] is not {path}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_folders_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`(ablate(?:\.\w+)+)`", text):
        resolve_name(name)
    for path in re.findall(r"`((?:ablate|tests|plugins|docs|benchmarks)/[\w./]+)`", text):
        if not re.search(r"[A-Z]{4}", path):  # NAME stands for any
            assert (ROOT / path).exists(), path
