"""Kills `ablate gc` at random moments; run as a program of its own, which forks cheaply and has no
threads: `python -m tests.helpers.gc_killed FOLDER TIMES`. Prints JSON: kills, and of them those
that came between the first change and the last."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from ablate.index import database
from ablate.store.collect import carry_out, survey
from ablate.store.store import Store
from tests.helpers.gc_store import OLD, files_of, littered


def collect(path: Path) -> None:
    """As the command does."""
    carry_out(survey(Store.open(path, create=False)))
    database.ingest(path)


def contents(path: Path, names: frozenset[str]) -> dict[str, bytes]:
    return {n: (path / n).read_bytes() for n in names if not (path / n).is_symlink()}


def main(folder: Path, times: int) -> dict[str, int]:
    made = littered(folder)
    before = files_of(made.store.path)
    told = contents(made.store.path, made.needed)
    seconds = 0.0
    counts = {"kills": 0, "midway": 0, "files": len(before - made.needed)}
    path = folder / "copy" / "store"
    draw = random.Random(4)
    # Moments are random: of a few, all may be before the first change or after the last.
    while counts["kills"] < times or (not counts["midway"] and counts["kills"] < times + 30):
        shutil.rmtree(path.parent, ignore_errors=True)
        shutil.copytree(made.store.path, path, symlinks=True)
        (path.parent / "outside").symlink_to(made.outside)
        pid = os.fork()
        if pid == 0:
            collect(path)
            os._exit(0)
        began = time.monotonic()
        if seconds:
            time.sleep(draw.random() * seconds)
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if not seconds:  # the first shows how long it takes
            seconds = time.monotonic() - began
            assert files_of(path) == made.needed
            continue
        if not os.WIFSIGNALED(status):
            continue  # it was faster
        counts["kills"] += 1
        left = files_of(path)
        counts["midway"] += made.needed < left and left != before
        assert made.needed <= left, sorted(made.needed - left)
        new = (".removing/", "trials/", "results.duckdb.new-")
        assert all(name.startswith(new) for name in left - before)
        for name in left - made.needed:  # an hour later: what is new may be somebody's
            for place in (path / name, (path / name).parent):
                os.utime(place, (OLD, OLD), follow_symlinks=False)
        collect(path)
        assert files_of(path) == made.needed, sorted(files_of(path) ^ made.needed)
        assert contents(path, made.needed) == told
    return counts


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
