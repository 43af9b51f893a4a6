"""Several `ablate run` on one store: they share the work, also of those that are killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_runs import Cli, Process, until
from killing import parent, training
from spool_rows import Acknowledged, attempts, check_complete, outcome

from conftest import Proved, Undisturbed

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc"),
    pytest.mark.timeout(1200),
]
Trained = Callable[[int], Undisturbed]


def claimed(store: Path) -> dict[int, set[str]]:
    """Keys by the process that holds them."""
    found = defaultdict(set)
    for lease in (store / "trials").glob("*/claim/lease.json"):
        with contextlib.suppress(OSError, ValueError):  # released meanwhile
            found[json.loads(lease.read_bytes())["pid"]].add(lease.parts[-3])
    return found


@pytest.mark.parametrize("number", [2, pytest.param(10, marks=pytest.mark.long)])
def test_runs_on_one_store_share_it_and_take_over_what_a_dead_one_held(
    cli: Cli, undisturbed: Trained, proved: Proved, number: int
) -> None:
    study, whole = undisturbed(2 if number == 2 else 12)
    store = cli.folder / f"shared-{number}"
    runs = [cli.run(study, store, fresh=number > 2) for _ in range(number)]
    acknowledged = Acknowledged(store)
    kills, taken = number // 3 or 1, set[str]()
    for _ in range(kills):
        victim, held = _holding(runs, store)
        acknowledged.look()
        victim.kill()
        victim.wait()
        runs.remove(victim)
        taken |= held
    assert [run.wait(600) for run in runs] == [0] * len(runs), [run.text() for run in runs]
    cli.wait_until_none_is_left()
    trials = check_complete(store, whole)
    acknowledged.check_the_index()
    for key in os.listdir(store / "trials"):
        tries = len(attempts(store, key))
        assert tries == 1 or key in taken, f"{key} was begun {tries} times"
    assert claimed(store) == {}
    proved(
        "runs", f"{number} `ablate run` on one store, {kills} killed holding claims",
        f"kill -9; the others took {len(taken)} claims over", kills,
        f"0 of {trials} trials twice; then as undisturbed",
    )  # fmt: skip


def _holding(runs: list[Process], store: Path) -> tuple[Process, set[str]]:
    """A run that trains while another does, too, and what it holds."""
    found: list[tuple[Process, set[str]]] = []

    def holds() -> bool:
        assert any(run.poll() is None for run in runs), [run.text() for run in runs]
        claims, trained = claimed(store), {a.parent.name for a in training(store).values()}
        busy = [(run, claims.get(run.pid, set())) for run in runs if run.poll() is None]
        found[:] = [(run, keys) for run, keys in busy if keys & trained]
        return len(found) > 1

    until(holds, "two runs that train")
    return found[0]


def test_nobody_trains_beside_who_does_not_know_that_its_run_is_dead(
    cli: Cli, undisturbed: Trained, proved: Proved
) -> None:
    """A coordinator is dead and its fork server asleep: the trial's process knows of nothing until
    it has something to say."""
    study, whole = undisturbed(2)
    store = cli.folder / "asleep"
    run = cli.run(study, store, "--seeds", "1")
    until(lambda: len(training(store)) == 2, "two trials")
    orphans = training(store)
    server = parent(next(iter(orphans)))
    os.kill(server, signal.SIGSTOP)
    for pid in orphans:  # so that the next run is there before they have ended
        os.kill(pid, signal.SIGSTOP)
    run.kill()
    run.wait()
    again = cli.run(study, store, "--seeds", "1")
    try:
        until(lambda: "shared with" in again.text(), "the other run to see it")
        assert len(training(store)) == 2, "they are trained by two"
    finally:
        for pid in orphans:
            os.kill(pid, signal.SIGCONT)
    try:
        assert again.wait() == 0, again.text()
    finally:
        os.kill(server, signal.SIGCONT)
    cli.wait_until_none_is_left()
    for attempt in orphans.values():
        key = attempt.parent.name
        statuses = [status for _, status in attempts(store, key)]
        assert statuses in (["done"], ["", "done"])
        assert repr(outcome(store, key)) == repr(outcome(whole, key))
    how = "kill -9 of it, its fork server asleep"
    proved("runs", "a dead run's trials that do not know it", how, len(orphans), "0 trained twice")
