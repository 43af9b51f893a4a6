"""What every test shares: the `--long` option, the real images' folder, workers that are forked."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import forked


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


@pytest.fixture(scope="session", autouse=True)
def workers_are_forked() -> Iterator[None]:
    """Whatever trains in this process has workers that need not import torch again."""
    with pytest.MonkeyPatch.context() as patch:
        forked.workers_are_forked(patch)
        yield
    forked.close()


@pytest.fixture
def real_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of how a worker starts."""
    monkeypatch.setattr("ablate.execution.executor.subprocess", subprocess)
