"""`ablate doctor` finds what is wrong with a store, says what to run, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from ablate.cli.commands.doctor.machine import Finding
from ablate.cli.commands.doctor.store import left_over, store_findings
from ablate.cli.options import Options
from ablate.index import database
from ablate.store import attempt_reader
from ablate.store.collect import carry_out, survey
from ablate.store.store import Store
from tests.helpers.gc_store import Littered, files_of, littered, reports

if TYPE_CHECKING:
    from tests.helpers.fault_table import Proved


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doctor tells of every worker of the machine: other tests, at the same time, leave some."""
    monkeypatch.setattr("ablate.cli.commands.doctor.store._processes", lambda: iter(()))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Several studies, a teacher, nothing damaged, nothing to remove."""
    made: Littered = littered(tmp_path_factory.mktemp("sound"))
    carry_out(survey(made.store))
    for place in ("figures.pdf", "backup", ".trial.json.deadbeef.tmp", f"trials/{'ab' * 32}"):
        (made.store.path / place).unlink()
    shutil.rmtree(made.store.path / "trials" / "not a key")
    database.ingest(made.store.path)
    return made.store


@pytest.fixture
def store(sound: Store, tmp_path: Path) -> Store:
    shutil.copytree(sound.path, tmp_path / "store")
    return Store.open(tmp_path / "store", create=False)


def look(store: Store, *, deep: bool = False) -> list[Finding]:
    return list(store_findings(Options(store=store.path), deep=deep))


def done_key(store: Store, name: str = "group") -> str:
    study = store.latest_study(name)
    assert study is not None
    return study.order[0]


def attempt_of(store: Store, key: str) -> Path:
    return attempt_reader.attempts(store.path, key)[-1]


def definition(store: Store) -> Path:
    return attempt_of(store, done_key(store)).parent / "trial.json"


def metrics(store: Store) -> Path:
    return attempt_of(store, done_key(store)) / "metrics.jsonl"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


# (what, damage, words in a line, what to run, whether only --deep sees it)
Damage = tuple[str, Callable[[Store], object], str, str, bool]


def unfinished(store: Store) -> Path:
    study = store.latest_study("nested/other")
    assert study is not None
    found = (p for key in study.order for _, p in attempt_reader.resumable(store.path, key))
    return next(found)


def newer(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))


def index_version(store: Store, number: int) -> None:
    with duckdb.connect(str(store.path / "results.duckdb")) as connection:
        connection.execute("UPDATE spool.version SET number = ?", [number])


DAMAGES: list[Damage] = [
    ("trial.json gone", lambda s: definition(s).unlink(),
     "1 definition that cannot be read", "ablate run studies/group.toml", False),
    ("trial.json torn", lambda s: definition(s).write_text("{"),
     "1 definition that cannot be read", "ablate run studies/group.toml", False),
    ("trial.json of a newer format", lambda s: newer(definition(s)),
     "1 definition of a newer ablate", "pip install -U ablate-study", False),
    ("done.json torn", lambda s: (attempt_of(s, done_key(s)) / "done.json").write_text('{"st'),
     "1 ending that cannot be read", "ablate run studies/group.toml", False),
    ("metrics.jsonl shorter", lambda s: os.truncate(metrics(s), 9),
     "1 file of metrics", "ablate merge BACKUP", False),
    ("metrics.jsonl gone", lambda s: metrics(s).unlink(),
     "1 file of metrics", "ablate merge BACKUP", False),
    ("a line of metrics flipped", lambda s: flip(metrics(s)),
     "1 file of metrics", "ablate merge BACKUP", True),
    ("predictions flipped", lambda s: flip(attempt_of(s, done_key(s)) / "predictions.npz"),
     "1 file of predictions", "ablate merge BACKUP", True),
    ("a teacher's weights flipped",
     lambda s: flip(attempt_of(s, done_key(s, "distilled")) / "weights.pt"),
     "1 file of weights", "ablate run studies/group.toml", True),
    ("a checkpoint flipped", lambda s: flip(unfinished(s)),
     "1 checkpoint that is damaged", "ablate run studies/other.toml", True),
    ("database torn", lambda s: os.truncate(s.path / "results.duckdb", 5000),
     "database damaged", "ablate reindex", False),
    ("database of an older version", lambda s: index_version(s, 1),
     "database of an older ablate", "ablate reindex", False),
    ("database behind", lambda s: shutil.copytree(
        attempt_of(s, done_key(s)),
        attempt_of(s, done_key(s)).with_name("20990101T000000.000000Z-abcdef")),
     "database behind the spool", "ablate reindex", False),
    ("a study's saved run gone", lambda s: shutil.rmtree(s.path / "studies" / "distilled"),
     "2 trials that no study's saved runs name", "ablate gc", False),
    ("FORMAT torn", lambda s: (s.path / "FORMAT").write_text("{"),
     "FORMAT, which tells the store's format, is damaged", 'echo \'{"format": 1}\'', False),
    ("FORMAT newer", lambda s: (s.path / "FORMAT").write_text('{"format": 2}'),
     "format 2; this ablate reads up to 1", "pip install --upgrade", False),
]  # fmt: skip


def test_what_is_wrong_is_found_and_what_to_run_is_said(
    sound: Store, tmp_path: Path, proved: Proved
) -> None:
    fine = look(sound, deep=True)
    assert [(one.kind, one.subject) for one in fine] == [("fine", "store"), ("fine", "size")], fine
    assert fine[0].message.endswith("trials, no orphans, format 1, database matches the spool")
    for number, (what, damage, words, todo, deep) in enumerate(DAMAGES):
        path = tmp_path / str(number)
        shutil.copytree(sound.path, path)
        store = Store(path)
        damage(store)
        before = files_of(path)
        shallow = look(store)
        found = look(store, deep=True)
        told = [one for one in found if words in one.message]
        assert told, (what, found)
        assert any(todo in one.todo for one in told), (what, told)
        seen = any(words in one.message for one in shallow)
        assert seen != deep, (what, shallow)
        assert files_of(path) == before, what
        shutil.rmtree(path)
    proved(
        "store", "doctor on a damaged store", "FORMAT, definitions, endings, lines, predictions, "
        "weights, checkpoints, database, saved runs: torn, flipped, gone, newer",
        len(DAMAGES), "nothing is changed; each is named with what to run",
    )  # fmt: skip


def test_reindex_and_gc_mend_what_doctor_sends_them(store: Store) -> None:
    index_version(store, 1)
    shutil.rmtree(store.path / "studies" / "distilled")
    before = dict(reports(store).items())
    todo = [one.todo.split(" --store")[0] for one in look(store) if one.todo]
    assert todo == ["ablate reindex", "ablate gc"]
    database.reindex(store.path)
    carry_out(survey(store))
    database.ingest(store.path)  # as `ablate gc` does
    assert not [one for one in look(store) if one.todo]
    assert reports(store) == before


def test_workers_left_over() -> None:
    """Of real processes: one whose parent is gone, and one whose parent is this test."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")
    sleeper = "import time; time.sleep(60)"
    ours = subprocess.Popen([sys.executable, "-c", sleeper, "-m", "ablate.execution.trainer"])
    program = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', "
        f"{sleeper!r}, '-m', 'ablate.execution.trainer'], stdout=subprocess.DEVNULL).pid)"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True,
                          check=True)  # fmt: skip
    orphan = int(done.stdout)
    try:
        stat = Path(f"/proc/{orphan}/stat").read_text()
        first = Path("/proc/1/cmdline").read_bytes()
        found = left_over(Path("/proc"))
        assert ours.pid not in found
        if stat.rpartition(")")[2].split()[1] != "1" or b"python" in first or b"ablate" in first:
            pytest.skip("orphans here are not handed to an init")
        assert orphan in found
    finally:
        ours.kill()
        ours.wait()
        os.kill(orphan, 9)
