"""Every option of every command with what nobody should type: refused in a line, nothing made."""

from __future__ import annotations

import os
import re
import shutil
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer

import ablate.util.resources
from ablate.cli.lazy import COMMANDS, register
from ablate.design import resolve
from ablate.store.store import Store
from ablate.study import load_study
from tests.helpers import small_stores
from tests.helpers.cli_process import STUDY
from tests.helpers.environment import forget_ours
from tests.helpers.hostile_cases import Case, cases, make_places, sample, snapshot
from tests.helpers.in_process import REACHED, Ended, Hang, call, stop_before_training

# What a message without a second line must have in it: what would be right.
NEXT = ("; known: ", "; did you mean", "must be", "expected", "write ", "a finite number")

# One of several problems, a line each: where, which key, what; or which `--set`, what.
PROBLEM = re.compile(r".+: [a-z_]+(\.\w+|\[\d+\])*: |--set .+: ")
LOOKS = re.compile(r"/(\.looks\.lock|looks(/.*)?)$")
LOGGED = re.compile(r"\d\d:\d\d:\d\d ")  # how far it was when it was refused


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a study, a store that has all of it, another store and odd files."""
    forget_ours(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(work)
    (work / "study.toml").write_text(STUDY)
    resolved = resolve(load_study("study.toml"), data_root=None, command="ablate run study.toml")
    for name in ("ablate-results", "other"):
        store = Store.open(Path(name), create=True)
        for number, key in enumerate(resolved.order):
            label = resolved.labels[key]
            small_stores.train(store, resolved.trials[key], 0.5 + number / 100, label=label)
        store.save_study(resolved)
    make_places(work)
    return work


def wrong(case: Case, ended: Ended) -> str:
    """What is wrong with how it ended; "" if nothing is."""
    if ended.code not in (0, 1, 2, REACHED):
        return f"exit code {ended.code}"
    if "Traceback" in ended.err or "bug:" in ended.err:
        return "a traceback"
    if any("\x1b" in text or "\u202e" in text or "\x07" in text for text in ended[1:]):
        return "a character that does something"
    if ended.code != 2:
        return ""
    # What `check` finds in studies is its result; what is wrong with its options is not.
    told = (ended.out if case.words[:1] == ("check",) else "") or ended.err
    lines = told.splitlines()
    lines = [line for line in lines if not LOGGED.match(line)]
    heads = [line for line in lines if not line.startswith(("  ", "warning: "))]
    if not heads:
        return "nothing is said"
    if max(map(len, lines)) > 1100:
        return "a line of over 1,100 characters"
    if case.words[:1] == ("check",):
        return ""
    if len(heads) > 1 and not all(PROBLEM.match(head) for head in heads):
        return f"{len(heads)} lines"
    if len(lines) == len(heads) and not any(words in told for words in NEXT):
        return "no next step"
    return ""


def allowed(case: Case, ended: Ended, changed: set[str]) -> bool:
    """Whether the command may have written what it wrote: the result, its store, the data."""
    if not changed:
        return True
    command = case.words[0] if case.words else ""
    if ended.code == 2 and "fetch" not in case.words:
        return False  # what is refused has written nothing
    if command in ("report", "query", "export"):  # which print verdicts, and keep that they did
        changed = {name for name in changed if not LOOKS.search(name)}
    top = {Path(name).parts[0] for name in changed}
    named = {Path(os.path.normpath(case.writes)).parts[:1]} if case.writes else set()
    own = {"init": {"new.toml"}, "export": {"made.zip"}, "report": {"made.csv"}}.get(command, set())
    if command in ("run", "merge"):
        own = {"ablate-results"}
    if "fetch" in case.words:
        return True  # into the folder that --data names, whatever it is called
    return top <= own | {part for parts in named for part in parts}


def clean(work: Path, before: dict[str, Any], changed: set[str]) -> None:
    for name in sorted(changed - before.keys()):
        path = work / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@pytest.mark.timeout(1800)
def test_no_value_of_any_option_does_harm(
    place: Path, long: bool, proved: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options are those that the application has; a new one is tested from its first day."""
    stop_before_training(monkeypatch)
    monkeypatch.setattr(
        ablate.util.resources, "disk", lambda folder: None
    )  # it writes 16 MiB each time

    def unreachable(*words: Any, **more: Any) -> Any:
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    every = cases(typer.main.get_command(register()))
    if not long:  # doctor imports torch, which takes as long as all the rest
        every = [case for case in every if case.words[:1] != ("doctor",)]
    tried = sample(every, 1 if long else 61)
    assert {case.words[0] for case in tried if case.words} >= set(COMMANDS) - {"doctor"}
    before = snapshot(place)
    counts: Counter[int] = Counter()
    faults = []
    for case in tried:
        try:
            ended = call(case.words, 30)
        except Hang:
            faults.append(f"hangs: {case}")
            continue
        counts[ended.code] += 1
        if reason := wrong(case, ended):
            faults.append(f"{reason}: {case}\n    {ended.err[:300]}")
        after = snapshot(place)
        changed = {n for n in after.keys() | before.keys() if after.get(n) != before.get(n)}
        if not allowed(case, ended, changed):
            faults.append(f"wrote {sorted(changed)[:3]}: {case}")
        if changed:
            clean(place, before, changed)
            before = snapshot(place)
    print(f"{len(tried)} of {len(every)}: {dict(counts)}")
    assert not faults, "\n".join(faults)
    assert len(tried) >= (600 if long else 80)
    assert counts[2] > len(tried) / 3
    proved(
        "input",
        "an option with a hostile value",
        f"all options of all commands: {counts[2]:,} refused, {len(tried) - counts[2]:,} accepted",
        len(tried),
        "0 tracebacks, 0 hangs, nothing written",
    )
