"""A store that can only be read: everything that reads works, and `run` says so in one line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers.cli_process import run_code
from tests.helpers.fault_table import Proved
from tests.helpers.faulty_runs import STUDY
from tests.helpers.small_disk import make_read_only, small_disk
from tests.helpers.small_stores import make_study, new_store

READING = [
    ("report", "group", "--format", "html", "-o", "report.html"),
    ("report", "group"),
    ("status",),
    ("query", "select label, top1 from trials order by key"),
    ("logs", "group:mixup/digits/0"),
    ("diff", "group:baseline", "group:mixup"),
    ("export", "group", "-o", "group.tar.gz"),
    ("plan", "study.toml"),
]
REFUSED = [("run", "study.toml"), ("reindex",)]
COMMANDS = """
import json, sys
from ablate.cli.main import main
for command in json.loads(sys.argv[1]):
    code = main(command)
    sys.stdout.flush()
    print("\\x00", code, "\\x00", end="", flush=True)
    print("\\x00", end="", file=sys.stderr, flush=True)
"""


def test_a_store_on_a_disk_that_is_mounted_read_only(tmp_path: Path, proved: Proved) -> None:
    (tmp_path / "study.toml").write_text(STUDY.format(seeds=1))
    every = [*READING, ("doctor",), *REFUSED]
    with small_disk(tmp_path / "disk", 2000) as disk:
        store = new_store(disk / "store")
        make_study(store, {"baseline": [0.80, 0.82], "mixup": [0.90, 0.91]})
        for attempt in store.path.glob("trials/*/2*"):
            (attempt / "log.txt").write_text("a line\n")
        make_read_only(disk)
        asked = [[*command, "--store", str(store.path)] for command in every]
        done = run_code(COMMANDS, json.dumps(asked), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown, said = done.stdout.split("\x00")[:-1], done.stderr.split("\x00")[:-1]
    results = list(zip(every, shown[::2], map(int, shown[1::2]), said, strict=True))
    for command, stdout, code, stderr in results:
        assert "Traceback" not in stderr
        if command in REFUSED:
            assert code == 2
            assert stderr.startswith("error: "), stderr
            assert str(store.path) in stderr
            assert len(stderr.strip().splitlines()) <= 2
        elif command[0] == "doctor":
            assert "can be read but not written: Read-only file system" in stdout
        else:
            assert code == 0, (command, stderr)
    texts = {command[0]: stdout for command, stdout, _, _ in results}
    assert "81.0" in texts["report"]
    assert "90.5" in texts["report"]
    assert "0.91" in texts["query"]
    assert (tmp_path / "report.html").stat().st_size > 10_000
    proved(
        "disks",
        "a store on a read-only disk",
        "tmpfs remounted read-only; 8 commands that read, doctor, run, reindex",
        len(results),
        "nothing; run and reindex are refused in a line",
    )
