"""`ablate status --watch` beside attempts written meanwhile, on pipes and on a terminal."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ablate.cli.commands.status import Watch
from ablate.console.output import Line, Output
from ablate.core.resolved_study import ResolvedStudy
from ablate.store import lease
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store
from tests.helpers.cli_process import ABLATE, Cli
from tests.helpers.environment import environment
from tests.helpers.forked import Forked
from tests.helpers.pty_process import on_terminal
from tests.helpers.small_stores import make_study, new_store

VALUES = {"baseline": [0.80, 0.81], "mixup": [0.85, None]}


class Running:
    """A study of which the last trial runs, in this process's name."""

    def __init__(self, folder: Path) -> None:
        self.store = new_store(folder / "ablate-results")
        self.study: ResolvedStudy = make_study(self.store, VALUES)
        self.key = self.study.order[-1]
        held = lease.claim(self.store.path, self.key, "group")
        assert held is not None
        self.held = held
        self.attempt = Attempt.begin(self.store.path, self.key)

    def epoch(self, number: int) -> None:
        metrics = {"top1": 0.5, "loss": 1.0}
        self.attempt.record("epoch", epoch=number, metrics=metrics, seconds=1.0, images=40)

    def end(self) -> None:
        self.attempt.finish("done", examples=20)
        self.held.release()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    made.attempt.close()
    made.held.release()


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`watching("--json")`: a watcher in a process of its own."""
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = Forked(
            [*ABLATE, "status", "--watch", "0.1", *arguments],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_line_for_each_change_until_all_is_done(
    running: Running, watching: Callable[..., subprocess.Popen[str]]
) -> None:
    before = contents(running.store.path)
    process = watching()
    assert process.stdout is not None
    first = process.stdout.readline()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d group: 3/4 done, 1 running, .*digits · \+ mixup · seed 1 · epoch 1/3\n",
        first,
    )
    running.epoch(1)
    assert process.stdout.readline().endswith("seed 1 · epoch 2/3\n")
    running.epoch(2)
    assert process.stdout.readline().endswith("seed 1 · epoch 3/3\n")
    running.epoch(3)
    after = contents(running.store.path)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert changed == {str(running.attempt.path / "metrics.jsonl")}, "it writes nothing"
    running.end()
    rest, errors = process.communicate(timeout=30)
    assert "group: 4/4 done, 0 running, ✓ last trial done" in rest.splitlines()[-1]
    assert (errors, process.returncode) == ("", 0)


def test_the_same_as_events(
    running: Running, watching: Callable[..., subprocess.Popen[str]]
) -> None:
    process = watching("--json")
    assert process.stdout is not None
    event = json.loads(process.stdout.readline())
    assert (event["event"], event["study"], event["done"]) == ("status", "group", 3)
    assert event["active"] == [
        {"key": running.key, "label": "digits · + mixup · seed 1", "epoch": 0, "epochs": 3}
    ]
    running.end()
    rest, _ = process.communicate(timeout=30)
    assert json.loads(rest.splitlines()[-1])["done"] == 4
    assert process.returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_watching(
    running: Running,
    watching: Callable[..., subprocess.Popen[str]],
    number: int,
    code: int,
) -> None:
    process = watching()
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert (errors, process.returncode) == ("", code)
    assert running.held.held(), "the run goes on"


def test_a_store_that_is_away_for_a_moment(
    running: Running, watching: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = watching()
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    (tmp_path / "ablate-results").rename(tmp_path / "moved")
    assert process.stderr.readline()[9:] == "no store at ablate-results: waiting\n"
    (tmp_path / "ablate-results").mkdir()  # being copied: there, and not a store yet
    assert process.stderr.readline()[9:] == "ablate-results is not an ablate store: waiting\n"
    (tmp_path / "ablate-results").rmdir()
    (tmp_path / "moved").rename(tmp_path / "ablate-results")
    running.epoch(1)
    assert process.stdout.readline().endswith("epoch 2/3\n")
    assert process.poll() is None


def test_it_may_be_started_before_there_is_a_store(
    watching: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = watching()
    assert process.stderr is not None
    assert process.stderr.readline()[9:] == "no store at ablate-results: waiting\n"
    made = new_store(tmp_path / "being-made")
    make_study(made, {"baseline": [0.9]})
    shutil.move(made.path, tmp_path / "ablate-results")
    out, _ = process.communicate(timeout=30)
    assert "group: 1/1 done" in out
    assert process.returncode == 0


def test_on_a_terminal_it_is_redrawn_in_place(running: Running, tmp_path: Path) -> None:
    steps = {
        " 0/3": lambda: running.epoch(1),
        "━━━━━━━━╸─────────────── 1/3": lambda: running.epoch(2),
        "━━━━━━━━━━━━━━━━╸─────── 2/3": running.end,
    }

    def train(text: str) -> None:
        """Goes on when what was written is drawn."""
        for drawn in [drawn for drawn in steps if drawn in text]:
            steps.pop(drawn)()

    raw, code = on_terminal("status", "--watch", "0.1", cwd=tmp_path, color=True, react=train)
    assert not steps
    assert code == 0
    assert "\x1b[?25l" in raw, "the cursor is hidden"
    assert raw.rindex("\x1b[?25h") > raw.rindex("\x1b[?25l"), "and comes back"
    assert "\x1b[1A" in raw, "it goes up again"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw)
    assert "  ◐ digits · + mixup · seed 1  ━" in plain
    assert " · every 0.1 s · Ctrl-C ends the watching, not the run" in plain
    last = plain.rstrip().splitlines()[-2:]
    assert last[0].startswith("study  done  running  failed  left  now or last")
    assert last[1].startswith("group  4/4         0       0        ✓ last trial done")


@pytest.mark.parametrize("columns", [40, 100])
def test_it_never_draws_more_than_the_window_has(
    running: Running, tmp_path: Path, columns: int
) -> None:
    store = running.store
    for number in range(12):
        make_study(store, {"baseline": [0.8]}, name=f"old{number}")
    watch = Watch(store.path, Output(), 2.0)
    watch._look()

    def plain(line: Line) -> str:
        return line if isinstance(line, str) else "".join(text for text, _ in line)

    for height in range(6, 30):
        lines = [plain(line) for line in watch.lines(columns, height)]
        assert len(lines) < height
        assert any(line.startswith("group ") for line in lines), "what runs is shown first"
        if height < 16:
            hidden = next(line for line in lines if "more studies" in line)
            assert int(hidden.split()[1]) + len(lines) - 3 == 13
    assert any(line.startswith("  ◐ digits · + mixup") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["5"], "error: SECONDS is for --watch"),
        (["--watch", "0"], "error: --watch 0: expected seconds, from 0.1 to 86400"),
        (["--watch", "nan"], "error: --watch nan: expected seconds, from 0.1 to 86400"),
        (["--watch", "often"], "error: invalid value for 'SECONDS'"),
        (["--watch", "--store", "file"], "error: file is a file, not a store"),
        (["--watch", "--store", "newer"], "error: the store newer has format 99"),
    ],
)
def test_refusals(cli: Cli, tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "FORMAT").write_text('{"format": 99}')
    done = cli("status", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(said)


def test_a_finished_store_needs_no_watching(cli: Cli, tmp_path: Path) -> None:
    make_study(Store.open(tmp_path / "ablate-results", create=True), {"baseline": [0.8]})
    done = cli("status", "--watch")
    assert (done.returncode, done.stdout[9:24]) == (0, "group: 1/1 done")
