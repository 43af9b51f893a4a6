"""`ablate merge` through the real command line; copies are compared byte for byte."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from ablate.index import database
from ablate.store import attempt_reader, lease
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store
from tests.helpers import forked
from tests.helpers.cli_process import ABLATE, Cli
from tests.helpers.environment import environment
from tests.helpers.small_stores import make_study, make_trial, new_store, train

VALUES = {"baseline": [0.80, 0.81], "mixup": [0.85, None]}


@pytest.fixture
def other(tmp_path: Path) -> Store:
    store = new_store(tmp_path / "other")
    make_study(store, VALUES)
    return store


def mine(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "ablate-results", create=False)


def same(a: Path, b: Path) -> bool:
    """Whether two folders hold the same files with the same bytes, however deep."""
    found = filecmp.dircmp(a, b)
    if found.left_only or found.right_only or found.funny_files:
        return False
    _, mismatch, errors = filecmp.cmpfiles(a, b, found.common_files, shallow=False)
    return not mismatch and not errors and all(same(a / d, b / d) for d in found.common_dirs)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in folder.rglob("*")
    }


def test_everything_is_copied_and_the_other_store_is_left_alone(
    cli: Cli, other: Store, tmp_path: Path
) -> None:
    before = contents(other.path)
    done = cli("merge", "other")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("other: 3 attempts at 3 trials, 1 saved run added (")
    assert contents(other.path) == before
    for folder in ("trials", "studies"):
        assert same(other.path / folder, tmp_path / "ablate-results" / folder)
    with database.connect(tmp_path / "ablate-results") as connection:
        query = "SELECT count(*), round(sum(top1), 2) FROM trials"
        assert connection.execute(query).fetchall() == [(3, 2.46)]
    report = cli("report", "group", "--format", "csv")
    assert cli("report", "group", "--format", "csv", "--store", "other").stdout == report.stdout

    again = cli("merge", "other")
    assert (again.returncode, again.stdout) == (
        0,
        "other: nothing new; 3 attempts already here\n",
    )


def test_a_dry_run_writes_nothing(cli: Cli, other: Store, tmp_path: Path) -> None:
    done = cli("merge", "other", "--dry-run", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["merged"][0]["attempts"] == 3
    assert sorted(document["merged"][0]["trials"]) == other.keys()[:3]
    assert not (tmp_path / "ablate-results").exists()


def test_two_stores_of_one_study_make_a_whole_one(cli: Cli, other: Store, tmp_path: Path) -> None:
    """Two machines trained a half each; what was here stays as it was."""
    make_study(
        new_store(tmp_path / "ablate-results"), {"baseline": [None, 0.81], "mixup": [None, 0.87]}
    )
    before = contents(tmp_path / "ablate-results" / "trials")
    assert cli("merge", "other").returncode == 0
    store = mine(tmp_path)
    assert [store.state(key).status for key in store.keys()] == ["done"] * 4  # noqa: SIM118
    after = contents(store.path / "trials")
    for name, facts in before.items():
        if "/20" in name:  # every file of an attempt that was here
            assert after[name] == facts


def test_finished_attempts_that_disagree_are_told_and_the_first_counts(
    cli: Cli, other: Store, tmp_path: Path
) -> None:
    store = new_store(tmp_path / "ablate-results")
    key = train(store, make_trial(0), 0.79)  # after the other's, which has 0.80
    done = cli("merge", "other")
    assert done.returncode == 1
    assert f"{key[:6]} digits · baseline · seed 0: loss 1.2 in 2" in done.stderr
    assert "and 1.21 in" in done.stderr
    assert done.stderr.rstrip().endswith("until now the other counted here")
    result = mine(tmp_path).result(key)
    assert result is not None
    assert result.final["top1"] == 0.80
    told = [(d.metric, d.value, d.other_value) for d in mine(tmp_path).disagreements()]
    assert ("top1", 0.80, 0.79) in told
    train(store, make_trial(5), 0.5)
    assert cli("merge", "other").returncode == 1, "it is still so"


def test_equal_results_of_two_attempts_are_no_disagreement(
    cli: Cli, other: Store, tmp_path: Path
) -> None:
    train(new_store(tmp_path / "ablate-results"), make_trial(0), 0.80)
    done = cli("merge", "other")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_kill_at_any_moment_leaves_whole_attempts_and_the_next_merge_finishes(
    tmp_path: Path, long: bool
) -> None:
    """Killed after different times, until one comes through; never half an attempt."""
    store = new_store(tmp_path / "other")
    for seed in range(12):
        key = train(store, make_trial(seed), 0.8)
        (attempt,) = attempt_reader.attempts(store.path, key)
        with (attempt / "weights.pt").open("wb") as file:
            file.write(os.urandom(4 << 20))
    target = tmp_path / "ablate-results"
    command = [*ABLATE, "merge", "other"]
    kills = 0
    for delay in [0.03 * i for i in range(1, 30 if long else 7)]:
        process = forked.Forked(command, cwd=tmp_path, env=environment())
        until = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < until:
            if any(target.glob("trials/*/.merging-*")):  # it is copying
                time.sleep(delay)
                break
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        for attempt in target.glob("trials/*/2*"):
            assert same(attempt, store.path / "trials" / attempt.parent.name / attempt.name)
    assert kills, "else this test has killed nothing"
    done = forked.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(target.glob("trials/*/.merging-*"))
    for key in store.keys():  # noqa: SIM118 - a store is no dict
        (attempt,) = attempt_reader.attempts(target, key)
        assert same(attempt, store.path / "trials" / key / attempt.name)


def test_what_is_being_trained_is_left_out(cli: Cli, other: Store, tmp_path: Path) -> None:
    there, here = make_trial(0).key, make_trial(1).key
    new_store(tmp_path / "ablate-results")
    held = lease.claim(other.path, there, "group")
    also = lease.claim(tmp_path / "ablate-results", here, "group")
    assert held is not None
    assert also is not None
    with held, also:
        done = cli("merge", "other")
    assert done.returncode == 1
    assert f"it is being trained there (pid {os.getpid()} on" in done.stderr
    assert f"✗ {here[:6]} digits · baseline · seed 1: it is being trained here" in done.stderr
    store = mine(tmp_path)
    assert store.state(there).status == store.state(here).status == "new"
    assert cli("merge", "other").returncode == 0
    assert store.state(there).status == store.state(here).status == "done"


def test_an_attempt_that_has_ended_since_replaces_its_beginning(cli: Cli, tmp_path: Path) -> None:
    other = new_store(tmp_path / "other")
    trial = make_trial(0)
    other.register(trial, "digits · seed 0")
    attempt = Attempt.begin(other.path, trial.key)
    attempt.record("epoch", epoch=1, metrics={"top1": 0.1}, seconds=1.0)
    assert cli("merge", "other").returncode == 0
    assert mine(tmp_path).state(trial.key).status == "interrupted"
    attempt.record("epoch", epoch=2, metrics={"top1": 0.7}, seconds=1.0)
    attempt.finish("done")
    assert cli("merge", "other").returncode == 0
    result = mine(tmp_path).result(trial.key)
    assert result is not None
    assert result.final == {"top1": 0.7}
    with database.connect(tmp_path / "ablate-results") as connection:
        assert connection.execute("SELECT top1, epochs FROM trials").fetchall() == [(0.7, 2)]
    # and an unfinished one is of no use beside a finished one
    with Attempt.begin(other.path, trial.key) as late:
        late.record("epoch", epoch=1, metrics={"top1": 0.1}, seconds=1.0)
    done = cli("merge", "other")
    assert "1 unfinished attempt at finished trials not needed" in done.stdout


# ------------------------------------------------------------------------------------ hostile


def attempt_of(store: Store, seed: int = 0) -> Path:
    return attempt_reader.attempts(store.path, make_trial(seed).key)[0]


def edit(path: Path, old: str, new: str) -> None:
    """As somebody would who makes up a file: it has no checksum that tells of it."""
    text = path.read_text()
    assert old in text
    path.write_text(re.sub(r',\n "checksum": "\w+"', "", text.replace(old, new)))


def test_an_attempt_whose_process_died_before_its_first_line_is_merged(
    cli: Cli, other: Store, tmp_path: Path
) -> None:
    trial = make_trial(1, "mixup")
    key = trial.key
    other.register(trial, "a trial")
    with Attempt.begin(other.path, key) as attempt:
        attempt.finish("failed", "its process ended")
    (attempt.path / "metrics.jsonl").unlink()
    done = cli("merge", "other")
    assert (done.returncode, done.stderr) == (0, "")
    assert mine(tmp_path).state(key).message == "its process ended"
    with database.connect(mine(tmp_path).path) as asked:
        failed = asked.execute("select message from trials where status = 'failed'").fetchall()
    assert failed == [("its process ended",)]


def test_damaged_attempts_are_named_and_left_out(cli: Cli, other: Store, tmp_path: Path) -> None:
    first = attempt_of(other)
    lines = (first / "metrics.jsonl").read_bytes()
    (first / "metrics.jsonl").write_bytes(b"".join(lines.splitlines(keepends=True)[:2]) + lines[:9])
    second = attempt_of(other, 1)
    edit(second / "done.json", '"top1": 0.81', '"top1": 0.99')
    arrays = attempt_reader.attempts(other.path, make_trial(0, "mixup").key)[0] / "predictions.npz"
    data = bytearray(arrays.read_bytes())
    data[len(data) // 2] ^= 1
    arrays.write_bytes(data)
    done = cli("merge", "other")
    assert done.returncode == 1
    assert "its metrics.jsonl has 2 whole lines of 4" in done.stderr
    assert "its last epoch and its done.json say different numbers" in done.stderr
    assert "its predictions.npz is damaged" in done.stderr
    assert {mine(tmp_path).state(key).status for key in other.keys()} == {"new"}  # noqa: SIM118


def test_a_definition_that_is_not_the_keys_is_refused(
    cli: Cli, other: Store, tmp_path: Path
) -> None:
    key = make_trial(0).key
    edit(other.path / "trials" / key / "trial.json", '"seed": 0', '"seed": 7')
    done = cli("merge", "other")
    assert done.returncode == 1
    assert f"✗ {key}: its definition is another trial's" in done.stderr
    assert not (tmp_path / "ablate-results" / "trials" / key).exists()


def test_links_pipes_and_odd_names_lead_nowhere(cli: Cli, other: Store, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("not yours")
    trials = other.path / "trials"
    first, second = attempt_of(other), attempt_of(other, 1)
    (first / "log.txt").symlink_to(secret)
    (second / "done.json").unlink()
    os.mkfifo(second / "done.json")  # reading it would wait for ever
    (trials / ("a" * 64)).symlink_to(tmp_path)
    (trials / ".." / "studies" / "evil\u202e").mkdir()
    (trials / "..odd").mkdir()
    (trials / "x\x1b[31m").mkdir()
    claim = trials / make_trial(0, "mixup").key / "claim"
    claim.mkdir()
    os.mkfifo(claim / "lease.json")
    (attempt_of(other, 0).parent / "20260101T000000.000000Z-abcdef").symlink_to(tmp_path)
    study = next((other.path / "studies" / "group").iterdir())
    (other.path / "studies" / "evil\u202e" / study.name).write_bytes(study.read_bytes())
    done = cli("merge", "other")
    assert done.returncode == 1
    assert "log.txt in it is no plain file" in done.stderr
    assert "done.json in it is no plain file" in done.stderr
    assert "trials/x\\u001b[31m: its name is no key" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "it is another study's" in done.stderr
    for path in (tmp_path / "ablate-results").rglob("*"):
        assert not path.is_symlink()
        assert path.is_dir() or b"not yours" not in path.read_bytes()
    copied = {p.parent.name for p in (tmp_path / "ablate-results").glob("trials/*/2*")}
    assert copied == {make_trial(0, "mixup").key}


def test_what_would_not_fit_on_the_disk_is_refused(cli: Cli, other: Store, tmp_path: Path) -> None:
    size = 1 << 42  # four terabytes, sparse
    if shutil.disk_usage(tmp_path).free > size:
        pytest.skip("this disk has room for what should not fit")
    with (attempt_of(other) / "weights.pt").open("wb") as file:
        file.truncate(size)
    done = cli("merge", "other")
    assert done.returncode == 2
    assert "error: other brings 4,398.0 GB; " in done.stderr
    assert not list((tmp_path / "ablate-results").glob("trials/*/2*"))


def test_a_name_that_is_another_study_here_is_not_mixed(
    cli: Cli, other: Store, tmp_path: Path
) -> None:
    store = new_store(tmp_path / "ablate-results")
    resolved = make_study(store, {"baseline": [0.7, 0.7]}, file="mine.toml")
    text = {"mine.toml": "# mine\n[study]\n"}
    store.save_study(resolved.model_copy(update={"toml": text}))
    done = cli("merge", "other")
    assert done.returncode == 1
    assert "the name is taken here by mine.toml; there it is studies/group.toml" in done.stderr
    assert len(list((store.path / "studies" / "group").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "error: no store at nowhere"),
        (["file"], "error: file is a file, not a store"),
        (["plain"], "error: plain is not an ablate store"),
        (["newer"], "error: the store newer has format 99; this ablate reads up to 1"),
        (["ablate-results"], "error: ablate-results is this store itself"),
        ([], "error: missing argument 'OTHER'"),
    ],
)
def test_refusals(cli: Cli, tmp_path: Path, arguments: list[str], said: str) -> None:
    new_store(tmp_path / "ablate-results")
    (tmp_path / "file").write_text("")
    (tmp_path / "plain").mkdir()
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "FORMAT").write_text('{"format": 99}')
    done = cli("merge", *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith(said)
