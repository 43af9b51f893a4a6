from __future__ import annotations

import sys
from pathlib import Path

import pytest

# the reference studies and what they need lie beside the tests of study files
sys.path.insert(0, str(Path(__file__).parent.parent / "study"))

from stand_ins import add_what_is_to_come


@pytest.fixture
def to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    add_what_is_to_come(monkeypatch)
