from __future__ import annotations

import pytest
from stand_ins import add_what_is_to_come


@pytest.fixture
def to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    add_what_is_to_come(monkeypatch)
