"""SIGINT and SIGTERM in the middle of an epoch, and a second one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.fault_runs import Cli, Process, Undisturbed, until
from tests.helpers.fault_table import Proved
from tests.helpers.killing import training
from tests.helpers.spool_rows import Acknowledged, attempts, check_complete

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc"),
    pytest.mark.timeout(1800),
]
NAMES = {signal.SIGINT: "SIGINT", signal.SIGTERM: "SIGTERM"}


def epochs(attempt: Path) -> list[int]:
    """Epochs that an attempt has recorded."""
    whole = (attempt / "metrics.jsonl").read_bytes().split(b"\n")[:-1]
    return [line["epoch"] for line in map(json.loads, whole) if line["kind"] == "epoch"]


def in_an_epoch(run: Process, store: Path) -> None:
    """Wait until a trial has recorded an epoch and is in a later one."""

    def holds() -> bool:
        assert run.poll() is None, run.text()
        return any(0 < max(epochs(path), default=0) < 3 for path in training(store).values())

    until(holds, "an epoch")


def test_a_signal_interrupts_and_a_second_kills(
    cli: Cli, undisturbed: Callable[[int], Undisturbed], long: bool, proved: Proved
) -> None:
    study, whole = undisturbed(2)
    store = cli.folder / "signals"
    acknowledged = Acknowledged(store)
    times = dict.fromkeys(NAMES, 0)
    killed = repeated = 0
    turns = [(signal.SIGTERM, None), (signal.SIGINT, signal.SIGTERM)]
    if long:
        turns = 7 * [(signal.SIGINT, None), *turns]
    for turn, (first, second) in enumerate(turns):
        run = cli.run(study, store, fresh=long and turn < 3)
        in_an_epoch(run, store)
        running = training(store)
        if second is None:
            run.kill(first)
        else:
            # Those that train are stopped, so that they cannot do what the first signal asks for.
            for pid in running:
                os.kill(pid, signal.SIGSTOP)
            run.kill(first)
            until(lambda run=run: "Stopping after this step" in run.text(), "the first answer")
            run.kill(second)
            killed += 1
        assert run.wait() == 128 + first, run.text()
        cli.wait_until_none_is_left()
        acknowledged.look()
        text = run.text()
        assert "Traceback" not in text
        assert "Stopping after this step; the running epoch is repeated next time" in text
        assert "Interrupted: " in text
        times[first] += 1
        for attempt in running.values():
            status = dict(attempts(store, attempt.parent.name))[attempt]
            assert status in ("", "done"), "neither interrupted nor done"
            repeated += status == ""
        if all("done" in [s for _, s in attempts(store, p.name)] for p in _trials(store)):
            acknowledged.check_the_index()
            check_complete(store, whole)
            store = store.with_name(f"{store.name}-")
            acknowledged = Acknowledged(store)
    assert repeated > 0
    last = cli.run(study, store)
    assert last.wait() == 0, last.text()
    assert check_complete(store, whole) == 4
    acknowledged.check_the_index()
    lost = "the running epoch; then as undisturbed"
    for number, name in NAMES.items():
        how = f"sent to `ablate run`, which ends with {128 + number}"
        proved("signals", f"{name} in an epoch", how, times[number], lost)
    how = "while the trials cannot stop; 0 orphans"
    proved("signals", "a second signal", how, killed, "the running epochs; then as undisturbed")


def _trials(store: Path) -> list[Path]:
    return list((store / "trials").iterdir())
