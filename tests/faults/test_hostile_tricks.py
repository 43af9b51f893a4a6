"""Tricks that end, block, flood or strip their process: one trial fails, and is told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.core.resolved_study import ResolvedStudy
from ablate.execution.executor import Workers
from ablate.execution.runner import Outcome, Runner
from ablate.store import attempt_reader, log_file
from ablate.store.store import Store
from ablate.util.devices import Device
from tests.helpers.environment import ROOT
from tests.helpers.tiny_studies import Silent, equal, outcome, spec, study, trial

TRICKS = ROOT / "tests" / "helpers" / "hostile_tricks.py"
STALL = 0.1  # minutes: 6 s, of which a trial here takes less than one
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="the tricks read Linux's /proc"
)

# trick: (status, what its message says)
ENDINGS = {
    "quits": ("failed", "its process ended by code 0 in epoch 1, step 1, in on_step_end of trick "),
    "aborts": ("failed", "by signal 6 (aborted) in epoch 1, step 1, in encode_targets of trick "),
    "crashes": ("failed", "by signal 11 (segmentation fault) in epoch 1, in on_epoch_end of trick"),
    "shouts": ("failed", "trick 'shouts', on_step_end: ValueError: "),
    "strips": ("failed", ""),
    "removes": ("failed", "its folder was removed while it was trained: "),
}
MEMORY = {
    "greedy": ("oom", "trick 'greedy', on_step_end: RuntimeError: "),
    "simulated": ("oom", "trick 'simulated', forward: OutOfMemoryError: CUDA out of memory"),
    "limited": ("oom", "trick 'limited', on_step_end: RuntimeError: "),
    "killed": ("failed", "signal 9 (killed; out of memory may be why) in epoch 1, step 1, in on_"),
}
HANGING = {
    "sleeps": "in epoch 1, step 1, in on_step_end of trick 'sleeps'",
    "spins": "in epoch 1, step 1, in forward of trick 'spins'",
    "holds": "in epoch 1, in on_epoch_end of trick 'holds'",
    "stops": "in epoch 1, step 1, in on_step_end of trick 'stops'",
    "starves": "in epoch 1, in augmentation 'starves'",
    "loads": "making trick 'loads'",
}
HARMLESS = ("floods", "forks", "litters", "scribbles")


def test_hostile_tricks_end_their_own_trial_and_nothing_else(
    tmp_path: Path, proved: Callable[..., None]
) -> None:
    names = [*HANGING, *ENDINGS, *MEMORY, *HARMLESS]
    bad = {name: trial([spec(name, TRICKS)], epochs=1) for name in names}
    good = [trial(epochs=1, seed=seed) for seed in range(2)]
    made = list(bad.values())
    resolved = study(good[0], *made, good[1])
    with Workers([Device("cpu", 6)]) as workers:
        _, alone = run(tmp_path / "alone", study(*good), workers)
        result, store = run(tmp_path / "store", resolved, workers)
        worker = workers.executors[0].pid
        assert worker is not None
        assert in_session(worker) == [worker], "what tricks started ends with their trial"
    assert in_session(worker) == []
    assert result.exit_code == 1
    for one in good:
        assert equal(outcome(alone, one.key), outcome(store, one.key))
    expected = ENDINGS | MEMORY | {name: ("failed", where) for name, where in HANGING.items()}
    for name, key in ((name, bad[name].key) for name in names):
        state = store.state(key)
        assert (state.status, state.message) == (result.statuses[key], result.messages[key])
        status, said = expected.get(name, ("done", ""))
        assert state.status == status, (name, state)
        assert said in state.message, (name, state)
        log = log_of(store, key)
        assert len(log) < log_file.MOST + 1000
        if status != "done" and name not in ("strips", "removes"):
            assert state.message[:60].encode() in log, name
    for name in HANGING:
        message = store.state(bad[name].key).message
        assert "no sign of life for 6 s" in message
        assert "[protocol] stall_minutes = 0.1" in message
        dumped = log_of(store, bad[name].key)
        assert b"Current thread" in dumped or b"Thread 0x" in dumped, name
        assert b"hostile_tricks" in dumped, name
    for name in ("greedy", "simulated", "limited"):
        assert "--set recipe.batch_size=8" in store.state(bad[name].key).message
        assert len(attempt_reader.attempts(store.path, bad[name].key)) == 1, "no retry"
    assert b"Segmentation fault" in log_of(store, bad["crashes"].key)
    assert b"left out here" in log_of(store, bad["floods"].key)
    forked = outcome(store, bad["forks"].key)
    assert len(forked[0]) == 1, "its epoch is there once"
    assert len(store.state(bad["shouts"].key).message) < 500
    others = f"0 of {len(names) - 1} others"
    proved("tricks", "a trick ends, crashes or strips its process",
           "os._exit, abort, a bad pointer, an error with a text of 1 MB, its descriptors closed, "
           "its attempt's folder removed",
           len(ENDINGS), f"its own trial; {others}")  # fmt: skip
    proved("tricks", "a trick hangs",
           "sleeps, turns round with signals blocked, holds Python's lock in C, stops its process, "
           "waits for a queue, never is made; a limit of 6 s",
           len(HANGING), f"its own trial, with its stacks in the log; {others}")  # fmt: skip
    proved("tricks", "a trick floods, forks, litters, scribbles into the store",
           "20 MB without a line's end; os.fork in a hook; processes that would outlive it; junk "
           "in database, metrics and folders",
           len(HARMLESS), "nothing: 0 orphans, 0 rows doubled")  # fmt: skip
    proved("training", "memory runs out",
           "an allocation of 1 PiB, an address-space limit, CUDA's error raised, SIGKILL as the "
           "kernel sends it",
           len(MEMORY), f"its own trial, told what batch size to try; {others}")  # fmt: skip


def run(path: Path, resolved: ResolvedStudy, workers: Workers) -> tuple[Outcome, Store]:
    store = Store.open(path, create=True)
    made = Runner(resolved, store, [], Silent(), stall=STALL, workers=workers)
    return made.run(), store


def log_of(store: Store, key: str) -> bytes:
    return (attempt_reader.attempts(store.path, key)[-1] / log_file.NAME).read_bytes()


def in_session(leader: int) -> list[int]:
    """Processes of a worker's session, which nothing but a new session leaves."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(process.name))
    return sorted(found)
