"""A store, and trials that were trained in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.store_samples import store, trained

__all__ = ["store", "trained"]


@pytest.fixture
def trials_folder(tmp_path: Path) -> Path:
    """What trials are kept in, which only opening a store makes; here the rest is not needed."""
    folder = tmp_path / "trials"
    folder.mkdir()
    return folder
