"""A disk that fills up: one line that names it, what was acknowledged stays, the next run goes on.

A small tmpfs is the disk. Where only one file's disk is to be full, RLIMIT_FSIZE and /dev/full are.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest

from ablate.store.journal import read_lines
from ablate.store.store import Store
from tests.helpers.cli_process import run_cli, run_code
from tests.helpers.fault_table import Proved
from tests.helpers.faulty_runs import numbers, run, trained
from tests.helpers.small_disk import full, resize, seen_at, small_disk


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("disks"), 1)


def acknowledged(store: Path) -> dict[str, list[str]]:
    """Every whole line of every attempt, by its path."""
    return {
        str(path.relative_to(store)): [json.dumps(r) for r in read_lines(path).records]
        for path in store.glob("trials/*/*/metrics.jsonl")
    }


def test_a_study_on_a_disk_that_fills_up(whole: Path, proved: Proved, long: bool) -> None:
    folder = whole.parent
    sizes = [640, *((200, 320, 480, 800, 960) if long else ())]
    rows = fulls = 0
    for size in sizes:
        with small_disk(folder / f"disk{size}", size) as disk:
            done = run(folder, f"disk{size}/store")
            assert "Traceback" not in done.stderr
            assert "bug:" not in done.stderr
            if done.returncode == 0:  # it was large enough
                continue
            fulls += 1
            assert done.returncode in (1, 2), done.stderr
            assert "no space left" in done.stderr
            assert "free some space and run the same command again" in done.stderr
            assert f"(disk {disk})" in done.stderr
            before = acknowledged(disk / "store")
            status = run_cli("status", "--store", disk / "store", cwd=folder)
            assert (status.returncode, status.stderr) == (0, "")
            resize(disk, 100_000)
            done = run(folder, f"disk{size}/store")
            assert done.returncode == 0, done.stderr
            after = acknowledged(disk / "store")
            assert all(after[path][: len(lines)] == lines for path, lines in before.items())
            rows += sum(map(len, before.values()))
            assert numbers(disk / "store") == numbers(whole)
    proved(
        "disks",
        "the store's disk fills up during a run",
        "`ablate run` on a small tmpfs; then it is enlarged and run again",
        fulls,
        f"0 of {rows} acknowledged lines; the running epoch",
    )


LINES = """
import sys
from pathlib import Path
from ablate.store.attempt_writer import Attempt
from ablate.errors import AblateError
from ablate.store.store import Store
store = Store.open(Path(sys.argv[1]), create=True)
attempt, wrote = Attempt.begin(store.path, "ab" * 32), 0
attempt.save_checkpoint(1, lambda file: file.write(bytes(4096)))
def told(act):
    try:
        act()
    except AblateError as error:
        print("refused", error.message.count("\\n"), error.message, error.hint, sep="\\t")
    else:
        print("written")
try:
    while True:
        attempt.record("step", number=wrote, text="x" * 300)
        wrote += 1
except AblateError:
    print(wrote)
import numpy as np
told(lambda: attempt.record("step", number=wrote, text="x" * 300))
told(lambda: attempt.log("x" * 9000))
told(lambda: attempt.save_checkpoint(2, lambda file: file.write(bytes(90000))))
told(lambda: attempt.save_predictions(range(900), [0] * 900, np.zeros((900, 10))))
told(lambda: attempt.save_weights(lambda file: file.write(bytes(90000))))
told(lambda: attempt.save_environment({"host": "x" * 90000}))
told(lambda: attempt.finish("done", "x" * 90000))
"""


def test_each_of_an_attempts_files_on_a_full_disk(tmp_path: Path, proved: Proved) -> None:
    with small_disk(tmp_path / "disk", 96) as disk:
        done = run_code(LINES, disk / "store", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        wrote, *told = done.stdout.splitlines()
        assert full(disk) or told
        (attempt,) = (disk / "store").glob("trials/*/2*")
        lines = read_lines(attempt / "metrics.jsonl")
        steps = [r["number"] for r in lines.records if r["kind"] == "step"]
        assert steps == [*range(int(wrote))]
        assert lines.invalid == []
        assert lines.offset == (attempt / "metrics.jsonl").stat().st_size  # no torn line either
        assert sorted(path.name for path in attempt.iterdir()) == [
            *("checkpoint-1.pt", "checkpoint-1.pt.sha256", "log.txt", "metrics.jsonl"),
        ]
        for line in told:
            verdict, newlines, message, hint = line.split("\t")
            assert (verdict, newlines) == ("refused", "0")
            assert "no space left to write" in message
            assert f"(disk {disk})" in message
            assert "free some space" in hint
    proved(
        "disks",
        "no space for a line, the log, a checkpoint, predictions, weights, done.json",
        "each written on a tmpfs that is full",
        len(told),
        f"0 of {int(wrote)} acknowledged lines, no half file",
    )


def test_the_database_alone_on_a_full_disk(whole: Path, tmp_path: Path, proved: Proved) -> None:
    """The store's folder is on a disk that is full, its trials on another."""
    folder = whole.parent
    with small_disk(tmp_path / "disk", 64) as disk, contextlib.ExitStack() as elsewhere:
        store = Store.open(disk / "store", create=True).path
        for name in ("trials", "studies"):
            (tmp_path / name).mkdir()
            elsewhere.enter_context(seen_at(tmp_path / name, store / name))
        while not full(disk):
            with (disk / "filler").open("ab") as filler, contextlib.suppress(OSError):
                filler.write(bytes(4096))
        done = run(folder, str(store))
        assert done.returncode == 0, done.stderr
        assert numbers(store) == numbers(whole)
        assert not (store / "results.duckdb").exists()
        sql = "select count(*) from trials where status = 'done'"
        for command in (("report", "study"), ("status",), ("query", sql, "--format", "csv")):
            done = run_cli(*command, "--store", store, cwd=folder)
            assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1] == "2"
    proved(
        "disks",
        "no space for the database",
        "its file on a full tmpfs while trials train; then report, status, query",
        4,
        "nothing: the spool is read",
    )


def test_no_space_for_images_or_temporary_files(
    whole: Path, tmp_path: Path, proved: Proved
) -> None:
    from tests.helpers.data_samples import write_images

    write_images(tmp_path / "animals", ("ant", "bee"), 20, 4)
    text = (whole.parent / "study.toml").read_text()
    text = text.replace('"digits"', f'"imagefolder:{tmp_path}/animals"')
    (tmp_path / "study.toml").write_text(text)
    with small_disk(tmp_path / "disk", 24) as disk:
        done = run_cli("run", "study.toml", cwd=tmp_path, env={"ABLATE_CACHE": str(disk)})
        assert done.returncode == 2, done.stderr
        assert "no space left for decoded images in" in done.stderr or "GiB left" in done.stderr
        assert "ABLATE_CACHE" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(disk.glob("*.tmp"))
        (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096))
        assert full(disk)
        shutil.copytree(whole, tmp_path / "store")
        for command in (("run", "study.toml", "--limit", "20"), ("report", "study")):
            asked = (*command, "--store", tmp_path / "store")
            done = run_cli(*asked, cwd=whole.parent, env={"TMPDIR": str(disk)})
            assert done.returncode == 0, done.stderr
    proved(
        "disks",
        "no space for decoded images, or in TMPDIR",
        "ABLATE_CACHE, then TMPDIR, on a full tmpfs",
        3,
        "nothing; the run is refused in a line that names ABLATE_CACHE",
    )
