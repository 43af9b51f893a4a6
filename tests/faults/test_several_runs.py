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

from tests.helpers.fault_runs import Cli, Process, Undisturbed, until
from tests.helpers.fault_table import Proved
from tests.helpers.killing import alive, training
from tests.helpers.spool_rows import Acknowledged, attempts, check_complete, outcome

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc"),
    pytest.mark.timeout(1800),
]
Trained = Callable[[int], Undisturbed]


def claimed(store: Path) -> dict[int, set[str]]:
    """Keys by the process that holds them."""
    found = defaultdict(set)
    for lease in (store / "trials").glob("*/claim/lease.json"):
        with contextlib.suppress(OSError, ValueError):  # released meanwhile
            found[json.loads(lease.read_bytes())["pid"]].add(lease.parts[-3])
    return found


@pytest.mark.long
def test_ten_runs_on_one_store_of_which_three_are_killed(
    cli: Cli, undisturbed: Trained, proved: Proved
) -> None:
    study, whole = undisturbed(12)
    store = cli.folder / "ten"
    runs = [cli.run(study, store, fresh=True) for _ in range(10)]
    kills, taken = 0, set[str]()
    for _ in range(3):
        victim, _ = _holding(runs, store)
        victim.kill(signal.SIGSTOP)
        held = claimed(store).get(victim.pid, set())
        victim.kill()
        victim.wait()
        runs.remove(victim)
        kills, taken = kills + 1, taken | held
    trials = _shared_to_the_end(cli, runs, store, whole, taken)
    proved(
        "runs", f"ten `ablate run` on one store, {kills} of them killed", "kill -9 while it trains",
        kills, f"{len(taken)} claims taken over; 0 of {trials} trials twice; then as undisturbed",
    )  # fmt: skip


def test_two_runs_on_one_store_of_which_one_is_killed(
    cli: Cli, undisturbed: Trained, proved: Proved
) -> None:
    study, whole = undisturbed(2)
    store = cli.folder / "two"
    runs = [cli.run(study, store) for _ in range(2)]
    victim, _ = _holding(runs, store)
    victim.kill(signal.SIGSTOP)
    taken = claimed(store)[victim.pid]
    orphans = [pid for pid, a in training(store).items() if a.parent.name in taken]
    assert orphans
    victim.kill()
    victim.wait()
    runs.remove(victim)
    until(lambda: not any(map(alive, orphans)), "the end of its trials' processes")
    trials = _shared_to_the_end(cli, runs, store, whole, taken)
    proved(
        "runs", "two `ablate run` on one store, one killed", "kill -9 while its trials train",
        1, f"{len(taken)} claims taken over; 0 of {trials} trials twice; then as undisturbed",
    )  # fmt: skip


def test_who_has_lost_its_claim_does_not_end_as_done(
    cli: Cli, undisturbed: Trained, proved: Proved
) -> None:
    """As another machine does with a claim that has not been renewed for ten minutes."""
    study, whole = undisturbed(2)
    store = cli.folder / "lost"
    run = cli.run(study, store, "--seeds", "1")
    until(lambda: len(training(store)) == 2, "two trials")
    lost = training(store)
    for attempt in lost.values():
        claim = attempt.with_name("claim")
        claim.rename(claim.with_name(".claim-lost"))
    assert run.wait() == 0, run.text()
    assert "[3/" not in run.text(), "a third of two trials"
    cli.wait_until_none_is_left()
    for attempt in lost.values():
        key = attempt.parent.name
        assert [status for _, status in attempts(store, key)] == ["", "done"]
        assert repr(outcome(store, key)) == repr(outcome(whole, key))
    how = "taken away while it trains"
    proved("runs", "a claim that is lost", how, len(lost), "0 of them done twice")


def _shared_to_the_end(
    cli: Cli, runs: list[Process], store: Path, whole: Path, taken: set[str]
) -> int:
    """Wait for the others, and check what they made of it: the number of trials."""
    assert [run.wait(600) for run in runs] == [0] * len(runs), [run.text() for run in runs]
    cli.wait_until_none_is_left()
    for key in os.listdir(store / "trials"):
        tries = len(attempts(store, key))
        assert tries == 1 or key in taken, f"{key} was begun {tries} times"
    assert claimed(store) == {}
    Acknowledged(store).check_the_index()
    return check_complete(store, whole)


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
