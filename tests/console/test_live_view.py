"""The live view's lines against the reference page's transcript."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from ablate.console.live_view import LiveView
from ablate.console.output import Line, Output
from ablate.console.tracker import Tracker
from ablate.design import resolve
from ablate.store.store import Store, TrialState
from ablate.study import load_study
from ablate.util.text import width


@pytest.fixture
def view(tmp_path: Path) -> tuple[LiveView, Tracker]:
    resolved = resolve(
        load_study("group1"), data_root=tmp_path, command="", allow_missing_data=True
    )
    states = {key: TrialState("new") for key in resolved.order}
    tracker = Tracker.begin(resolved, states, Store(tmp_path), frozenset(), 2400.0)
    output = Output(stdout=io.StringIO(), stderr=io.StringIO())
    return LiveView(output, tracker), tracker


def plain(line: Line) -> str:
    return line if isinstance(line, str) else "".join(text for text, _ in line)


def finish(tracker: Tracker, key: str, value: float, speed: float, status: str = "done") -> None:
    tracker.start(key)
    metrics = {"train_loss": 1.0, "top1": value}
    tracker.epoch(key, {"epoch": 20, "metrics": metrics, "seconds": 10, "images": 10 * speed})
    tracker.end(key, status, "")


def test_rows_are_laid_out_as_in_the_reference(view: tuple[LiveView, Tracker]) -> None:
    drawn, tracker = view
    keys = tracker.resolved.tables[0].rows
    for key, value in zip(keys[0].keys, (0.894, 0.898, 0.902), strict=True):
        finish(tracker, key, value, 1412)
    finish(tracker, keys[2].keys[0], 0.894, 2700)
    running = keys[2].keys[1]
    tracker.start(running)
    metrics = {"train_loss": 1.02, "top1": 0.2}
    tracker.epoch(running, {"epoch": 12, "metrics": metrics, "seconds": 10, "images": 27310})
    tracker.step(running, 633, 1000)
    tracker.trials[running].started = time.monotonic() - 50.02
    finish(tracker, keys[4].keys[0], 0.0, 2698, "oom")

    lines = [plain(line).rstrip() for line in drawn.lines(100, 40)]
    assert lines[:6] == [
        "                seeds  epoch                           loss  top-1 %  images/s  left",
        "imagenette",
        "  baseline      ●●●                                             89.8     1,412",
        "  + warmup      ○○○",
        "  + fp16        ●◐○    ━━━━━━━━━━━━━━━╸──────── 13/20  1.02     89.4     2,731  29 s",
        "  + mixup       ○○○",
    ]
    assert lines[6] == "  + zero_gamma  ✗○○".ljust(73) + "2,698"
    assert "4/30 trials · 0:00 · about " in lines[-1]
    assert max(width(line) for line in lines) <= 100
    # at 80 columns the bar shrinks, the columns stay
    narrow = [plain(line).rstrip() for line in drawn.lines(80, 40)]
    assert narrow[4] == "  + fp16        ●◐○    ━━━━━━━━╸───── 13/20  1.02     89.4     2,731  29 s"
    assert max(width(line) for line in narrow) <= 80


def test_a_short_window_folds_what_waits(view: tuple[LiveView, Tracker]) -> None:
    drawn, tracker = view
    woof = tracker.resolved.tables[1].rows
    finish(tracker, woof[0].keys[0], 0.8, 1000)
    tracker.start(woof[3].keys[0])
    for height in range(5, 30):
        lines = [plain(line) for line in drawn.lines(100, height)]
        assert len(lines) < max(height, 8)
        assert any(line.startswith("  + mixup       ◐") for line in lines)
        if height < 16:
            assert any("rows queued" in line for line in lines)
    assert any(line.startswith("  baseline      ●") for line in map(plain, drawn.lines(100, 9)))


def test_time_left_comes_from_the_pace_once_there_is_one(view: tuple[LiveView, Tracker]) -> None:
    _, tracker = view
    assert tracker.seconds_left() == pytest.approx(2400, abs=1)
    for key in tracker.resolved.order[:15]:
        finish(tracker, key, 0.9, 1000)
    tracker.began = time.monotonic() - 300  # half of it took five minutes
    assert tracker.seconds_left() == pytest.approx(300, rel=0.01)
    for key in tracker.resolved.order[15:]:
        finish(tracker, key, 0.9, 1000)
    assert tracker.seconds_left() is None
    assert tracker.fraction() == 1
