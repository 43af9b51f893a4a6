"""Own caches for every test, and small data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.data_samples import WOOF, write_images


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees or fills the user's cache."""
    import torch

    torch.set_num_threads(1)
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "decoded"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.delenv("ABLATE_DATA", raising=False)
    return tmp_path / "decoded"


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Three classes, 6 training and 3 evaluation images of each."""
    return write_images(tmp_path / "animals", ("ant", "bee", "cat"), 6, 3)


@pytest.fixture
def woof_root(tmp_path: Path) -> Path:
    """A data root with a small `imagewoof2-160`."""
    write_images(tmp_path / "root" / "imagewoof2-160", WOOF, 4, 2)
    return tmp_path / "root"
