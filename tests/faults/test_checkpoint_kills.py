"""kill -9 while a checkpoint is written: the newest one that was acknowledged loads."""

from __future__ import annotations

import random
import secrets
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from ablate.store.attempt_reader import checkpoints
from tests.helpers.fault_table import Proved

KEY = "ab" * 32

SAVER = """
    import sys
    from pathlib import Path
    from ablate.store.attempt_writer import Attempt
    from ablate.store.store import Store
    store = Store.open(Path(sys.argv[1]), create=True)
    attempt = Attempt.begin(store.path, "ab" * 32)
    for epoch in range(1, 1_000_000):
        attempt.save_checkpoint(epoch, lambda f: f.write(str(epoch).encode() * 300_000))
        print(epoch, flush=True)
"""


def test_a_kill_during_a_checkpoint_leaves_the_last_acknowledged(
    tmp_path: Path, long: bool, proved: Proved
) -> None:
    seed = secrets.randbelow(10**6)
    print(f"seed of the moments: {seed}")
    chance, times, newer = random.Random(seed), 0, 0
    for kill in range(50 if long else 5):
        store = tmp_path / str(kill)
        command = [sys.executable, "-c", textwrap.dedent(SAVER), str(store)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.uniform(0, 0.1))
        child.kill()
        acknowledged = 1 + len(child.communicate()[0].split())
        _, epoch, path = next(checkpoints(store, KEY))
        assert epoch in (acknowledged, acknowledged + 1)
        assert path.read_bytes() == str(epoch).encode() * 300_000
        times += 1
        newer += epoch > acknowledged
    proved(
        "checkpoints", "kill -9 of who writes nothing but checkpoints", "at random", times,
        f"0 that was acknowledged; {newer} newer ones were whole",
    )  # fmt: skip
