"""The worker process itself: warm mode, leaving after a dirty trial, ending with its parent."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.execution.state_guard import Sentinel
from ablate.store.store import Store
from tests.helpers import forked
from tests.helpers.environment import ROOT
from tests.helpers.tiny_studies import equal, outcome, spec, trial
from tests.helpers.worker_process import Worker, request

SABOTEURS = ROOT / "tests" / "helpers" / "saboteurs.py"
RELU = torch.nn.functional.relu
STARTED: list[subprocess.Popen[bytes]] = []


def sleeping() -> subprocess.Popen[bytes]:
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    while not Path("/proc", str(started.pid), "cmdline").read_bytes():  # in the middle of exec
        time.sleep(0.001)
    return started


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_a_warm_worker_keeps_clean_trials_apart_and_leaves_after_a_dirty_one(
    tmp_path: Path,
) -> None:
    store = Store.open(tmp_path, create=True)
    one, two = trial(epochs=1), trial([spec("mixup")], epochs=1)
    forking = Worker("--fork")
    warm = Worker("--warm", "cpu")
    other = Store.open(tmp_path / "other", create=True)
    for made in (one, two):
        assert forking.train(made, store.path) == ["epoch", "ended", "exited"]
        assert warm.train(made, other.path) == ["epoch", "ended", "exited"]
        assert equal(outcome(store, made.key), outcome(other, made.key))
    taken = trial(epochs=1, seed=7)  # by another run, before this one began
    assert forking.train(taken, store.path, claim="0123") == ["ended", "exited"]
    assert store.state(taken.key).status == "interrupted"
    dirty = trial([spec("dirty_dtype", SABOTEURS)], epochs=1)
    assert warm.train(dirty, other.path) == ["epoch", "ended", "exited"]
    assert "default dtype" in warm.last["leaving"]
    assert warm.close() == 0
    assert forking.close() == 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
@pytest.mark.long
def test_a_warm_workers_memory_does_not_grow_and_its_last_trial_is_as_its_first(
    tmp_path: Path,
) -> None:
    first, again = (Store.open(tmp_path / name, create=True) for name in ("first", "again"))
    worker = Worker("--warm", "cpu", "--most", "100")

    def resident() -> int:
        """MiB of the worker's that are in memory and its own."""
        _, pages, shared, *_ = Path(f"/proc/{worker.process.pid}/statm").read_text().split()
        return (int(pages) - int(shared)) * 4096 >> 20

    made = [trial([spec("mixup")], epochs=1, seed=seed) for seed in range(20)]
    sizes = []
    for one in made:
        assert worker.train(one, first.path) == ["epoch", "ended", "exited"]
        sizes.append(resident())
    assert worker.train(made[0], again.path) == ["epoch", "ended", "exited"]
    assert worker.close() == 0
    assert equal(outcome(first, made[0].key), outcome(again, made[0].key))
    assert sizes[-1] - sizes[4] < 15, sizes


def test_a_warm_worker_leaves_after_a_failure_and_after_its_count(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    worker = Worker("--warm", "cpu")
    worker.train(trial([spec("raises", SABOTEURS)]), store.path)
    assert worker.last["leaving"] == "failed"
    assert worker.close() == 0
    worker = Worker("--warm", "cpu", "--most", "1")
    worker.train(trial(epochs=1), store.path)
    assert worker.last["leaving"] == "1 trials"
    assert worker.close() == 0


def test_closing_stdin_in_the_middle_of_a_trial_ends_the_worker(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    for mode in (["--fork"], ["--warm", "cpu"]):
        worker = Worker(*mode, fresh=True)
        slow = trial([spec("slow", SABOTEURS)], epochs=100)
        worker.send(request(slow, store.path))
        while worker.event() != "epoch":
            pass
        worker.close()
        assert store.state(slow.key).status == "interrupted"


@pytest.mark.parametrize(
    ("name", "change", "back"),
    [
        (
            "default dtype",
            lambda: torch.set_default_dtype(torch.float64),
            lambda: torch.set_default_dtype(torch.float32),
        ),
        (
            "matmul precision",
            lambda: torch.set_float32_matmul_precision("medium"),
            lambda: torch.set_float32_matmul_precision("highest"),
        ),
        (
            "anomaly mode",
            lambda: torch.autograd.set_detect_anomaly(True),
            lambda: torch.autograd.set_detect_anomaly(False),
        ),
        (
            "environment",
            lambda: __import__("os").environ.update(ABLATE_X="1"),
            lambda: __import__("os").environ.pop("ABLATE_X"),
        ),
        ("file mode", lambda: os.umask(0o033), lambda: os.umask(0o022)),
        (
            "functions",
            lambda: setattr(torch.nn.functional, "relu", torch.relu_),
            lambda: setattr(torch.nn.functional, "relu", RELU),
        ),
        ("child processes", lambda: STARTED.append(sleeping()), lambda: end(STARTED.pop())),
    ],
)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_the_sentinel_sees_it(name: str, change: Any, back: Any) -> None:
    sentinel = Sentinel("cpu")
    assert sentinel.differences() == []
    change()
    try:
        assert sentinel.differences() == [name]
    finally:
        back()
    assert sentinel.differences() == []


def test_a_profiles_own_switches_are_no_trials_leavings(tmp_path: Path) -> None:
    """TF32 is such a switch: with it, a worker that left after every trial would be no warm one."""
    from ablate.core.trial import Numerics

    store = Store.open(tmp_path, create=True)
    worker = Worker("--warm", "cpu")
    fast = Numerics(profile="fast", deterministic=False, tf32=True)
    for seed in (0, 1):
        made = trial(epochs=1, seed=seed).model_copy(update={"numerics": fast})
        assert worker.train(made, store.path) == ["epoch", "ended", "exited"]
    assert worker.close() == 0


def test_what_the_compiler_changes_in_torch_is_not_the_first_trials_leaving() -> None:
    code = """
        import torch
        from ablate.execution import trial_process
        from ablate.execution.state_guard import Sentinel
        from ablate.engine import compiled
        trial_process.preload()
        compiled.prepare()
        sentinel = Sentinel("cpu")
        torch.compile(torch.nn.Linear(2, 2), backend="eager")(torch.ones(1, 2)).sum().backward()
        print(sentinel.differences())
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = forked.run(command, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
