"""The test suite itself: what would make CI see less than there is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def test_no_two_files_have_one_name() -> None:
    """pytest imports them by name: of two that share it, it runs one and refuses the other."""
    counts = Counter(file.name for file in TESTS.rglob("test_*.py"))
    assert [name for name, count in counts.items() if count > 1] == []
