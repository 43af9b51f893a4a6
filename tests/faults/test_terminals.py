"""Ctrl-Z, fg, bg and a terminal that is gone, with a real shell's job control."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.environment import ROOT
from tests.helpers.fault_runs import Cli, Process, Undisturbed, until, write_study
from tests.helpers.fault_table import Proved
from tests.helpers.job_shell import CTRL_Z, Shell, shell, state
from tests.helpers.killing import alive, parent, training
from tests.helpers.spool_rows import attempts, check_complete

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc"),
    pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash"),
    pytest.mark.timeout(600),
]


def _command(study: Path, store: Path, *more: str) -> str:
    given = ("run", str(study), "--limit", "32", "--device", "cpu", "--store", str(store))
    return " ".join([sys.executable, "-m", "ablate", *given, *more])


def _lines(store: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in store.glob("trials/*/2*/metrics.jsonl"))


def _train(on: Shell, store: Path, number: int) -> dict[int, Path]:
    """Wait until so many trials train and have recorded an epoch."""
    on.until(lambda: len(training(store)) == number, f"{number} trials")
    before = _lines(store)
    on.until(lambda: _lines(store) >= before + 2 * number, "epochs")
    return training(store)


def _goes_on(on: Shell, store: Path) -> None:
    before = _lines(store)
    on.until(lambda: _lines(store) >= before + 2, "further epochs")


def _taken_by_another_machine(trial: Path) -> Path:
    """As that does with a claim whose heartbeat it has not seen for ten minutes."""
    claim = trial / "claim"
    lease = json.loads((claim / "lease.json").read_bytes())
    lease.pop("checksum")
    claim.rename(trial / f".claim-{lease['token']}")
    claim.mkdir()
    lease |= {"host": "elsewhere", "machine": "another", "token": "0123456789abcdef", "pid": 77}
    (claim / "lease.json").write_text(json.dumps(lease))
    return claim / "lease.json"


def test_ctrl_z_stops_the_training_too_and_fg_goes_on(tmp_path: Path, proved: Proved) -> None:
    study, store = write_study(tmp_path, 1), tmp_path / "store"
    with shell(tmp_path, PYTHONPATH=str(ROOT)) as on:
        on.type(_command(study, store, "--set", "recipe.epochs=3000") + "\n")
        trials = _train(on, store, 2)
        worker = parent(next(iter(trials)))
        run = parent(worker)
        everybody = {*trials, worker, run}
        on.until(lambda: not on.cursor_is_shown, "the live view")
        stops, at = 0, 0

        def stop() -> None:
            nonlocal stops, at
            on.type(CTRL_Z)
            at = on.says("Stopped", at)
            on.until(lambda: {state(pid) for pid in everybody} == {"T"}, "all of them stopped", 5)
            assert on.cursor_is_shown
            stops += 1

        stop()
        before = _lines(store)
        time.sleep(0.5)
        assert _lines(store) == before
        on.type("fg\n")
        _goes_on(on, store)
        on.until(lambda: not on.cursor_is_shown, "the live view again")
        stop()
        on.type("bg\n")
        _goes_on(on, store)
        drawn = on.text.count("trials  ")
        time.sleep(0.6)
        assert on.cursor_is_shown
        assert on.text.count("trials  ") == drawn, "drawn over the shell's lines"
        on.type("fg\n")
        on.until(lambda: not on.cursor_is_shown, "the live view in the foreground")
        os.kill(run, signal.SIGCONT)  # of a run that goes on
        _goes_on(on, store)

        stop()
        (pid, attempt), *_ = trials.items()
        lease = _taken_by_another_machine(attempt.parent)
        theirs = lease.read_bytes(), lease.stat().st_mtime_ns
        on.type("fg\n")
        began = time.monotonic()
        at = on.says("taken over by ablate run (pid 77 on elsewhere", at)
        on.until(lambda: not alive(pid), "the end of what is another's")
        seconds = time.monotonic() - began
        assert seconds < 10
        assert not (attempt / "done.json").exists()
        everybody.remove(pid)
        _goes_on(on, store)
        assert (lease.read_bytes(), lease.stat().st_mtime_ns) == theirs

        stop()
        on.hang_up()
        until(lambda: not any(map(alive, everybody)), "the end of all", 60)
        for each in trials.values():
            assert "interrupted after" in (each / "log.txt").read_text()
            assert [status for _, status in attempts(store, each.parent.name)] == [""]
        assert list(store.glob("trials/*/claim/lease.json")) == [lease]
    how = "in bash, then `fg`, `bg`, a claim taken over meanwhile, the terminal closed"
    lost = "nothing; what another has taken is stopped at once"
    proved("signals", "Ctrl-Z, with the processes that train", how, stops, lost)


def test_a_run_in_the_background_neither_stops_nor_draws_and_outlives_its_terminal(
    tmp_path: Path, proved: Proved
) -> None:
    study, store = write_study(tmp_path, 1), tmp_path / "store"
    with shell(tmp_path, PYTHONPATH=str(ROOT)) as on:
        on.type("trap '' HUP; stty tostop\n")
        on.type(_command(study, store, "--set", "recipe.epochs=30") + " &\n")
        trials = _train(on, store, 2)
        worker = parent(next(iter(trials)))
        run = parent(worker)
        assert state(run) != "T"
        assert on.cursor_is_shown
        assert "trials  " not in on.text, "drawn over the shell's lines"
        on.type("fg\n")
        on.until(lambda: not on.cursor_is_shown, "the live view in the foreground")
        on.hang_up()
        before = _lines(store)
        until(lambda: _lines(store) > before + 2, "further epochs", 60)
        assert alive(run)
        looked = 0
        for pid in (run, worker, *trials):
            try:
                said = Path(f"/proc/{pid}/status").read_text()
            except OSError:  # a trial that has ended meanwhile
                continue
            assert int(said.partition("SigIgn:")[2].split()[0], 16) >> (signal.SIGHUP - 1) & 1
            looked += 1
        assert looked >= 2
        until(lambda: not alive(run), "the end of the run", 120)
    for each in trials.values():
        assert [status for _, status in attempts(store, each.parent.name)] == ["done"]
    how = "with `&` and `stty tostop`, then `fg`; SIGHUP ignored, the terminal closed"
    proved("signals", "a run in the background", how, 1, "nothing: it trains to the end")


def test_sighup_stops_as_sigterm_does_however_often_it_comes(
    cli: Cli, undisturbed: Callable[[int], Undisturbed], proved: Proved
) -> None:
    study, whole = undisturbed(2)
    store = cli.folder / "hang-ups"
    hung_up = 0

    def stopped(*numbers: int, more: tuple[str, ...] = ()) -> Process:
        nonlocal hung_up
        run = cli.run(study, store, *more)
        until(lambda: run.poll() is not None or len(training(store)) == 2, "two trials")
        before = training(store)
        for number in numbers:
            run.kill(number)
        assert run.wait() == 128 + numbers[0], run.text()
        cli.wait_until_none_is_left()
        hung_up += numbers.count(signal.SIGHUP)
        for attempt in before.values():
            assert "killed" not in run.text()
            assert "interrupted after" in (attempt / "log.txt").read_text()
        assert "Traceback" not in run.text()
        return run

    # The kernel and the shell both send it, and whoever ends the session SIGTERM.
    run = stopped(signal.SIGHUP, signal.SIGHUP, signal.SIGTERM)
    assert "Interrupted: " in run.text()
    run = stopped(signal.SIGHUP, more=("--json",))
    events = [json.loads(line) for line in run.text().splitlines()]
    assert [e["signal"] for e in events if e["event"] == "stopping"] == ["SIGHUP"]
    assert events[-1]["event"] == "study_end"
    last = cli.run(study, store)
    assert last.wait() == 0, last.text()
    assert check_complete(store, whole) == 4
    how = "sent to `ablate run`, which ends with 129; twice, and with SIGTERM"
    proved("signals", "SIGHUP in an epoch", how, hung_up, "the running epoch; then as undisturbed")
