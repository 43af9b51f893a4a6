"""The runner with real worker processes: isolation, statuses, claims, killing and going on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablate.executor import Device
from ablate.resolved import ResolvedStudy
from ablate.runner import Outcome, Runner
from ablate.store import Store
from studies import Silent, equal, outcome, spec, study, trial

SABOTEURS = Path(__file__).parent / "saboteurs.py"


def run(
    store: Path, resolved: ResolvedStudy, slots: int = 1, forks: bool = True
) -> tuple[Outcome, Silent]:
    observer = Silent()
    opened = Store.open(store, create=True)
    device = Device("cpu", slots, forks=forks)
    return Runner(resolved, opened, [device], observer).run(), observer


def test_a_trial_is_the_same_after_nothing_after_another_and_after_each_saboteur(
    tmp_path: Path,
) -> None:
    a, b = trial([spec("mixup")]), trial([spec("label_smoothing")], seed=1)
    dirty = [
        trial([spec(name, SABOTEURS)], epochs=1)
        for name in ("dirty_dtype", "dirty_patch", "dirty_flags")
    ]
    alone, _ = run(tmp_path / "alone", study(a))
    # One slot: every trial comes right after the one before it, in a child of the same server.
    after, _ = run(tmp_path / "after", study(b, *dirty, a))
    assert alone.exit_code == after.exit_code == 0
    one, other = (Store.open(tmp_path / p, create=False) for p in ("alone", "after"))
    assert equal(outcome(one, a.key), outcome(other, a.key))


def test_warm_workers_leave_and_are_replaced_and_every_trial_is_trained(tmp_path: Path) -> None:
    """What a GPU does: one process for many trials, a new one after whatever left it dirty."""
    trials = [
        trial(epochs=1),
        trial([spec("dirty_dtype", SABOTEURS)], epochs=1),
        trial([spec("mixup")], epochs=1),
        trial([spec("raises", SABOTEURS)], epochs=1),
        trial([spec("dies", SABOTEURS)], epochs=1),
        trial(epochs=1, seed=1),
        trial(epochs=1, seed=2),
    ]
    warm, _ = run(tmp_path / "warm", study(*trials), forks=False)
    assert list(warm.statuses.values()) == ["done"] * 3 + ["failed"] * 2 + ["done"] * 2
    run(tmp_path / "forked", study(*trials))
    one, other = (Store.open(tmp_path / p, create=False) for p in ("warm", "forked"))
    for place in (0, 2, 5, 6):
        key = trials[place].key
        assert equal(outcome(one, key), outcome(other, key))


@pytest.mark.parametrize(
    ("trick", "status", "message"),
    [
        ("raises", "failed", "trick 'raises', on_step_end: ValueError: as written"),
        ("forgets", "failed", "trick 'forgets', encode_targets: returned None; is a `return`"),
        ("interrupts", "failed", "trick 'interrupts', encode_targets: KeyboardInterrupt"),
        ("explodes", "diverged", "the training loss is no longer finite in epoch 1"),
        ("idle", "no_effect", "trick 'idle' has no effect: nothing to act on"),
    ],
)
def test_how_a_trial_ends_is_said_and_the_others_go_on(
    tmp_path: Path, trick: str, status: str, message: str
) -> None:
    bad, good = trial([spec(trick, SABOTEURS)], epochs=1), trial(epochs=1)
    result, observer = run(tmp_path, study(bad, good))
    assert result.statuses == {bad.key: status, good.key: "done"}
    assert message in result.messages[bad.key]
    assert result.exit_code == 1
    stored = Store.open(tmp_path, create=False).state(bad.key)
    assert (stored.status, message in stored.message) == (status, True)
    assert {args[0] for args in observer.of("trial_end")} == {bad.key, good.key}


def test_what_is_done_is_not_trained_again_and_failures_are_retried(tmp_path: Path) -> None:
    good, bad = trial(epochs=1), trial([spec("raises", SABOTEURS)], epochs=1)
    diverged = trial([spec("explodes", SABOTEURS)], epochs=1)
    run(tmp_path, study(good, bad, diverged))
    again, observer = run(tmp_path, study(good, bad, diverged))
    assert [args[0] for args in observer.of("trial_start")] == [bad.key]
    assert again.statuses[good.key] == "done"
    assert again.statuses[diverged.key] == "diverged"


def test_retrain_trains_again_and_keeps_the_old_attempt_aside(tmp_path: Path) -> None:
    one = trial(epochs=1)
    run(tmp_path, study(one))
    before = outcome(Store.open(tmp_path, create=False), one.key)
    opened = Store.open(tmp_path, create=False)
    observer = Silent()
    again = frozenset({one.key})
    Runner(study(one), opened, [Device("cpu", 1)], observer, again=again).run()
    assert len(observer.of("trial_start")) == 1
    assert equal(before, outcome(opened, one.key))
    assert len(list((tmp_path / "trials" / one.key).glob("retired-*"))) == 1


COORDINATOR = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from studies import *
from ablate.executor import Device
from ablate.resolved import ResolvedStudy
from ablate.runner import Runner
from ablate.store import Store
resolved = ResolvedStudy.model_validate_json(Path({study!r}).read_bytes())
store = Store.open(Path({store!r}), create=True)
sys.exit(Runner(resolved, store, [Device("cpu", 2)], Silent()).run().exit_code)
"""


def coordinator(tmp_path: Path, resolved: ResolvedStudy, store: str) -> subprocess.Popen[bytes]:
    """An `ablate run` in a process of its own."""
    file = tmp_path / f"{store}.json"
    file.write_text(resolved.model_dump_json())
    here = Path(__file__).parent
    code = COORDINATOR.format(
        path=[str(here), str(here.parent)], study=str(file), store=str(tmp_path / store)
    )
    return subprocess.Popen([sys.executable, "-c", code])


def wait_for_epoch(store: Path, keys: list[str], epoch: int) -> None:
    """Until a trial has finished so many epochs, at most a minute."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if (store / "FORMAT").exists():
            states = Store.open(store, create=False).states(keys).values()
            if any(state.epoch >= epoch for state in states):
                return
        time.sleep(0.02)
    raise AssertionError("nothing was trained in a minute")


def processes_of(store: Path) -> list[int]:
    """Processes with a file of the store open: workers that were left behind."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            files = [os.readlink(f) for f in (directory / "fd").iterdir()]
        except OSError:
            continue
        if any(file.startswith(str(store)) for file in files):
            found.append(int(directory.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_or_interrupted_run_goes_on_bit_for_bit(
    tmp_path: Path, how: signal.Signals
) -> None:
    tricks = [spec("mixup"), spec("fp16"), spec("slow", SABOTEURS)]
    trials = [trial(tricks, epochs=4, seed=seed) for seed in (0, 1)]
    resolved = study(*trials)
    run(tmp_path / "whole", resolved, slots=2)
    process = coordinator(tmp_path, resolved, "cut")
    wait_for_epoch(tmp_path / "cut", [t.key for t in trials], 2)
    process.send_signal(how)
    code = process.wait(timeout=30)
    assert code == (-9 if how == signal.SIGKILL else 128 + how)
    end = time.monotonic() + 10
    while (left := processes_of(tmp_path / "cut")) and time.monotonic() < end:
        time.sleep(0.05)
    assert left == [], "orphans"
    cut = Store.open(tmp_path / "cut", create=False)
    assert {cut.state(t.key).status for t in trials} == {"interrupted"}
    result, observer = run(tmp_path / "cut", resolved, slots=2)
    assert result.exit_code == 0
    resumed = {args[0]: args[1] for args in observer.of("resumed")}
    assert any(epoch >= 2 for epoch in resumed.values())
    whole = Store.open(tmp_path / "whole", create=False)
    for t in trials:
        assert equal(outcome(whole, t.key), outcome(cut, t.key))


def test_two_runs_on_one_store_train_each_trial_once(tmp_path: Path) -> None:
    trials = [trial(epochs=1, seed=seed) for seed in range(6)]
    resolved = study(*trials)
    both = [coordinator(tmp_path, resolved, "shared") for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    store = Store.open(tmp_path / "shared", create=False)
    assert [store.state(t.key).attempts for t in trials] == [1] * 6


def test_a_teacher_comes_first_and_its_failure_is_its_students(tmp_path: Path) -> None:
    teacher = trial([spec("raises", SABOTEURS)], epochs=1)
    student = trial(epochs=1, seed=5).model_copy(update={"teacher": teacher.key})
    result, observer = run(tmp_path, study(teacher, student))
    assert result.statuses == {teacher.key: "failed", student.key: "failed"}
    assert "did not finish" in result.messages[student.key]
    assert [args[0] for args in observer.of("trial_start")] == [teacher.key]


@pytest.mark.parametrize(
    ("trick", "message"),
    [
        ("bad_mixer", "trick 'bad_mixer', batch_mixers: ValueError: no partner"),
        ("wrong_mixer", "trick 'wrong_mixer', batch_mixers: ValueError: the mixer made images"),
        ("bad_schedule", "trick 'bad_schedule *', build_schedule: ZeroDivisionError"),
        ("bad_augmentation", "augmentation 'bad_augmentation': RuntimeError: too dark"),
    ],
)
def test_what_a_hook_returned_is_blamed_when_it_is_called_later(trick: str, message: str) -> None:
    from ablate.errors import AblateError
    from ablate.tricks.discovery import load_catalogue
    from support import run as train

    cls = load_catalogue([str(SABOTEURS)]).load(trick).cls
    with pytest.raises(AblateError) as caught:
        train([cls()], epochs=1)
    assert message.replace(" *'", "'") in caught.value.message
