"""A store that goes away while trials train: moved, removed, replaced, unmounted."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.cli_process import run_cli
from tests.helpers.fault_runs import Cli, Undisturbed, until
from tests.helpers.fault_table import Proved
from tests.helpers.faulty_runs import numbers
from tests.helpers.killing import training
from tests.helpers.small_disk import small_disk

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc"),
    pytest.mark.timeout(900),
]
Trained = Callable[[int], Undisturbed]
SEEDS = 4


def moved(store: Path) -> None:
    store.rename(store.with_name(f"{store.name} elsewhere"))


def replaced(store: Path) -> None:
    moved(store)
    store.mkdir()


def removed(store: Path) -> None:
    while store.exists():  # whoever writes meanwhile makes it fail
        shutil.rmtree(store, ignore_errors=True)


def emptied(store: Path) -> None:
    while (store / "trials").exists():
        shutil.rmtree(store / "trials", ignore_errors=True)


def left_half(store: Path) -> None:
    """As `rm -rf` and `mv` to another disk leave it where a training makes files faster."""
    shutil.rmtree(store / "studies")
    (store / "FORMAT").unlink()


WAYS = {
    moved: "was moved to",
    replaced: "was moved to",
    removed: "was removed",
    emptied: "it has no trials",
    left_half: "was removed in part while it was used: it has no ",
}


def begun(cli: Cli, study: Path, store: Path) -> Callable[[], tuple[int, str]]:
    """Starts a run and waits until it trains; what is returned waits for its end."""
    run = cli.run(study, store)
    until(lambda: training(store), "a training", 120)

    def ended() -> tuple[int, str]:
        code = run.wait(120)
        cli.wait_until_none_is_left()
        return code, run.text()

    return ended


def test_a_store_that_goes_away_ends_the_run_in_a_line(
    cli: Cli, undisturbed: Trained, proved: Proved
) -> None:
    study, whole = undisturbed(SEEDS)
    for way, words in WAYS.items():
        store = cli.folder / f"store {way.__name__}"
        ended = begun(cli, study, store)
        way(store)
        code, text = ended()
        assert code == 1, text
        assert text.count("error: ") == 1
        assert words in text
        assert "Traceback" not in text
        if way in (emptied, left_half):
            gone = "trials" if way is emptied else "studies"
            assert not (store / gone).exists()
            continue
        assert not (store.exists() and any(store.iterdir())), "nothing is made in its place"
        if way is not removed:
            place = store.with_name(f"{store.name} elsewhere")
            assert f"--store '{place}'" in text, "what was trained is told"
        if way is moved:
            again = cli.run(study, place)
            assert again.wait() == 0, again.text()
            assert numbers(place) == numbers(whole)
    proved(
        "store",
        "a store that goes away while trials train",
        "moved, another folder in its place, removed, its trials or its FORMAT removed",
        len(WAYS),
        "what was removed; of a moved one nothing: it goes on there, then as undisturbed",
    )


def test_a_disk_that_is_unmounted_while_trials_train(
    cli: Cli, undisturbed: Trained, proved: Proved
) -> None:
    study, _ = undisturbed(SEEDS)
    place = cli.folder / "disk"
    with small_disk(place, 40_000):
        # the same disk elsewhere too, so that what was written to it can be looked at
        other = cli.folder / "seen"
        other.mkdir()
        subprocess.run(["mount", "--bind", place, other], check=True)
        try:
            store = place / "store"
            ended = begun(cli, study, store)
            subprocess.run(["umount", "-l", place], check=True)
            code, text = ended()
            assert code == 1, text
            assert "unmounted, or another is in its place" in text
            assert [*place.iterdir()] == [], "nothing below the mount point"
            done = run_cli("status", "--store", other / "store", cwd=cli.folder)
            assert done.returncode == 0, done.stderr
            kept = [*(other / "store").glob("trials/*/2*/metrics.jsonl")]
            assert kept
        finally:
            subprocess.run(["umount", "-l", other], check=True)
            subprocess.run(["mount", "-t", "tmpfs", "ablate-test", place], check=True)
    proved(
        "store",
        "the disk of a store is unmounted while trials train",
        "umount -l; the disk is looked at elsewhere",
        1,
        f"the running epochs; {len(kept)} attempts are on the disk, nothing is below it",
    )
