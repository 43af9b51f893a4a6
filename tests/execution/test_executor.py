"""Workers that are started while the coordinator still checks: they wait, or leave no trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.execution.executor import Workers
from ablate.execution.runner import Runner
from ablate.store.store import Store
from ablate.util.devices import Device
from tests.helpers import forked
from tests.helpers.tiny_studies import Silent, study, trial

needs_proc = pytest.mark.skipif(not Path("/proc").exists(), reason="looks processes up in /proc")

REFUSED = """\
[study]
datasets = ["digits"]
seeds    = 1
stack    = ["zero_gamma"]

[recipe]
model      = "vgg16_bn"
epochs     = 1
image_size = 32
"""


def _until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return met


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _marked(mark: str) -> list[str]:
    """Command lines of the processes that have `mark` in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:  # it ended, or is somebody else's
            continue
    return found


@pytest.mark.usefixtures("real_workers")
def test_as_many_are_started_as_the_trials_need() -> None:
    with Workers([Device("cpu", 2), Device("cpu", 2)]) as workers:
        first, second = workers.executors
        workers.start(0)
        assert first.pid is None
        workers.start(2)
        assert first.pid is not None
        assert second.pid is None


@needs_proc
@pytest.mark.usefixtures("real_workers")
def test_none_is_left_when_the_check_raises(capfd: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    pids = []

    def checked() -> None:
        with Workers([Device("cpu", 1)]) as workers:
            workers.start(1)
            pids.append(workers.executors[0].pid)
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        checked()
    assert not _alive(pids[0] or 0)
    assert time.monotonic() - began < 2, "it waited for the worker's imports"
    assert capfd.readouterr() == ("", "")


@needs_proc
@pytest.mark.parametrize("forks", [True, False])
def test_none_is_left_when_the_coordinator_is_killed_while_it_checks(forks: bool) -> None:
    code = (
        "import time\nfrom ablate.execution.executor import Device, Workers\n"
        f"w = Workers([Device('cpu', 1, forks={forks})])\nw.start(1)\n"
        "print(w.executors[0].pid, flush=True)\ntime.sleep(60)"
    )
    coordinator = forked.Forked(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, real_workers=True
    )
    assert coordinator.stdout is not None
    pid = int(coordinator.stdout.readline())
    assert _alive(pid)
    coordinator.kill()
    coordinator.wait()
    coordinator.stdout.close()
    assert _until(lambda: not _alive(pid)), "orphan"


@pytest.mark.usefixtures("real_workers")
def test_one_that_died_before_the_first_trial_is_replaced(tmp_path: Path) -> None:
    wanted = trial(epochs=1)
    device = Device("cpu", 1)
    with Workers([device]) as workers:
        workers.start(1)
        pid = workers.executors[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert _until(lambda: not workers.events.empty())  # that it is gone was said already
        store = Store.open(tmp_path, create=True)
        outcome = Runner(study(wanted), store, [device], Silent(), workers=workers).run()
    assert outcome.statuses == {wanted.key: "done"}


@needs_proc
def test_a_refused_study_says_so_and_leaves_neither_worker_nor_attempt(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(REFUSED)
    mark = f"ABLATE_TEST_MARK={os.getpid()}-{time.monotonic_ns()}"
    done = forked.run(
        [sys.executable, "-m", "ablate", "run", "s.toml"], cwd=tmp_path, capture_output=True,
        text=True, env=os.environ | dict([mark.split("=")]), real_workers=True,
    )  # fmt: skip
    assert done.returncode == 2
    refusal = [line for line in done.stderr.splitlines() if "zero_gamma has no effect" in line]
    assert len(refusal) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert _marked(mark) == []
    assert not list(tmp_path.glob("ablate-results/trials/*/*"))
