"""What a person reads about trials that went wrong: everywhere, harmless, with what to type."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate import log_file, spool
from ablate.attempt import Attempt
from ablate.cli import main
from ablate.store import Store

STUDY = """\
[study]
datasets = ["digits"]
seeds    = 1
stack    = [["shouts"], ["greedy"], ["bursts"], ["killed"]]
plugins  = ["./hostile_tricks.py"]

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 16
image_size = 8
"""
FORMATS = ("terminal", "markdown", "html", "latex", "csv", "json")
FAILED = {
    "shouts": "trick 'shouts', on_step_end: ValueError: ",
    "greedy": "out of memory; trick 'greedy', on_step_end: RuntimeError: ",
    "bursts": "diverged; the training loss is no longer finite in epoch 1",
    "killed": "its process ended by signal 9 (killed; out of memory may be why) in epoch 1, step 1",
}


def dangerous(text: str) -> set[str]:
    """Characters that a terminal or an editor obeys."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\t"}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the tricks read Linux's /proc")
def test_every_failure_is_told_everywhere_and_harms_no_format(
    tmp_path: Path,
    proved: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    source = Path(__file__).parent / "hostile_tricks.py"
    (tmp_path / "hostile_tricks.py").write_bytes(source.read_bytes())
    (tmp_path / "study.toml").write_text(STUDY)

    def told(*arguments: str, code: int = 0) -> str:
        capfd.readouterr()
        assert main(list(arguments)) == code, arguments
        text = "".join(capfd.readouterr())
        assert "Traceback" not in text or arguments[0] == "logs"
        return text

    ran = told("run", "study.toml", "--limit", "40", code=1)
    assert not dangerous(ran)
    assert "1 of 5 trials done" in ran
    store = Store.open(Path("ablate-results"), create=False)
    keys = {
        name: key
        for key in store.keys()  # noqa: SIM118
        for name in FAILED
        if store.label(key).startswith(f"digits · + {name} ")
    }
    assert keys.keys() == FAILED.keys()
    for name, said in FAILED.items():
        assert f"✗ {keys[name][:6]} digits · + {name} · seed 0: {said}" in ran

    # reports
    looks = 0
    for format_ in FORMATS:
        text = told("report", "study.toml", "--limit", "40", "--format", format_)
        if format_ == "json":
            [table] = json.loads(text)["tables"]
            text = "\n".join(table["failures"])
        elif format_ == "csv":
            rows = list(csv.DictReader(io.StringIO(text)))
            assert len(rows) == 5
            continue
        else:
            assert not dangerous(text), format_
        for name in FAILED.keys() - {"bursts"}:
            assert f"ablate logs {keys[name][:6]}" in text, (format_, name)
        hooks = text.replace("\\_\\allowbreak{}", "_").replace("\\_", "_").count("on_step_end")
        assert hooks >= 3, format_
        assert "diverged" in text or format_ == "json"
        if format_ in ("html", "markdown"):
            assert "<b>&amp;</b>" not in text
        if format_ == "latex":
            assert "\\textbf{x}" not in text
        looks += 1
    now = json.loads(told("status", "--json"))["studies"][0]
    assert {one["key"] for one in now["failures"]} == set(keys.values())
    assert all(one["message"] for one in now["failures"])
    assert "✗ " in told("status")

    # logs
    for name, said in FAILED.items():
        text = told("logs", keys[name][:8])
        assert not dangerous(text), name
        assert said.split("(")[0] in text
        assert "epoch 1" in text
        assert text.rstrip().splitlines()[-1].startswith(f"✗ {keys[name][:6]} ")
        document = json.loads(told("logs", keys[name][:8], "--json"))
        assert document["message"] == store.state(keys[name]).message
    shouted = told("logs", keys["shouts"])
    assert shouted.count("\\u001b[31mred") > 3000
    nobody = told("logs", code=2)
    assert "error: which trial?" in nobody
    assert nobody.count("  ablate logs ") == 3
    assert "no trial starts with 'zzz'" in (unknown := told("logs", "zzz", code=2))
    assert unknown.count("  ablate logs ") == 3

    with Attempt.begin(store.path, keys["greedy"]) as attempt:
        attempt.finish("failed", "something else")
    first = told("logs", keys["greedy"], "--attempt", "1")
    assert "attempt 1 of 2 · out of memory after" in first
    assert "attempt 2 of 2" in told("logs", keys["greedy"])
    assert "has no attempt 3" in told("logs", keys["greedy"], "--attempt", "3", code=2)
    assert "it has only one" in told("logs", keys["bursts"], "--attempt", "2", code=2)
    proved("tricks", "a message in somebody else's markup",
           "colours, text direction, HTML, LaTeX, Markdown, a bell, 1 MB; in the terminal, in logs "
           "and in every format of a report",
           looks + 2 * len(FAILED), "nothing: shown, never obeyed")  # fmt: skip


def test_a_log_is_bounded_and_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(tmp_path / "store", create=True)
    key = "ab" * 32
    with Attempt.begin(store.path, key) as attempt:
        log = attempt.path / log_file.NAME
        log.write_bytes(b"first\n" + b"\xff\x1b[2Jmiddle\n" * 100_000 + b"last")
        attempt.finish("failed", "as said")
    places = ["--store", str(store.path)]
    from ablate.cli import logs

    monkeypatch.setattr(logs, "_BLOCK", 1000)
    assert main(["logs", "abab", *places]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("first", "last", 100_002)
    assert lines[1] == "�\\u001b[2Jmiddle"
    assert log_file.bound(attempt.path.parent, most=10_000, head=5_000, tail=1_000)
    assert not log_file.bound(attempt.path.parent, most=10_000)
    text = log.read_bytes()
    assert text.startswith(b"first\n")
    assert text.endswith(b"last")
    assert b"[ablate: 1 MB left out here; a log keeps 0 MB]" in text
    assert len(text) < 6_200


def test_a_process_that_died_before_its_first_line_leaves_an_attempt(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    key = "cd" * 32
    ended = spool.conclude(store.path, key, "failed", "its process ended by code 1", "")
    assert ended == ("failed", "its process ended by code 1")
    assert (store.state(key).status, store.state(key).message) == ended
    [attempt] = spool.attempts(store.path, key)
    assert (attempt / log_file.NAME).read_text().endswith("failed: its process ended by code 1\n")
    assert spool.conclude(store.path, key, "oom", "again", attempt.name) == ended
