"""`run`, `report`, `status`, `logs`: real trainings of a few seconds, from the outside."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from tests.helpers import forked
from tests.helpers.cli_process import ABLATE, STUDY, run_cli, run_here
from tests.helpers.environment import environment
from tests.helpers.pty_process import on_terminal

Trained = tuple[Path, str, str]
AGAIN = ("run", "study.toml", "--limit", "40")


def test_first_run_logs_each_epoch_and_prints_the_table(trained: Trained) -> None:
    _, table, log = trained
    lines = log.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d study: 6 trials, 6 to train, on \d+ CPU cores?", lines[0])
    epochs = [line for line in lines if " epoch " in line]
    pattern = (
        r"\d\d:\d\d:\d\d \[[1-6]/6\] digits (baseline|\+ warmup|\+ mixup) seed [01] "
        r"epoch 1/1 loss \d\.\d{3} top-1 \d+\.\d images/s \d+"
    )
    assert len(epochs) == 6
    assert all(re.fullmatch(pattern, line) for line in epochs)
    assert "6 of 6 trials done in" in lines[-1]
    assert "\r" not in log
    assert "\x1b" not in log + table
    assert "Next" not in log
    assert table.splitlines()[0].startswith("digits")
    assert "+ mixup" in table


def test_second_run_trains_nothing_and_imports_no_torch(store: Path, trained: Trained) -> None:
    code = "import sys; from ablate.cli.main import main; c = main(); print(*[m for m in ('torch', "
    code += "'torchvision') if m in sys.modules], file=sys.stderr); sys.exit(c)"
    began = _processor_time_of_children()
    done = subprocess.run(
        [ABLATE[0], "-c", code, *AGAIN], cwd=store, capture_output=True, text=True,
        env=environment(),
    )  # fmt: skip
    seconds = _processor_time_of_children() - began
    assert done.returncode == 0
    assert done.stdout == trained[1]
    first, modules = done.stderr.splitlines()
    assert re.fullmatch(r"study: all 6 trials done, nothing to train \(\d\.\d s\)", first)
    assert modules == ""
    assert seconds < 3  # a second; importing torch takes five


def _processor_time_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_report_prints_what_run_printed(store: Path, trained: Trained) -> None:
    assert run_cli("report", cwd=store).stdout == trained[1]
    assert run_cli("report", "study", cwd=store).stdout == trained[1]
    assert run_cli("report", "study.toml", "--limit", "40", cwd=store).stdout == trained[1]


def test_report_needs_neither_the_file_nor_plugins(store: Path, trained: Trained) -> None:
    (store / "study.toml").unlink()
    assert run_cli("report", cwd=store).stdout == trained[1]


def test_report_of_another_selection_says_what_there_is(store: Path) -> None:
    done = run_cli("report", "study.toml", cwd=store)
    assert done.returncode == 2
    assert done.stderr.startswith("error: none of study's 6 trials is done\n")
    assert "ablate run study.toml --limit 40" in done.stderr
    (store / "empty").mkdir()
    (store / "empty" / "FORMAT").write_bytes((store / "ablate-results" / "FORMAT").read_bytes())
    done = run_cli("report", "study.toml", "--store", "empty", cwd=store)
    assert done.stderr.endswith("\n  ablate run study.toml --store empty\n")


@pytest.mark.parametrize(
    ("place", "reason"), [("no/such/r.md", "No such file or directory"), (".", "Is a directory")]
)
def test_a_report_that_cannot_be_written_is_one_line(store: Path, place: str, reason: str) -> None:
    done = run_cli("report", "-o", place, cwd=store)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: cannot write {place}: {reason}\n  write it somewhere else\n",
    )


def test_a_report_replaces_a_report_and_nothing_else(store: Path) -> None:
    (store / "mine.py").write_text("x = 1")
    inside = [f"ablate-results/{name}" for name in ("FORMAT", "results.duckdb", "trials/x.html")]
    for place in ("study.toml", "mine.py", *inside):
        before = Path(store, place).read_bytes() if Path(store, place).exists() else None
        done = run_cli("report", "--format", "csv", "-o", place, cwd=store)
        assert (done.returncode, "is no report" in done.stderr) == (2, True), place
        assert (Path(store, place).read_bytes() if before else None) == before
    for place in ("r.csv", "r.csv", "ablate-results/r.csv"):
        assert run_cli("report", "--format", "csv", "-o", place, cwd=store).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_behind_stdout_is_one_line(store: Path) -> None:
    with open("/dev/full", "w") as full:
        done = forked.run(
            [*ABLATE, "report"], cwd=store, env=environment(), stdout=full,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        2,
        "error: no space left to write the output\n  free some space and run it again\n",
    )


def test_report_formats(store: Path) -> None:
    done = run_cli("report", "--format", "markdown", "-o", "r.md", cwd=store)
    assert (done.stdout, done.stderr) == ("", "Wrote r.md.\n")
    assert (store / "r.md").read_text().startswith("### study on digits\n")
    done = run_cli("report", "-o", "r.html", cwd=store)
    assert (done.stdout, done.stderr) == ("", "Wrote r.html.\n")
    page = (store / "r.html").read_text()
    assert page.startswith("<!DOCTYPE html>\n")
    assert 'id="numbers"' in page
    document = json.loads(run_cli("report", "--json", cwd=store).stdout)
    (table,) = document["tables"]
    assert [row["row"] for row in table["rows"]] == ["baseline", "+ warmup", "+ mixup"]
    assert all(len(row["trials"]) == 2 for row in table["rows"])
    csv = run_cli("report", "--format", "csv", cwd=store).stdout.splitlines()
    assert len(csv) == 1 + 3 + 1
    wrong = run_cli("report", "--format", "html5", cwd=store)
    assert wrong.returncode == 2
    assert "unknown format 'html5'; did you mean 'html'?" in wrong.stderr
    wrong = run_cli("report", "--format", "pdf", cwd=store)
    assert "known: terminal, markdown, latex, html, csv, json, parquet" in wrong.stderr


def test_status_and_logs(store: Path) -> None:
    head, line = run_cli("status", cwd=store).stdout.splitlines()
    assert head.startswith("study  done  running  failed  left  now or last")
    assert "ablate-results, " in head
    assert re.match(r"study  6/6  +0 +0 +✓ last trial done \d{4}-\d\d-\d\d \d\d:\d\d$", line)
    log = run_cli("logs", "study:mixup/digits/1", cwd=store)
    assert "digits · + mixup · seed 1 · attempt 1 of 1 · done after" in log.stderr
    assert "warmup(epochs=0.5) mixup(alpha=0.2)" in log.stdout
    path = Path(run_cli("logs", "study:mixup/digits/1", "--path", cwd=store).stdout.strip())
    assert (store / path).read_text().splitlines() == log.stdout.splitlines()
    several = run_cli("logs", "study:mixup", cwd=store)
    assert several.returncode == 2
    assert "'study:mixup' is 2 trials" in several.stderr


def test_reindex_counts_what_the_spool_has(store: Path) -> None:
    done = run_cli("reindex", "--json", cwd=store)
    counts = json.loads(done.stdout)
    assert (counts["trial"], counts["attempt"], counts["epoch"]) == (6, 6, 6)


def test_events_of_a_run_that_trains_what_is_missing_and_what_it_is_told_to(store: Path) -> None:
    done = run_here(*AGAIN, "--seeds", "3", "--retrain", "mixup", "--json", cwd=store)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(event["schema_version"] == 1 for event in events)
    assert all(re.fullmatch(r"[\d-]+T[\d:.]+Z", event["time"]) for event in events)
    kinds = [event["event"] for event in events]
    assert kinds[0] == "study_start"
    assert kinds[-1] == "study_end"
    trained = sorted(event["label"] for event in events if event["event"] == "trial_end")
    assert trained == [
        "digits · + mixup · seed 0",
        "digits · + mixup · seed 1",
        "digits · + mixup · seed 2",
        "digits · + warmup · seed 2",
        "digits · baseline · seed 2",
    ]
    assert kinds.count("trial_start") == kinds.count("epoch") == 5
    end = events[-1]
    assert (end["done"], end["failed"], end["signal"]) == (9, 0, None)
    assert [row["n"] for row in end["tables"][0]["rows"]] == [3, 3, 3]
    assert done.stderr == ""


def test_retraining_an_unknown_trick_is_refused(store: Path) -> None:
    unknown = run_cli(*AGAIN, "--retrain", "mixupp", cwd=store)
    assert unknown.returncode == 2
    assert "did you mean 'mixup'?" in unknown.stderr
    unset = run_cli(*AGAIN, "--retrain", "", cwd=store)  # --retrain "$TRICK"
    assert unset.returncode == 2
    assert "--retrain names no trick" in unset.stderr


BAD = '''"""Bad: raises on purpose."""
from ablate import Trick, hookimpl


class Bad(Trick):
    @hookimpl(wrapper=True)
    def encode_targets(self, labels, num_classes):
        yield
        raise RuntimeError("on purpose \\x1b[31m")
'''


def test_the_live_view_tells_failures_and_ends_with_the_table(store: Path) -> None:
    (store / "bad.py").write_text(BAD)
    text = STUDY.replace('"mixup"]', '["bad"], "mixup"]\nplugins  = ["./bad.py"]')
    (store / "failing.toml").write_text(text.replace("= 2", "= 1", 1))
    shown, code = on_terminal("run", "failing.toml", "--limit", "40", cwd=store, columns=80)
    assert code == 1
    assert "failing: 4 trials, 3 shared, 1 to train · about " in shown
    # drawn
    assert "            seeds  epoch               loss  top-1 %  images/s  left" in shown
    assert re.search(r"^  baseline  ● ", shown, re.M)
    assert re.search(r"^  \+ bad     ✗ ", shown, re.M)
    assert re.search(r"[━╸─]{30,}  \d/4 trials · \d+:\d\d", shown)
    # a failure stands above the table, at once, and once
    told = [line for line in shown.splitlines() if line.startswith("✗ digits · + bad · seed 0: ")]
    assert len(told) == 1
    assert "trick 'bad', encode_targets: RuntimeError: on purpose \\u001b[31m" in told[0]
    # nothing that is not earned while it runs
    live, after = shown.rsplit("/4 trials ·", 1)
    for word in ("gain", "unresolved", "inside ±", "Δ row"):
        assert word not in live
    assert "One seed: no interval and no verdict." in after
    assert "3 of 4 trials done in" in after
    following = after[after.index("Next  ") :].splitlines()
    assert 1 <= len(following) <= 4
    assert "train the failed one" in following[0]
    assert "  ablate run failing.toml --limit 40" in following[0]
    status = run_cli("status", cwd=store).stdout
    assert re.search(r"^failing +3/4 +0 +1 .* \+ bad · seed 0: trick 'bad'", status, re.M)


@pytest.mark.long
def test_an_interrupted_run_continues(tmp_path: Path) -> None:
    long = STUDY.replace("epochs     = 1", "epochs     = 3000").replace("seeds    = 2", "seeds = 1")
    (tmp_path / "long.toml").write_text(long)
    _, rest = _interrupted(tmp_path, signal.SIGINT, "epoch    3/3000")
    assert "Stopping after this step; the running epoch is repeated next time." in rest
    said = rest.splitlines()[-1]
    assert re.match(r"Interrupted: 0 of 3 trials done, digits · .* kept up to epoch \d+", said)
    states = json.loads(run_cli("status", "--json", cwd=tmp_path).stdout)["studies"][0]["statuses"]
    assert "interrupted" in states.values()

    before, _ = _interrupted(tmp_path, signal.SIGTERM, "seed 0 continues at")
    assert re.search(r"long: 3 trials, (1 continues at epoch \d+|\d continue), \d to train", before)


def _interrupted(folder: Path, number: signal.Signals, when: str) -> tuple[str, str]:
    """(stderr until it says `when`, the rest after the signal)."""
    process = forked.Forked(
        [*ABLATE, "run", "long.toml", "--limit", "40"], cwd=folder, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    assert process.stderr
    seen = ""
    for line in process.stderr:
        seen += line
        if when in line:
            break
    process.send_signal(number)
    out, rest = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert out == ""
    assert not _workers(process.pid)
    return seen, rest


def _workers(parent: int) -> list[str]:
    """Processes that the run left behind."""
    found = []
    for name in os.listdir("/proc") if Path("/proc").exists() else ():
        if name.isdecimal():
            try:
                fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                line = Path("/proc", name, "cmdline").read_text()
            except OSError:
                continue
            if fields[1] == str(parent):
                found.append(line)
    return found


def test_a_name_belongs_to_one_file(store: Path) -> None:
    other = store / "other"
    other.mkdir()
    (other / "study.toml").write_text(STUDY.replace("seeds    = 2", "seeds    = 1"))
    done = run_cli("run", "other/study.toml", "--limit", "40", cwd=store)
    assert done.returncode == 2
    assert done.stderr.startswith("other/study.toml: the name study is taken: ")
    assert '[study] name = "another"' in done.stderr


def test_missing_data_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(STUDY.replace('"digits"', '"imagewoof"'))
    env = {"ABLATE_DATA": str(tmp_path / "none"), "HOME": str(tmp_path)}
    done = run_cli("run", "s.toml", cwd=tmp_path, env=env)
    assert done.returncode == 2
    first, hint = done.stderr.splitlines()
    assert re.match(r".*imagewoof \(160 px\) is not in .*none; s needs it$", first)
    assert hint.startswith("  ablate datasets fetch imagewoof --size 160")
