"""The runner with real worker processes: isolation, statuses, what is trained again."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ablate.execution import runner
from ablate.execution.runner import Runner
from ablate.store import attempt_reader
from ablate.store.store import Store
from ablate.util.devices import Device
from tests.helpers.environment import ROOT
from tests.helpers.planted_runs import STUDY, session
from tests.helpers.tiny_studies import Silent, equal, outcome, run, spec, study, trial

SABOTEURS = ROOT / "tests" / "helpers" / "saboteurs.py"


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


def test_the_processes_that_train_refuse_others_code_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends them a trial; of a teacher's too."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    marker = tmp_path / "imported"
    (tmp_path / "worker_own.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    plain = trial(epochs=1)
    own = {"model": "worker_own:net"}
    model = plain.model_copy(update={"recipe": plain.recipe.model_copy(update=own)})
    data = plain.dataset.model_copy(update={"name": "worker_own:data", "fingerprint": "f"})
    trials = [
        model,
        plain.model_copy(update={"dataset": data}),
        trial([spec("raises", SABOTEURS)], epochs=1),
    ]
    result, _ = run(tmp_path / "store", study(*trials), bundled_only=True)
    assert [result.statuses[one.key] for one in trials] == ["failed"] * 3
    assert all("refused by --no-plugins" in result.messages[one.key] for one in trials)
    assert not marker.exists()


@pytest.mark.long
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
        # tests/faults has these in every hook
        pytest.param(
            "forgets",
            "failed",
            "trick 'forgets', encode_targets: returned None; is a `return`",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "interrupts",
            "failed",
            "trick 'interrupts', encode_targets: KeyboardInterrupt",
            marks=pytest.mark.long,
        ),
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
    assert result.trained == 2
    stored = Store.open(tmp_path, create=False).state(bad.key)
    assert (stored.status, message in stored.message) == (status, True)
    assert {args[0] for args in observer.of("trial_end")} == {bad.key, good.key}


def test_a_trial_whose_process_dies_before_it_says_so_is_done(tmp_path: Path) -> None:
    one = trial([spec("dies_when_done", SABOTEURS)], epochs=1)
    result, _ = run(tmp_path, study(one))
    assert (result.statuses, result.exit_code) == ({one.key: "done"}, 0)


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


def test_an_interrupted_run_leaves_whole_seeds(tmp_path: Path) -> None:
    ready = session(tmp_path, STUDY.replace("seeds    = 2", "seeds = 3"))

    class Stops(Silent):
        def trial_end(self, key: str, status: str, message: str) -> None:
            self.calls.append(("trial_end", (key, status, message)))
            if len(self.of("trial_end")) == 7:
                os.kill(os.getpid(), signal.SIGINT)

    observer = Stops()
    outcome = Runner(ready.resolved, ready.store, [Device("cpu", 1)], observer).run()
    assert outcome.exit_code == 128 + signal.SIGINT
    done = {key for key, status in outcome.statuses.items() if status == "done"}
    (table,) = ready.resolved.tables
    finished = [sum(key in done for key in row.keys) for row in table.rows]
    assert len(done) in (7, 8)  # the next may be over before it is stopped
    assert min(finished) == 2, "two seeds of every row are there, and some third ones"
    assert done <= set(ready.resolved.order[:8])


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
    from tests.helpers.support import run as train

    cls = load_catalogue([str(SABOTEURS)]).load(trick).cls
    with pytest.raises(AblateError) as caught:
        train([cls()], epochs=1)
    assert message.replace(" *'", "'") in caught.value.message


@pytest.mark.parametrize("forks", [True, False])
def test_a_claim_that_another_machine_has_taken_is_noticed_at_the_next_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, forks: bool
) -> None:
    """The trial stops, nothing of the other's is written, and what it leaves is trained on."""
    monkeypatch.setattr(runner, "_HEARTBEAT", 0.1)
    one = trial(epochs=150)
    claim = tmp_path / "trials" / one.key / "claim"
    theirs = {"host": "elsewhere", "machine": "another", "pid": 77, "token": "0123456789abcdef"}
    epochs_after: list[int] = []

    class Loses(Silent):
        def epoch(self, key: str, record: dict[str, Any]) -> None:
            self.calls.append(("epoch", (key, record)))
            if len(self.of("epoch")) == 2:
                lease = json.loads((claim / "lease.json").read_bytes())
                lease.pop("checksum")
                claim.rename(claim.with_name(f".claim-{lease['token']}"))
                claim.mkdir()
                (claim / "lease.json").write_text(json.dumps(lease | theirs))

        def elsewhere(self, keys: Sequence[str], who: str) -> None:
            self.calls.append(("elsewhere", (keys, who)))
            epochs_after.append(len(self.of("epoch")))
            assert json.loads((claim / "lease.json").read_bytes())["pid"] == 77, "not given back"
            shutil.rmtree(claim)  # the other one ends

    observer = Loses()
    opened = Store.open(tmp_path, create=True)
    outcome = Runner(study(one), opened, [Device("cpu", 1, forks=forks)], observer).run()
    assert [call[1] for call in observer.of("taken")] == ["pid 77 on elsewhere, tiny"]
    assert [call[1] for call in observer.of("trial_end")] == ["interrupted", "done"]
    assert epochs_after[0] < 100, "it trained on to its end"
    assert outcome.exit_code == 0
    first, second = attempt_reader.attempts(tmp_path, one.key)
    assert attempt_reader.ending(first) is None
    assert (attempt_reader.ending(second) or {})["status"] == "done"
