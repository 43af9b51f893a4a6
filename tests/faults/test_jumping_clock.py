"""A clock that jumps, in the coordinator and in its workers, between attempts and during one."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from ablate.store import lease as leases
from ablate.store.attempt_reader import attempts
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store
from tests.helpers.cli_process import run_cli, run_code
from tests.helpers.fault_table import Proved
from tests.helpers.faulty_runs import numbers, stopped, trained

KEY = "ab" * 32

# Every clock that can be set jumps by so many days at every second look; the monotonic one cannot.
JUMPING = """
import datetime as module, itertools, random, sys, time
days, chance, real = int(sys.argv.pop(1)), random.Random(1), time.time
looks = itertools.count()
def jump():
    return days * 86400 * (next(looks) % 2)
time.time = lambda: real() + jump()
time.time_ns = lambda: int(time.time() * 1e9)
class Jumping(module.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
module.datetime = Jumping
import ablate.util.files, ablate.execution.trial_process
ablate.util.files.datetime = Jumping
from ablate.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_training_while_the_clock_jumps(tmp_path: Path, proved: Proved, long: bool) -> None:
    whole = trained(tmp_path / "work", 1)
    attempted = 0
    for days in (-4000, 4000) if long else (-4000,):
        store = whole.parent / f"jumps {days}"
        stopped(whole, store)  # so that attempts of today are there already
        asked = ("run", "study.toml", "--limit", "20", "--store", store)
        done = run_code(JUMPING, str(days), *asked, cwd=whole.parent)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert numbers(store) == numbers(whole)
        for key in sorted(Store.open(store, create=False).keys()):
            first, last = attempts(store, key)
            assert json.loads((last / "done.json").read_text())["continues"] == first.name
            attempted += 1
        shown = run_cli("report", "study", "--store", store, cwd=whole.parent)
        assert shown.returncode == 0, shown.stderr
        assert "nan" not in shown.stdout
        said = run_cli("status", "--store", store, cwd=whole.parent)
        assert said.returncode == 0, said.stderr
    proved(
        "runs",
        "the clock jumps",
        "11 years back and forth at every second look, in coordinator and trials that go on",
        attempted,
        "nothing: the later attempt sorts after the earlier, numbers are the same",
    )


def test_an_attempt_sorts_after_the_one_before_even_if_the_clock_goes_back(
    tmp_path: Path, proved: Proved
) -> None:
    (tmp_path / "trials" / KEY / "29990101T000000.000000Z-abcdef").mkdir(parents=True)
    for _ in range(5):
        attempt = Attempt.begin(tmp_path, KEY)
        attempt.close()
        assert attempts(tmp_path, KEY)[-1] == attempt.path
    proved("runs", "an attempt from the future", "a folder of the year 2999", 5, "nothing")


def test_a_claim_from_the_future_or_the_past(tmp_path: Path, proved: Proved) -> None:
    """On this machine the process decides, whatever the clock says."""
    (tmp_path / "trials").mkdir()
    held = leases.claim(tmp_path, KEY, "mine")
    assert held is not None
    lease = held.path / "lease.json"
    moments = [time.time() + 10**9, 0.0, time.time() - 10**6]
    for moment in moments:
        os.utime(lease, (moment, moment))
        assert leases.claim(tmp_path, KEY, "other") is None
        assert leases.holder(tmp_path, KEY) == held.lease
        assert held.heartbeat()
        assert abs(lease.stat().st_mtime - time.time()) < 3600
    held.release()
    assert leases.claim(tmp_path, KEY, "other") is not None
    proved(
        "runs",
        "a claim's heartbeat from another time",
        "30 years ahead, 1970, days ago, while its process lives",
        len(moments),
        "nothing: no second one gets it",
    )
