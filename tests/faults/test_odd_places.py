"""Pipes, folders and endless devices where a store has its files; entries that are no trials."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.store.store import Store
from tests.helpers.fault_table import Proved
from tests.helpers.in_process import Ended, call
from tests.helpers.small_stores import make_study, new_store

COMMANDS = [
    ("report", "group"),
    ("status",),
    ("logs", "group:mixup/digits/0"),
    ("diff", "group:baseline", "group:mixup"),
    ("export", "group", "-o", "made.zip", "--force"),
    ("query", "select count(*) from trials"),
    ("doctor", "--deep"),
    ("gc",),
    ("merge", "other"),
    ("reindex",),
]
PLACES = (
    *("FORMAT", "studies/group/*.json", "trials/*/trial.json", "trials/*/2*/done.json"),
    *("trials/*/2*/metrics.jsonl", "trials/*/2*/predictions.npz"),
    *("trials/*/2*/environment.json", "results.duckdb"),
)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def an_endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    made = new_store(tmp_path / "ablate-results")
    make_study(made, {"baseline": [0.80, 0.82], "mixup": [0.90, 0.91]})
    other = new_store(tmp_path / "other")
    make_study(other, {"baseline": [0.80, 0.82, 0.83]})
    return made


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_what_is_no_file_is_not_waited_for(store: Store, proved: Proved) -> None:
    assert call(["reindex"]).code == 0
    tried = 0
    for kind in (a_pipe, a_folder, an_endless_device):
        for place in PLACES:
            path = sorted(store.path.glob(place))[0]
            kept = path.with_name("kept")
            path.rename(kept)
            for i, command in enumerate(COMMANDS):
                if i % 3 == tried % 3:  # each of them at each place, over the three kinds
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                    kind(path)
                    done = call(command)
                    assert done.code in (0, 1, 2), (kind, place, command, done)
                    assert "Traceback" not in done.err
            tried += 1
            for left in path.parent.glob(f"{path.name}*"):  # set aside too
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            kept.rename(path)
    proved(
        "store", "what is no file in a file's place",
        "a pipe, a folder, a link to /dev/zero at 8 places; 10 commands",
        tried, "nothing hangs; one line",
    )  # fmt: skip


def test_the_latest_saved_run_damaged_is_told_and_no_earlier_one_stands_for_it(
    store: Store, proved: Proved
) -> None:
    make_study(store, {"baseline": [0.80, 0.82, 0.81], "mixup": [0.90, 0.91, 0.92]})
    whole = call(["report", "group"])
    assert (whole.code, "n = 3 seeds" in whole.out) == (0, True)
    newest = sorted((store.path / "studies/group").glob("*.json"))[-1]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    for command in (["report", "group"], ["report"], ["diff", "group:baseline", "group:mixup"]):
        done = call(command)
        assert done.code == 2, (command, done)
        assert f"damaged: ablate-results/studies/group/{newest.name}" in done.err
        assert "ablate run studies/group.toml saves it again" in done.err
    assert "is damaged" in call(["status"]).err
    found = call(["doctor"])
    assert found.code == 1
    assert "the latest saved run of 'group' cannot be read" in found.out
    proved(
        "store", "the latest saved run of several is damaged", "a bit flipped; report, diff, "
        "status, doctor", 5, "0 numbers of an earlier one: what to run is told",
    )  # fmt: skip


@pytest.mark.parametrize(
    "litter",
    [
        lambda trials: shutil.copytree(next(trials.iterdir()), trials / "a trial (copy)"),
        lambda trials: (trials / "Thumbs.db").write_bytes(b"x"),
        lambda trials: (trials / "not a key").mkdir(),
    ],
)
def test_what_is_no_trial_is_nobodys(store: Store, litter: Callable[[Path], object]) -> None:
    def shown() -> list[Ended]:
        return [call(command) for command in (COMMANDS[0], *COMMANDS[2:4])]

    before = shown()
    litter(store.path / "trials")
    assert shown() == before
    for command in (["status"], ["doctor"], ["gc"], ["query", "select count(*) from trials"]):
        assert call(command).code in (0, 1), command
