"""The test suite itself: what would make CI see less than there is."""

from __future__ import annotations

import ast

from tests.helpers.environment import ROOT

TESTS = ROOT / "tests"
NO_TESTS = TESTS / "helpers", TESTS / "store" / "before_move"  # the latter as it was written once
OTHERS = {"__init__.py", "conftest.py", "public_types.py"}  # the last is for mypy


def test_every_file_beside_the_helpers_is_collected() -> None:
    files = [file for file in TESTS.rglob("*.py") if file.parent not in NO_TESTS]
    assert [f for f in files if not f.name.startswith("test_") and f.name not in OTHERS] == []
    assert not [file for folder in NO_TESTS for file in folder.glob("test_*.py")]


def test_no_test_file_imports_another() -> None:
    """Its fixtures and marks would come along, and it would be imported under a second name."""
    for file in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                package, _, name = node.module.partition(".")
                assert package != "tests" or name.partition(".")[0] == "helpers", file
