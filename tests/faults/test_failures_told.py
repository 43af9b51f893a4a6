"""What a person reads about trials that went wrong: everywhere, harmless, with what to type."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.cli.main import main
from ablate.store import attempt_reader, log_file
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store
from tests.helpers.hostile_tricks import HOSTILE

STUDY = """\
[study]
datasets = ["digits"]
seeds    = 1
stack    = [["warmup"], ["mixup"], ["cosine"], ["label_smoothing"]]

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 16
image_size = 8
"""
FORMATS = ("terminal", "markdown", "html", "latex", "csv", "json")
# row: (status, message), as test_hostile_tricks.py has them from trials
FAILED = {
    "warmup": ("failed", f"trick 'warmup', on_step_end: ValueError: {HOSTILE} (epoch 1, step 1)"),
    "mixup": ("oom", "trick 'mixup', on_step_end: RuntimeError: [enforce] no memory (epoch 1)"),
    "cosine": ("diverged", "the training loss is no longer finite in epoch 1"),
    "label_smoothing": ("failed", "its process ended by signal 9 in epoch 1, in on_step_end of x"),
}


def begun(study: Path) -> Store:
    """A store in which the study's baseline is done and every other row went wrong."""
    from ablate.session.session import open_session
    from ablate.study import load_study

    session = open_session(
        load_study(study), store=Path("ablate-results"), device="cpu", command=""
    )
    store, resolved = session.store, session.resolved
    store.save_study(resolved)
    for key in resolved.order:
        store.register(resolved.trials[key], resolved.labels[key])
        row = resolved.labels[key].split(" · ")[1].removeprefix("+ ")
        with Attempt.begin(store.path, key) as attempt:
            attempt.log(HOSTILE * 3000)
            metrics = {"top1": 0.5, "top5": 0.9, "loss": 1.0, "train_loss": 1.0}
            attempt.record("epoch", epoch=1, metrics=metrics, seconds=1.0, images=40, steps=2)
            attempt.finish(*FAILED.get(row, ("done", "")), examples=40, precision="float32")
    return store


def dangerous(text: str) -> set[str]:
    """Characters that a terminal or an editor obeys."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\t"}


def test_every_failure_is_told_everywhere_and_harms_no_format(
    tmp_path: Path,
    proved: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "study.toml").write_text(STUDY)
    store = begun(tmp_path / "study.toml")

    def told(*arguments: str, code: int = 0) -> str:
        capfd.readouterr()
        assert main(list(arguments)) == code, arguments
        text = "".join(capfd.readouterr())
        assert "Traceback" not in text or arguments[0] == "logs"
        return text

    keys = {
        name: key
        for key in store.keys()  # noqa: SIM118
        for name in FAILED
        if store.label(key).startswith(f"digits · + {name} ")
    }
    assert keys.keys() == FAILED.keys()

    # reports
    looks = 0
    for format_ in FORMATS:
        text = told("report", "study.toml", "--format", format_)
        if format_ == "json":
            [table] = json.loads(text)["tables"]
            text = "\n".join(table["failures"])
        elif format_ == "csv":
            rows = list(csv.DictReader(io.StringIO(text)))
            assert len(rows) == 5
            continue
        else:
            assert not dangerous(text), format_
        for name in FAILED.keys() - {"cosine"}:
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
    for name, (_, said) in FAILED.items():
        text = told("logs", keys[name][:8])
        assert not dangerous(text), name
        assert said.split("\x1b")[0] in text
        assert "epoch 1" in text
        assert text.rstrip().splitlines()[-1].startswith(f"✗ {keys[name][:6]} ")
        document = json.loads(told("logs", keys[name][:8], "--json"))
        assert document["message"] == store.state(keys[name]).message
    shouted = told("logs", keys["warmup"])
    assert shouted.count("\\u001b[31mred") >= 3000
    nobody = told("logs", code=2)
    assert "error: which trial?" in nobody
    assert nobody.count("  ablate logs ") == 3
    assert "no trial starts with 'zzz'" in (unknown := told("logs", "zzz", code=2))
    assert unknown.count("  ablate logs ") == 3

    with Attempt.begin(store.path, keys["mixup"]) as attempt:
        attempt.finish("failed", "something else")
    first = told("logs", keys["mixup"], "--attempt", "1")
    assert "attempt 1 of 2 · out of memory" in first
    assert "attempt 2 of 2" in told("logs", keys["mixup"])
    assert "has no attempt 3" in told("logs", keys["mixup"], "--attempt", "3", code=2)
    assert "it has only one" in told("logs", keys["cosine"], "--attempt", "2", code=2)
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
    from ablate.cli.commands import logs

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
    ended = attempt_reader.conclude(store.path, key, "failed", "its process ended by code 1", "")
    assert ended == ("failed", "its process ended by code 1")
    assert (store.state(key).status, store.state(key).message) == ended
    [attempt] = attempt_reader.attempts(store.path, key)
    assert (attempt / log_file.NAME).read_text().endswith("failed: its process ended by code 1\n")
    assert attempt_reader.conclude(store.path, key, "oom", "again", attempt.name) == ended
