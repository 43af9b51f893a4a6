"""What is public: its names, that they are typed, and that tricks and docs use nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import ablate
from tests.helpers.environment import ROOT

PUBLIC = (
    *("ablate", "ablate.hookspecs", "ablate.testing", "ablate.models", "ablate.models.surgery"),
    "ablate.data.augment_policies",
)
TRICKS = sorted((ROOT / "plugins").rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("plugins/**/*.md")])
# Modules of before the packages, which loose tricks may import: their text is part of their key.
OLD_NAMES = {
    "ablate.types": ("Factors", "Run", "Schedule"),
    "ablate.streams": ("Draws", "key"),
    "ablate.recipe": ("Recipe",),
    "ablate.trial": ("Trial",),
    "ablate.pretrained": ("check_file", "load_file"),
    "ablate.data.policy": ("OPERATIONS", "apply_steps"),
    "ablate.tricks.files": ("LocalFile",),
}


def examples(page: Path) -> Iterator[str]:
    """Blocks of Python on a page; those that are no whole program are left out."""
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        try:
            ast.parse(code := textwrap.dedent(block))
        except SyntaxError:
            continue
        yield code


def imports(code: str) -> Iterator[tuple[str, str]]:
    """(module, name) of all that the code imports from ablate, name "" for a whole module."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "ablate":
                    yield alias.name, ""
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ablate":
            for alias in node.names:
                yield node.module or "", alias.name


def not_public(code: str) -> list[str]:
    found = []
    for module, name in imports(code):
        if module not in PUBLIC or (name and name not in import_module(module).__all__):
            found.append(f"{module}: {name}")
    return found


@pytest.mark.parametrize("file", TRICKS, ids=[path.stem for path in TRICKS])
def test_tricks_use_what_is_public(file: Path) -> None:
    assert not_public(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_examples_use_what_is_public(page: Path) -> None:
    assert [found for code in examples(page) for found in not_public(code)] == []


@pytest.mark.parametrize("module", PUBLIC)
def test_every_name_is_there_and_no_other_is_offered(module: str) -> None:
    made = import_module(module)
    assert [name for name in made.__all__ if not hasattr(made, name)] == []
    assert sorted(made.__all__) == sorted(set(made.__all__))
    with pytest.raises(AttributeError):
        made.Nonsense  # noqa: B018 - a lazy module answers for names that it has, and for no other


def test_dir_shows_the_names() -> None:
    assert set(ablate.__all__) <= set(dir(ablate))


def test_what_is_public_is_there_in_a_new_process_whatever_was_imported_before() -> None:
    """A package called like a function of ablate would take its place once it is imported."""
    code = "import pkgutil, importlib, ablate\n"
    code += "for m in pkgutil.walk_packages(ablate.__path__, 'ablate.'):\n"
    code += "    m.name.endswith('__main__') or importlib.import_module(m.name)\n"
    code += "from types import ModuleType\n"
    code += "print([n for n in ablate.__all__ if isinstance(getattr(ablate, n), ModuleType)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(("module", "names"), OLD_NAMES.items(), ids=list(OLD_NAMES))
def test_old_names_lead_to_the_same_things(module: str, names: tuple[str, ...]) -> None:
    old = import_module(module)
    for name in names:
        new = {"key": "stream_key", "check_file": "check_teacher", "load_file": "load_teacher"}
        place = ablate if hasattr(ablate, new.get(name, name)) else old
        assert getattr(old, name) is getattr(place, new.get(name, name))


def test_nothing_of_ours_imports_an_old_name() -> None:
    for file in (*(ROOT / "ablate").rglob("*.py"), *TRICKS):
        used = {module for module, _ in imports(file.read_text(encoding="utf-8"))}
        assert not used & OLD_NAMES.keys(), file
