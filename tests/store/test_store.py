"""The directory: opening, studies, states and results."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.errors import AblateError
from ablate.index.database import ingest
from ablate.store.attempt_writer import Attempt
from ablate.store.lease import claim
from ablate.store.store import Store
from tests.helpers.small_stores import make_trial
from tests.helpers.store_samples import resolved

Train = Callable[..., str]


def test_a_new_store_is_ignored_by_git(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ablate-results", create=True)
    assert json.loads((store.path / "FORMAT").read_text()) == {"format": 1}
    if shutil.which("git"):
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        status = ["git", "status", "--porcelain", "--untracked-files=all"]
        assert subprocess.run(status, cwd=tmp_path, capture_output=True).stdout == b""


def test_opening_refuses_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(AblateError, match="no store at"):
        Store.open(tmp_path / "missing", create=False)
    (tmp_path / "thesis.tex").write_text("")
    for create in (True, False):
        with pytest.raises(AblateError, match="not an ablate store"):
            Store.open(tmp_path, create=create)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_newer_format_is_refused(store: Store) -> None:
    (store.path / "FORMAT").write_text('{"format": 2}')
    for create in (True, False):
        with pytest.raises(AblateError, match="format 2") as refused:
            Store.open(store.path, create=create)
        assert "upgrade" in str(refused.value.hint)


def test_creation_that_was_killed_halfway_is_finished(tmp_path: Path) -> None:
    (tmp_path / "s" / "studies").mkdir(parents=True)
    # What a process leaves that dies in write_whole, and what one that is busy there shows others.
    for name in (".FORMAT.0123abcd.tmp", "..gitignore.89ef4567.tmp"):
        (tmp_path / "s" / name).write_text("")
    assert Store.open(tmp_path / "s", create=True).keys() == []


READ_ONLY = """
    import os, sys
    from pathlib import Path
    import duckdb, numpy, tempfile
    from ablate.store.lease import claim
    from ablate.errors import AblateError
    from ablate.index.database import connect, ingest
    from ablate.store.store import Store
    path, key = Path(sys.argv[1]), sys.argv[2]
    connect(Path(sys.argv[3])).close()  # all imports done: another user may not read the library
    if os.getuid() == 0:
        os.setgid(65534); os.setuid(65534)
    for act in (
        lambda: Store.open(path, create=True),
        lambda: claim(path, "cd" * 32, "s"),
        lambda: claim(path, key, "s"),
    ):
        try:
            act()
            sys.exit("it could be written")
        except AblateError as error:
            assert "cannot" in str(error) and str(path) in str(error), error
    store = Store.open(path, create=False)
    assert store.state(key).status == "done"
    assert ingest(path) == 0
    print(connect(path).execute("select count(*), max(top1) from trials").fetchone())
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
@pytest.mark.parametrize("indexed", [False, True])
def test_a_read_only_store_is_reported_and_can_be_read(
    store: Store, trained: Train, indexed: bool
) -> None:
    key = trained()
    if indexed:
        ingest(store.path)
        trained(1)  # what the index does not have yet is seen all the same
    with tempfile.TemporaryDirectory() as directory:  # where another user may look, too
        os.chmod(directory, 0o755)
        path = Path(directory) / "results"
        shutil.copytree(store.path, path)
        folders = [path, *(p for p in path.rglob("*") if p.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        command = [sys.executable, "-c", textwrap.dedent(READ_ONLY), str(path), key, directory]
        child = subprocess.run(command, capture_output=True, text=True)
        for folder in folders:
            folder.chmod(0o755)
    assert child.returncode == 0, child.stderr
    assert child.stdout == f"({2 if indexed else 1}, 0.9)\n"


def test_studies_are_kept_and_the_latest_counts(store: Store) -> None:
    store.save_study(resolved("group1"))
    store.save_study(resolved("imagenette/table4"))
    last = store.save_study(resolved("group1", margin=0.25))
    assert store.studies() == ["group1", "imagenette/table4"]
    assert store.latest_study("group1") == resolved("group1", margin=0.25)
    assert store.study_name_owner("group1") == "studies/group1.toml"
    assert store.latest_study("other") is None
    last.write_text('{"torn')
    assert store.latest_study("group1") == resolved("group1")
    newer = resolved("group1").model_dump(mode="json") | {"format": 3, "unknown": 1}
    last.write_text(json.dumps(newer))
    with pytest.raises(AblateError, match="newer ablate"):
        store.latest_study("group1")


@pytest.mark.parametrize("name", ["../x", "a//b", "", "/etc", "a/..", "a\x00b", "x" * 201, "a\\b"])
def test_study_names_cannot_leave_the_store(store: Store, name: str) -> None:
    with pytest.raises(AblateError, match="cannot name a study"):
        store.save_study(resolved(name))


def test_a_trial_is_registered_once_and_found_by_prefix(store: Store) -> None:
    trials = [make_trial(seed, "mixup") for seed in range(40)]
    for trial in trials:
        store.register(trial, "first")
        store.register(trial, "second")
    key = trials[0].key
    assert store.trial(key) == trials[0]
    assert store.trial(key).key == key  # type: ignore[union-attr]
    assert store.label(key) == "first"
    assert store.find(key[:12]) == key
    assert store.keys() == sorted(trial.key for trial in trials)
    with pytest.raises(AblateError, match="trials start with"):
        store.find(next(c for c in "0123456789abcdef" if [t.key[0] for t in trials].count(c) > 1))
    with pytest.raises(AblateError, match="no trial starts with"):
        store.find("zz")
    (store.path / "trials" / key / "trial.json").write_text("{")
    assert store.trial(key) is None
    store.register(trials[0], "third")
    assert store.trial(key) == trials[0]


def test_the_states_of_a_trial_in_the_order_of_its_life(store: Store) -> None:
    key = make_trial().key
    assert store.state(key).status == "new"
    held = claim(store.path, key, "group1")
    assert held is not None
    running = store.state(key)
    assert running.status == "running"
    assert running.holder is not None
    assert running.holder.pid == os.getpid()

    first = Attempt.begin(store.path, key)
    first.record("epoch", epoch=1, metrics={"top1": 0.1}, seconds=1.0, steps=2)
    first.save_checkpoint(1, lambda f: f.write(b"x"))
    first.record("epoch", epoch=2, metrics={"top1": 0.2}, seconds=1.0, steps=2)
    state = store.state(key)
    assert (state.status, state.attempt, state.epoch, state.kept) == ("running", first.name, 2, 1)
    first.close()
    held.release()
    assert (store.state(key).status, store.state(key).kept) == ("interrupted", 1)

    with Attempt.begin(store.path, key, continues=first.name) as second:
        second.finish("oom", "tried 2.1 GiB")
    state = store.state(key)
    assert (state.status, state.attempts, state.message) == ("oom", 2, "tried 2.1 GiB")
    assert state.kept == 1
    assert store.result(key) is None

    with Attempt.begin(store.path, key, continues=first.name) as third:
        third.record("epoch", epoch=1, metrics={"top1": 0.1}, seconds=1.0, steps=2)
        third.record("epoch", epoch=2, metrics={"top1": math.nan}, seconds=2.0, steps=2)
        third.save_environment({"torch": "2.8.0"})
        third.finish("done", best="no")
    with Attempt.begin(store.path, key) as fourth:
        fourth.finish("failed", "later attempts do not matter")
    state = store.state(key)
    assert (state.status, state.attempt, state.epoch) == ("done", third.name, 2)
    result = store.result(key)
    assert result is not None
    assert math.isnan(result.final["top1"])
    assert [e["epoch"] for e in result.epochs] == [1, 2]
    assert result.epochs[0] == {"epoch": 1, "top1": 0.1, "seconds": 1.0, "steps": 2}
    assert result.epoch_seconds == [1.0, 2.0]
    assert result.environment == {"torch": "2.8.0"}
    assert result.resumed_from == first.name
    assert result.summary == {"best": "no"}
    assert result.started <= result.finished


def test_a_damaged_line_never_changes_the_final_metrics(store: Store, trained: Train) -> None:
    key = trained(top1=0.9)
    path = store.path / "trials" / key / str(store.state(key).attempt) / "metrics.jsonl"
    *head, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(head) + last.replace(b"{", b"\x00"))
    result = store.result(key)
    assert result is not None
    assert result.final["top1"] == 0.9
    assert len(result.epochs) == 2


def test_two_finished_attempts_that_differ_are_reported(store: Store, trained: Train) -> None:
    same, differs = trained(0), trained(1)
    trained(0)
    trained(1, top1=0.8)
    (found,) = store.disagreements()
    assert (found.key, found.metric, found.value, found.other_value) == (differs, "top1", 0.9, 0.8)
    assert found.first < found.other
    assert store.result(differs).final["top1"] == 0.9  # type: ignore[union-attr]
    assert store.state(same).attempts == 2


def test_states_of_three_hundred_trials_take_less_than_a_second_of_computing(store: Store) -> None:
    keys = []
    for seed in range(300):
        trial = make_trial(seed)
        with Attempt.begin(store.path, trial.key) as attempt:
            for epoch in range(1, 21):
                attempt.record("epoch", epoch=epoch, metrics={"top1": 0.5}, seconds=1.0, steps=9)
            if seed % 2:
                attempt.finish("done")
        keys.append(trial.key)
    began = time.process_time()
    states = store.states(keys)
    assert time.process_time() - began < 1.0
    assert sum(state.status == "done" for state in states.values()) == 150
    assert {state.epoch for state in states.values()} == {20}


def test_reading_a_store_needs_no_torch_and_no_database_module() -> None:
    code = "import sys, ablate.store.store, ablate.store.lease, ablate.store.attempt_reader;"
    code += "import ablate.index.database;"
    code += "print([m for m in ('torch', 'scipy', 'duckdb', 'numpy') if m in sys.modules])"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.stdout == "[]\n", child.stderr
