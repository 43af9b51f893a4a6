"""A claim whose lease is damaged or written by somebody else: never an error, never two at once."""

from __future__ import annotations

import os
import random
from pathlib import Path

from ablate.store.lease import claim, holder
from tests.helpers.fault_runs import Run
from tests.helpers.fault_table import Proved
from tests.helpers.mutations import mutate, retype
from tests.helpers.small_stores import make_study, new_store


def test_a_lease_that_is_damaged_is_waited_for_then_taken_over(
    tmp_path: Path, run: Run, proved: Proved, long: bool
) -> None:
    chance = random.Random(23)
    store = new_store(tmp_path / "store")
    study = make_study(store, {"baseline": [0.80, None], "mixup": [0.90, None]})
    key = next(key for key in study.trials if store.state(key).status == "new")
    before = claim(store.path, key, "group")
    assert before is not None
    lease = before.path / "lease.json"
    whole, lost, tried = lease.read_bytes(), 0, 0
    for i in range(1500 if long else 150):
        damage = (mutate, retype)[i % 2]
        damage(lease, chance)
        damaged = lease.read_bytes()
        live = holder(store.path, key)
        assert live is None or live.pid == os.getpid(), damaged
        for command in [("status",), ("doctor",), ("gc",)][i % 3 : i % 3 + (i % 25 == 0)]:
            done = run(*command)
            assert done.returncode in (0, 1), (damaged, done.stderr)
            assert "Traceback" not in done.stderr
        assert lease.read_bytes() == damaged, "what reads has changed it"
        again = claim(store.path, key, "group")
        assert again is None or not before.held(), damaged
        if again is None and live is None:  # damaged just now: it may be half of a living one's
            os.utime(before.path, (1 + i, 1 + i))
            os.utime(lease, (1 + i, 1 + i))
            again = claim(store.path, key, "group")
            assert again is not None, damaged
        if again is not None:
            assert not before.heartbeat(), damaged
            assert claim(store.path, key, "group") is None
            again.release()
            lost += 1
            before = claim(store.path, key, "group")
            assert before is not None
            whole = lease.read_bytes()
        lease.write_bytes(whole)
        tried += 1
    assert 0 < lost < tried
    proved(
        "runs",
        "a claim's lease is damaged",
        "bytes flipped, cut, replaced, values of other types; then claimed by another",
        tried,
        f"nothing: {lost} taken over when old enough, 0 held by two",
    )
