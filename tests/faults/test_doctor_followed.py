"""Every advice of `ablate doctor` about a store, followed as it is printed: it mends what it names.

The store is really trained. `BACKUP` is a copy of it from before the damage.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from ablate.cli.commands.doctor.store import store_findings
from ablate.cli.options import Options
from ablate.store import attempt_reader, ledger
from ablate.store.lease import Lease
from ablate.store.store import Store
from tests.helpers import forked
from tests.helpers.cli_process import ABLATE, run_cli, run_here
from tests.helpers.environment import environment
from tests.helpers.fault_table import Proved

STUDY = """\
[study]
datasets = ["digits"]
seeds    = 2
stack    = [{stack}]

[recipe]
model      = "resnet8"
epochs     = {epochs}
batch_size = 16
image_size = 8
"""
TEACHER = (
    '\n[tricks]\ndistill = { teacher = "@teacher" }\n\n[trial.teacher]\nset = { epochs = 2 }\n'
)
LIMIT = ("--limit", "40")


class Damage(NamedTuple):
    """words: of the line that names it; command: part of its advice."""

    words: str
    bring: Callable[[Store], object]
    command: str
    deep: bool = False


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doctor tells of every worker of the machine: other tests, at the same time, leave some."""
    monkeypatch.setattr("ablate.cli.commands.doctor.store._processes", lambda: iter(()))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies, one with a teacher, each trained and looked at."""
    folder = tmp_path_factory.mktemp("followed")
    (folder / "plain.toml").write_text(STUDY.format(stack='"label_smoothing"', epochs=2))
    (folder / "taught.toml").write_text(STUDY.format(stack='"distill"', epochs=1) + TEACHER)
    for study in ("plain.toml", "taught.toml"):
        done = run_cli("run", study, *LIMIT, cwd=folder)
        assert done.returncode == 0, done.stderr
    shutil.copytree(folder / "ablate-results", folder / "BACKUP")
    return folder


def _key(store: Store, study: str = "plain") -> str:
    found = store.latest_study(study)
    assert found is not None
    return found.order[-1]  # which nobody learns from


def _teacher(store: Store) -> str:
    study = store.latest_study("taught")
    assert study is not None
    return next(t.teacher for t in study.trials.values() if t.teacher is not None)


def _weights(store: Store) -> Path:
    found = attempt_reader.weights(store.path, _teacher(store))
    assert found is not None
    return found


def _attempt(store: Store, key: str | None = None) -> Path:
    return attempt_reader.attempts(store.path, key or _key(store))[0]


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _definition(store: Store) -> Path:
    return _attempt(store).parent / "trial.json"


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _saved(store: Store) -> Path:
    return sorted((store.path / "studies" / "plain").iterdir())[-1]


def _unfinished(store: Store) -> None:
    """As a kill leaves it, with a newest checkpoint that is damaged."""
    attempt = _attempt(store)
    for name in ("done.json", "predictions.npz"):
        (attempt / name).unlink()
    path = attempt / "checkpoint-1.pt"
    path.write_bytes(b"x" * 1000)
    attempt_reader.sidecar(path).write_text(f"{'0' * 64}  {path.name}\n")


def _second_attempt(store: Store) -> None:
    attempt = _attempt(store)
    other = attempt.with_name("20990101T000000.000000Z-abcdef")
    shutil.copytree(attempt, other)


def _dead_claim(store: Store) -> None:
    claim = _attempt(store).with_name("claim")
    claim.mkdir()
    lease = vars(Lease.of_this_process("plain")) | {"started": "another, of the same number"}
    (claim / "lease.json").write_text(json.dumps(lease))


def _version(store: Store) -> None:
    with duckdb.connect(str(store.path / "results.duckdb")) as connection:
        connection.execute("UPDATE spool.version SET number = 1")


def _shorten(path: Path, size: int) -> None:
    os.truncate(path, path.stat().st_size - size)


def _truncate(path: Path) -> None:
    os.truncate(path, 9)


RUN, MERGE, REINDEX, GC = "ablate run", "ablate merge BACKUP", "ablate reindex", "ablate gc"
DAMAGES = [
    Damage("definition that cannot be read", lambda s: _definition(s).unlink(), RUN),
    Damage("definition that cannot be read", lambda s: _truncate(_definition(s)), RUN),
    Damage("definition that cannot be read", lambda s: _flip(_definition(s)), RUN),
    Damage("definition that cannot be read", lambda s: _folder(_definition(s)), RUN),
    Damage("ending that cannot be read",
           lambda s: _truncate(_attempt(s) / "done.json"), RUN),
    Damage("file of metrics", lambda s: _truncate(_attempt(s) / "metrics.jsonl"), MERGE),
    Damage("file of metrics", lambda s: (_attempt(s) / "metrics.jsonl").unlink(), MERGE),
    Damage("file of metrics", lambda s: _flip(_attempt(s) / "metrics.jsonl"), MERGE, deep=True),
    Damage("file of predictions",
           lambda s: _flip(_attempt(s) / "predictions.npz"), MERGE, deep=True),
    Damage("file of weights",
           lambda s: _flip(_weights(s)), RUN, deep=True),
    Damage("checkpoint that is damaged", _unfinished, RUN, deep=True),
    Damage("the latest saved run of 'plain' cannot be read",
           lambda s: _truncate(_saved(s)), "ablate run STUDY"),
    Damage("the latest saved run of 'plain' cannot be read",
           lambda s: _shorten(_saved(s), 99), "ablate run plain.toml --limit 40"),
    Damage("a look that was kept cannot be read",
           lambda s: _truncate(next(ledger.paths(s.path))), MERGE),
    Damage("database damaged", lambda s: os.truncate(s.path / "results.duckdb", 5000), REINDEX),
    Damage("database of an older ablate", _version, REINDEX),
    Damage("database behind", _second_attempt, REINDEX),
    Damage("that no study's saved runs name",
           lambda s: shutil.rmtree(s.path / "studies" / "taught"), GC),
    Damage("claim of processes that died", _dead_claim, GC),
    Damage("FORMAT, which tells the store's format, is damaged",
           lambda s: (s.path / "FORMAT").write_text("{"), "echo"),
    Damage("FORMAT, which tells the store's format, is missing",
           lambda s: (s.path / "FORMAT").unlink(), "echo"),
]  # fmt: skip


class Findings(NamedTuple):
    """What doctor says of the store: lines with something to do, and all."""

    todo: list[tuple[str, str]]
    every: list[str]


def _doctor(folder: Path, *, deep: bool) -> Findings:
    """What it says of the store that is found without --store, as in the folder of the study."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        ours = list(store_findings(Options(), deep=deep))
    finally:
        os.chdir(before)
    return Findings(
        [(one.message, one.todo) for one in ours if one.todo], [one.message for one in ours]
    )


def _follow(folder: Path, todo: str) -> str:
    """Type it; of what gc shows, its own next command too. Returns what was typed."""
    if "echo" in todo:
        command = todo[todo.index("echo") :]
        subprocess.run(["sh", "-c", command], cwd=folder, check=True)
        return "echo"
    # Where nothing is left that says which study it was, a person knows.
    words = shlex.split(todo.replace("STUDY", "plain.toml --limit 40"))
    assert words[0] == "ablate"
    done = forked.run(
        [*ABLATE, *words[1:]], cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, (todo, done.stderr)
    if words[1] == "gc":
        (line,) = [line for line in done.stderr.splitlines() if "removes it" in line]
        further = line.removeprefix("Nothing was removed. ").removesuffix(" removes it.")
        assert run_cli(*shlex.split(further)[1:], cwd=folder).returncode == 0
    return " ".join(words)


def _agree(folder: Path) -> None:
    """Report, query and status count the same."""
    sql = "select count(*) as n from trials where status = 'done'"
    queried = run_here("query", sql, "--format", "json", cwd=folder)
    number = int(re.findall(r"\d+", queried.stdout.partition('"n"')[2])[0])
    status = json.loads(run_here("status", "--json", cwd=folder).stdout)["studies"]
    keys = {key for s in status for key, state in s["statuses"].items() if state == "done"}
    assert number == len(keys)
    for study in status:
        done = run_here("report", study["study"], "--format", "json", cwd=folder)
        (table,) = json.loads(done.stdout)["tables"]
        assert all(row["n"] == 2 for row in table["rows"])


def test_every_advice_is_followed_and_mends_what_it_names(
    sound: Path, tmp_path: Path, proved: Proved
) -> None:
    clean = _doctor(sound, deep=True)
    assert clean.todo == []
    followed = 0
    for number, damage in enumerate(DAMAGES):
        folder = tmp_path / f"{number}"
        shutil.copytree(sound, folder)
        store = Store(folder / "ablate-results")
        damage.bring(store)
        before = _doctor(folder, deep=damage.deep)
        named = [(message, todo) for message, todo in before.todo if damage.words in message]
        assert named, (damage.words, before)
        assert all(damage.command in todo for _, todo in named), named
        typed = []
        todo = before.todo
        for _ in range(3):  # what one command leaves behind, the next one tells
            for _, command in todo:
                typed.append(_follow(folder, command))
            after = _doctor(folder, deep=True)
            if not (todo := after.todo):
                break
        assert after.todo == [], (damage.words, typed)
        assert not any(damage.words in message for message in after.every)
        _agree(folder)
        followed += len(typed)
        shutil.rmtree(folder)
    how = f"{len(DAMAGES)} kinds of damage to a trained store; what is printed is typed"
    proved("store", "the advice of doctor", how, followed, "nothing is named any more")


def test_a_query_counts_a_trial_whose_definition_is_gone(sound: Path, tmp_path: Path) -> None:
    """A saved run has it whole; when the file is back there is one row, not two."""
    folder = tmp_path / "store"
    shutil.copytree(sound, folder)
    store = Store(folder / "ablate-results")
    definition = _definition(store)
    text = definition.read_bytes()
    for damage in (b"", text[:-20], None):
        definition.unlink()
        if damage is not None:
            definition.write_bytes(damage)
        for _ in range(2):
            _agree(folder)
            assert run_cli("reindex", cwd=folder).returncode == 0
        definition.write_bytes(text)
        _agree(folder)


def test_a_merge_brings_a_definition_that_is_damaged_here_and_leaves_a_newer_one(
    sound: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    shutil.copytree(sound, folder)
    store = Store(folder / "ablate-results")
    definition = _definition(store)
    whole = json.loads(definition.read_bytes())
    definition.write_text("{")
    dry = run_cli("merge", "BACKUP", "--dry-run", cwd=folder)
    assert "1 definition would be added" in dry.stdout
    assert definition.read_text() == "{"
    done = run_cli("merge", "BACKUP", cwd=folder)
    assert "1 definition added" in done.stdout
    assert done.returncode == 0
    assert json.loads(definition.read_bytes()) == whole
    newer = json.dumps(whole | {"format": 2, "checksum": ""})
    definition.write_text(newer)
    for command in (["merge", "BACKUP"], ["run", "plain.toml", *LIMIT]):
        assert "Traceback" not in run_cli(*command, cwd=folder).stderr
        assert definition.read_text() == newer
