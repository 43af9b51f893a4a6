"""`run --profile` from the outside: the same results, and files that say where the time went."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.cli_process import STUDY, run_cli, run_here

RUN = ("run", "study.toml", "--limit", "40")


def attempt(folder: Path, key: str) -> Path:
    """The one attempt at a trial."""
    (found,) = (
        path for path in (folder / "ablate-results/trials" / key).iterdir() if path.is_dir()
    )
    return found


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, object]]]:
    """(folder with a store, events) of a run with --profile."""
    folder = tmp_path_factory.mktemp("profiled")
    (folder / "study.toml").write_text(STUDY)
    done = run_here(*RUN, "--profile", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_first_seed_of_each_row_is_profiled(
    profiled: tuple[Path, list[dict[str, object]]],
) -> None:
    folder, events = profiled
    told = {str(event["key"]): event for event in events if event["event"] == "profile"}
    trials = (folder / "ablate-results/trials").iterdir()
    seeds = {path.name: json.loads((path / "trial.json").read_text()) for path in trials}
    assert len(seeds) == 6
    assert len(told) == 3
    for key in seeds:
        path = attempt(folder, key)
        environment = json.loads((path / "environment.json").read_text())
        assert environment["profiled"] == (key in told)
        assert (path / "profile.json").exists() == (key in told)
        if key not in told:
            continue
        assert told[key]["path"] == str(path.relative_to(folder))
        written = json.loads((path / "profile.json").read_text())
        assert told[key]["profile"] | {"checksum": written["checksum"]} == written
        with gzip.open(path / "trace.json.gz", "rt") as file:
            assert json.load(file)["traceEvents"]
    kept = {json.dumps(seeds[key], sort_keys=True) for key in told}
    assert all('"seed": 0' in text for text in kept)


def test_results_and_keys_are_those_of_an_unprofiled_run(
    profiled: tuple[Path, list[dict[str, object]]], trained: tuple[Path, str, str]
) -> None:
    keys = {path.name for path in (trained[0] / "ablate-results/trials").iterdir()}
    assert {path.name for path in (profiled[0] / "ablate-results/trials").iterdir()} == keys
    for key in keys:
        ours, plain = (attempt(folder, key) for folder in (profiled[0], trained[0]))
        mine, theirs = np.load(ours / "predictions.npz"), np.load(plain / "predictions.npz")
        assert all((mine[name] == theirs[name]).all() for name in theirs.files)
        ends = [json.loads((path / "done.json").read_text())["final"] for path in (ours, plain)]
        assert ends[0] == ends[1]


def test_the_report_compares_no_times_of_profiled_trials(
    profiled: tuple[Path, list[dict[str, object]]],
) -> None:
    done = run_cli("report", cwd=profiled[0])
    assert "times not shown of trials trained with --profile" in done.stdout


def test_with_everything_done_it_says_what_to_do(store: Path) -> None:
    done = run_cli(*RUN, "--profile", cwd=store)
    assert done.returncode == 0
    assert "--profile: only what is trained is timed\n  --store DIR" in done.stderr
    assert "nothing to train" in done.stderr


def test_tables_follow_the_report_for_people(store: Path) -> None:
    done = run_here("run", "study.toml", "--limit", "100", "--seeds", "1", "--profile", cwd=store)
    assert done.returncode == 0, done.stderr
    heads = re.findall(r"^Profile \w{6} (.+): (\d+\.\d) s, ", done.stderr, re.M)
    assert [name for name, _ in heads] == [
        "digits · baseline · seed 0", "digits · + warmup · seed 0", "digits · + mixup · seed 0",
    ]  # fmt: skip
    assert re.search(r"^    mixup batch_mixers +\d", done.stderr, re.M)
    traces = re.findall(r"^  (ablate-results/.*trace\.json\.gz)      for ", done.stderr, re.M)
    assert len(traces) == 3
    assert all((store / trace).exists() for trace in traces)
