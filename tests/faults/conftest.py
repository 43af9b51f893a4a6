"""What the fault tests share: saying what was proved, for the table in docs/reliability.md."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ablate.cli.main import main
from tests.helpers.cli_process import Done
from tests.helpers.fault_runs import Cli, Run, Undisturbed, write_study
from tests.helpers.fault_table import GROUPS, Proved


@pytest.fixture
def proved(request: pytest.FixtureRequest) -> Proved:
    """Call it last, when every assertion has held: one row of the table.

    group: one of `fault_table.GROUPS`; fault: what went wrong; how: how it was brought about;
    times: how often in this run, counted and not written down; lost: what it cost, counted too.
    """

    def row(group: str, fault: str, how: str, times: int, lost: str) -> None:
        assert group in GROUPS
        assert times > 0
        record: Path | None = request.config.getoption("--record")
        if record is None:
            return
        line = {"group": group, "fault": fault, "how": how, "times": times, "lost": lost}
        form = "full" if request.config.getoption("--long") else "bounded"
        line |= {"test": request.node.nodeid, "form": form}
        place = request.config.invocation_params.dir / record  # a test may be elsewhere by now
        descriptor = os.open(place, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
        try:
            os.write(descriptor, f"{json.dumps(line)}\n".encode())
        finally:
            os.close(descriptor)

    return row


@pytest.fixture(scope="session")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Starts commands that have imported already; what it started is ended with the session."""
    started = Cli(tmp_path_factory.mktemp("runs"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def undisturbed(cli: Cli) -> Callable[[int], Undisturbed]:
    """Of so many seeds: two trials for each."""

    @functools.cache
    def made(seeds: int) -> Undisturbed:
        study, store = write_study(cli.folder, seeds), cli.folder / f"whole-{seeds}"
        run = cli.run(study, store)
        assert run.wait(600) == 0, run.text()
        return Undisturbed(study, store)

    return made


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`run("report", …)` in this process, in an empty folder, with the store `store` in it."""
    monkeypatch.chdir(tmp_path)

    def one(*arguments: str) -> Done:
        capfd.readouterr()
        code = main([*arguments, "--store", "store"])
        return Done(code, *capfd.readouterr())

    return one
