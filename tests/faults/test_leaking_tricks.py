"""Tricks that leave their process other than they found it: the next trial's bits are its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.core.trial import Trial
from ablate.execution.runner import Runner
from ablate.store.store import Store
from ablate.util.devices import Device
from tests.helpers.environment import ROOT
from tests.helpers.fault_table import Proved
from tests.helpers.leaking_tricks import LEAKS
from tests.helpers.tiny_studies import Silent, equal, outcome, spec, study, trial

TRICKS = ROOT / "tests" / "helpers" / "leaking_tricks.py"
GOOD = trial([spec("mixup")], epochs=1)
# One that torch tells of, one of torch's classes, one of Python's own.
SOME = ("module hook", "method", "builtin")
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts in /proc")


def leak(what: str) -> Trial:
    return trial([spec("leaks", TRICKS, what=what)], epochs=1)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = tmp_path_factory.mktemp("alone")
    return run(store, [GOOD], forks=True)


def run(path: Path, trials: list[Trial], forks: bool) -> Store:
    """One after the other, as one slot does."""
    store = Store.open(path, create=True)
    Runner(study(*trials), store, [Device("cpu", 1, forks=forks)], Silent()).run()
    return store


def test_a_child_of_one_server_takes_it_along(tmp_path: Path, alone: Store, proved: Proved) -> None:
    leaks = [leak(what) for what in LEAKS]
    store = run(tmp_path / "store", [*leaks, GOOD], forks=True)
    ended = {what: store.state(one.key).status for what, one in zip(LEAKS, leaks, strict=True)}
    assert set(ended.values()) <= {"done", "failed"}, ended
    assert sum(status == "done" for status in ended.values()) > len(LEAKS) * 0.8, ended
    assert equal(outcome(alone, GOOD.key), outcome(store, GOOD.key))
    proved(
        "tricks", "a trick leaks global state, in processes of their own (CPU)",
        f"{', '.join(LEAKS)}: changed for the whole process, then another trial",
        len(LEAKS), "nothing: the next trial has the same bits",
    )  # fmt: skip


def test_a_warm_process_is_left_after_it(
    tmp_path: Path, alone: Store, proved: Proved, long: bool
) -> None:
    """What a GPU does: a process trains many trials, while it is as it was."""
    tried = tuple(LEAKS) if long else SOME
    for what in tried:
        store = run(tmp_path / what, [leak(what), GOOD], forks=False)
        assert store.state(GOOD.key).status == "done", (what, store.state(GOOD.key))
        assert equal(outcome(alone, GOOD.key), outcome(store, GOOD.key)), what
    proved(
        "tricks", "a trick leaks global state, in one process for many trials (as on a GPU)",
        "the same; the process is looked at after each trial, and replaced",
        len(tried), "nothing: the next trial has the same bits",
    )  # fmt: skip
