"""What every test shares: the `--long` option, one torch thread, the real images' folder."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="full counts instead of bounded ones")
    parser.addoption("--record", type=Path, help="file that takes what tests/faults has proved")


def pytest_configure() -> None:
    # A shell's `&` has it ignored, and so would every process that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="the full form; run with --long")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def imagenette_root() -> Path:
    """A data root with Imagenette's real images, else skip."""
    root = os.environ.get("ABLATE_DATA")
    if not root or not (Path(root) / "imagenette2-160").is_dir():
        pytest.skip("no real images: set ABLATE_DATA to a folder with imagenette2-160")
    return Path(root)
