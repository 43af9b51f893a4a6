"""kill -9 of everything that runs, at random moments, until the study is complete all the same."""

from __future__ import annotations

import random
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.fault_runs import Cli, Process, Undisturbed
from tests.helpers.fault_table import Proved
from tests.helpers.killing import Killer
from tests.helpers.spool_rows import check_complete

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc"),
    pytest.mark.timeout(3600),
]

Trained = Callable[[int], Undisturbed]
PLAN = {"trial": 2, "checkpoint": 2, "server": 1, "ingester": 3, "ingesting": 1, "coordinator": 1}
LONG = {"trial": 60, "checkpoint": 30, "server": 14, "ingester": 70, "ingesting": 14}
LONG |= {"coordinator": 20, "beginning": 8}


def _inside(hit: Counter[str]) -> int:
    """How often an ingester was killed while it wrote."""
    return hit["in a transaction"] + hit["making the database anew"]


def test_random_kills(cli: Cli, undisturbed: Trained, long: bool, proved: Proved) -> None:
    seed = secrets.randbelow(10**6)
    print(f"seed of the moments: {seed}")
    chance = random.Random(seed)
    study, whole = undisturbed(12 if long else 2)
    plan = [kind for kind, times in (LONG if long else PLAN).items() for _ in range(times)]
    chance.shuffle(plan)
    hit: Counter[str] = Counter()
    rows = trials = stores = new = 0
    gone = 0.0
    while plan:
        stores += 1
        killer = Killer(cli, cli.folder / f"store-{stores}", chance, hit)
        for run in _runs(cli, study, killer.store, chance, long):
            new += run.fresh
            _disturb(run, killer, plan)
        trials += check_complete(killer.store, whole)
        killer.acknowledged.check_the_index()
        rows += killer.acknowledged.rows
        gone = max(gone, killer.gone_after)
        shutil.rmtree(killer.store)
        if not plan and _inside(hit) < hit["ingester"] / 4 and hit["ingester"] < 30:
            plan = ["ingester"] * 3  # moments are random: of a few, all may be between transactions
    assert _inside(hit) >= hit["ingester"] / 4
    assert hit["checkpoint"] == (LONG if long else PLAN)["checkpoint"]
    cli.wait_until_none_is_left()

    def prove(fault: str, how: str, *kinds: str) -> None:
        proved("kills", fault, how, sum(hit[kind] for kind in kinds), lost)

    lost = f"0 of {rows:,} rows; 0 of {trials} trials twice, 0 other than undisturbed"
    where = f"in a transaction {hit['in a transaction']}"
    where += f", making the database anew {hit['making the database anew']}"
    prove("kill -9 of a trial's process", "at random", "trial")
    prove("kill -9 of a trial's process", "while it writes a checkpoint", "checkpoint")
    prove("kill -9 of the fork server", "at random", "server")
    orphans = f"0 orphans, after {gone:.1f} s at most; {new} runs were new processes"
    prove("kill -9 of `ablate run`", f"at random; {orphans}", "coordinator", "beginning")
    prove("kill -9 of `ablate run`", "while it ingests; 0 orphans", "ingesting")
    prove("kill -9 of an ingester beside the run", f"at random: {where}", "ingester")


def _runs(
    cli: Cli, study: Path, store: Path, chance: random.Random, long: bool
) -> Iterator[Process]:
    """`ablate run` again and again, until one says that all is done."""
    for _ in range(200):
        fresh = long and chance.random() < 0.25
        run = cli.run(study, store, fresh=fresh)
        yield run
        if run.wait(600) == 0:
            return
        text = run.text()
        assert run.poll() in (1, -9), text
        assert "Traceback" not in text, text
    raise AssertionError("not complete after 200 runs")


def _disturb(run: Process, killer: Killer, plan: list[str]) -> None:
    """Kill what the plan says until the run is over; what could not be hit is tried again later."""
    while plan and run.poll() is None:
        kind = plan.pop()
        if not getattr(killer, kind)(run):
            plan.insert(0, kind)
