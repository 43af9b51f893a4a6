"""Writers and ingesters, killed while lines come as fast as they can: the index against the spool.

`ablate run` writes some lines a second; here there are always new ones, so that an ingester is
nearly always in a transaction.
"""

from __future__ import annotations

import random
import secrets
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest

from ablate.store.store import Store
from tests.helpers.fault_runs import Cli, until
from tests.helpers.fault_table import Proved
from tests.helpers.killing import IN, await_moment
from tests.helpers.spool_rows import COUNT, Acknowledged, in_the_database

pytestmark = pytest.mark.timeout(1800)

WRITER = """
    import sys
    from pathlib import Path
    from ablate.store.attempt_writer import Attempt
    attempt = Attempt.begin(Path(sys.argv[1]), sys.argv[2])
    print(attempt.name, flush=True)
    for epoch in range(1, 1_000_000):
        attempt.record("epoch", epoch=epoch, metrics={"top1": epoch / 7}, seconds=0.1, steps=1)
        print(epoch, flush=True)
"""


def test_kills_of_writers_and_ingesters_lose_and_double_nothing(
    cli: Cli, tmp_path: Path, long: bool, proved: Proved
) -> None:
    seed = secrets.randbelow(10**6)
    print(f"seed of the moments: {seed}")
    chance, hit = random.Random(seed), Counter[str]()
    store = Store.open(tmp_path / "store", create=True).path
    seen = Acknowledged(store)
    acknowledged: dict[tuple[str, str], int] = {}
    for kill in range(60 if long else 3):
        key, flag = f"{kill % 3:064x}", tmp_path / f"flag-{kill}"
        command = [sys.executable, "-c", textwrap.dedent(WRITER), str(store), key]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        name = writer.stdout.readline().strip()
        ingester = cli.ingest(store, flag)
        until(lambda flag=flag: flag.exists() and flag.read_bytes(), "the ingester")
        await_moment(flag, chance)
        ingester.kill(signal.SIGSTOP)
        hit[IN.get(flag.read_bytes(), "between transactions")] += 1
        ingester.kill()
        time.sleep(chance.uniform(0, 0.05))
        writer.kill()
        acknowledged[key, name] = len(writer.communicate()[0].split("\n")[:-1])
        ingester.wait()
        seen.check_the_database()
    seen.check_the_index()
    assert sum(acknowledged.values()) > 100
    for key, attempt, count, *_ in in_the_database(store, COUNT):
        said = acknowledged[key, attempt]
        assert count in (said, said + 1), "a line that was said to be written is not there"
    leftovers = {p.name for p in store.iterdir()} - {"results.duckdb", ".index.lock"}
    assert leftovers == {"FORMAT", ".gitignore", "studies", "trials", "looks"}
    where = ", ".join(f"{name} {hit[name]}" for name in (*IN.values(), "between transactions"))
    proved(
        "kills", "kill -9 of a writer of lines and of an ingester", f"at random: {where}",
        2 * hit.total(), f"0 of {sum(acknowledged.values()):,} lines, 0 doubled",
    )  # fmt: skip
