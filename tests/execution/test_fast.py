"""`numerics = "fast"` on a CPU, compiled for real: once per graph and study, and near to eager."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ablate.core.trial import Numerics, Trial
from ablate.execution.runner import Runner
from ablate.store.store import Store
from ablate.util.devices import Device, compiler_lacks
from tests.helpers import forked, support
from tests.helpers.cli_process import ABLATE
from tests.helpers.environment import ROOT, environment
from tests.helpers.tiny_studies import Silent, equal, outcome, spec, study

LACKING = compiler_lacks("cpu")
pytestmark = pytest.mark.timeout(1200)  # half a minute of compiling is minutes on a busy machine
compiles = pytest.mark.skipif(bool(LACKING), reason=f"cannot compile here: {', '.join(LACKING)}")

TINY = "tests.helpers.fast_model:tiny"
STUDY = f"""\
[study]
datasets = ["digits"]
seeds    = 1
numerics = "fast"
stack    = ["label_smoothing"]

[recipe]
model      = "{TINY}"
epochs     = 4
batch_size = 16
image_size = 8
lr         = 0.05
"""


def ablate(
    folder: Path, cache: Path, *arguments: str, start: Any = subprocess.run
) -> subprocess.CompletedProcess[str]:
    """What compiles is a process that imports the compiler itself."""
    done: subprocess.CompletedProcess[str] = start(
        [*ABLATE, *arguments],
        cwd=folder,
        env=environment(ROOT, ABLATE_CACHE=cache, COLUMNS="120"),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done


def summaries(folder: Path) -> list[dict[str, Any]]:
    """Of every finished attempt in the folder's store."""
    files = sorted(folder.glob("ablate-results/trials/*/*/done.json"))
    return [json.loads(file.read_text())["summary"] for file in files]


def finals(folder: Path) -> dict[str, tuple[float, float]]:
    """(last training loss, test accuracy) by key, in the order of the rows."""
    store = Store.open(folder / "ablate-results", create=False)
    resolved = store.latest_study("study")
    assert resolved is not None
    found = {}
    for key in resolved.order:
        files = sorted((folder / "ablate-results" / "trials" / key).glob("*/done.json"))
        (final,) = (json.loads(file.read_text())["final"] for file in files)
        found[key] = final["train_loss"], final["top1"]
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """(folder with study.toml and its store, the caches, the report)."""
    folder, cache = tmp_path_factory.mktemp("fast"), tmp_path_factory.mktemp("cache")
    (folder / "study.toml").write_text(STUDY)
    done = ablate(folder, cache, "run", "study.toml", "--limit", "200")
    return folder, cache, done.stdout


@compiles
def test_a_study_compiles_each_graph_once_and_learns_as_eager_does(
    trained: tuple[Path, Path, str], tmp_path: Path
) -> None:
    folder, cache, report = trained
    made = summaries(folder)
    graphs = {key for summary in made for key in summary["graph_keys"]}
    assert len(made) == 2
    assert [summary["graphs"] for summary in made] == [2, 2], "training and evaluation"
    # Both rows are one architecture, and were trained at once in processes of their own.
    assert len(graphs) == sum(summary["compiled"] for summary in made) == 2
    assert all(summary["recompiled"] == summary["graph_breaks"] == 0 for summary in made)
    assert "+ label_smoothing" in report
    (tmp_path / "study.toml").write_text(STUDY.replace('"fast"', '"exact"'))
    ablate(tmp_path, cache, "run", "study.toml", "--limit", "200", start=forked.run)
    assert all("graphs" not in summary for summary in summaries(tmp_path))
    for (loss, top1), (eager_loss, eager_top1) in zip(
        finals(folder).values(), finals(tmp_path).values(), strict=True
    ):
        assert loss == pytest.approx(eager_loss, rel=2e-3)
        assert top1 == pytest.approx(eager_top1, abs=0.02)


@compiles
@pytest.mark.long
def test_killed_it_goes_on_to_the_same_weights_and_compiles_nothing(
    trained: tuple[Path, Path, str], tmp_path: Path
) -> None:
    folder, cache, _ = trained
    (tmp_path / "study.toml").write_text(STUDY)
    running = subprocess.Popen(
        [*ABLATE, "run", "study.toml", "--limit", "200", "--json"],
        cwd=tmp_path,
        env=environment(ROOT, ABLATE_CACHE=cache, COLUMNS="120"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert running.stdout is not None
    for line in running.stdout:
        if json.loads(line)["event"] == "epoch":
            running.send_signal(signal.SIGKILL)
            break
    running.stdout.close()
    running.wait(30)
    time.sleep(0.5)  # its trials' processes end with it
    ablate(tmp_path, cache, "run", "study.toml", "--limit", "200")
    assert finals(tmp_path) == finals(folder)
    assert sum(summary["compiled"] for summary in summaries(tmp_path)) == 0


@compiles
@pytest.mark.long
def test_a_study_of_several_graphs_compiles_each_once(
    trained: tuple[Path, Path, str], tmp_path: Path
) -> None:
    """SAM and EMA add none; a number format and a layer add one each for training and testing."""
    _, cache, _ = trained
    stack = '["sam", "ema", "bf16", "stochastic_depth"]'
    study = STUDY.replace('["label_smoothing"]', stack).replace(TINY, "resnet8")
    (tmp_path / "study.toml").write_text(study)
    ablate(tmp_path, cache, "run", "study.toml", "--limit", "200")
    made = summaries(tmp_path)
    graphs = {key for summary in made for key in summary["graph_keys"]}
    assert len(made) == 5
    assert len(graphs) == 6
    assert sum(summary["compiled"] for summary in made) == 6
    assert all(summary["recompiled"] == summary["graph_breaks"] == 0 for summary in made)


def fast(seed: int, *names: str) -> Trial:
    made = support.trial(epochs=1, seed=seed, batch_size=16, model=TINY)
    tricks = tuple(spec(name) for name in names)
    numerics = Numerics.named("fast", "cpu", compiles=True)
    return made.model_copy(update={"numerics": numerics, "tricks": tricks})


@compiles
@pytest.mark.long
def test_a_warm_worker_keeps_what_it_compiled(
    trained: tuple[Path, Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not take the compiler's own threads and settings for a trial's leavings."""
    monkeypatch.setenv("ABLATE_CACHE", str(trained[1]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    trials = fast(0), fast(1, "mixup")
    stores = {}
    for forks in (True, False):
        store = Store.open(tmp_path / str(forks), create=True)
        device = Device("cpu", 1, forks=forks)
        done = Runner(study(*trials), store, [device], Silent()).run()
        assert set(done.statuses.values()) == {"done"}, done.messages
        stores[forks] = store
    for made in trials:
        assert equal(outcome(stores[True], made.key), outcome(stores[False], made.key))
    logs = [
        json.loads(p.read_text())["summary"]
        for t in trials
        for p in (tmp_path / "False" / "trials" / t.key).glob("*/done.json")
    ]
    assert logs[0]["graph_keys"] == logs[1]["graph_keys"]
    assert logs[1]["compiled"] == 0


def test_without_a_compiler_plan_says_so_and_the_trials_are_others(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    keys = []
    for missing in ({}, {"CXX": "/nowhere/g++"}):
        done = forked.run(
            [*ABLATE, "plan", "study.toml", "--json"],
            cwd=tmp_path,
            env=environment(ROOT, ABLATE_CACHE=tmp_path / "cache", COLUMNS="120") | missing,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert ("without compiled models: a C++ compiler" in done.stdout) == (
            bool(missing) or bool(LACKING)
        )
        document = json.loads(done.stdout)
        keys.append(json.dumps(document))
    if not LACKING:
        assert keys[0] != keys[1]


def test_exact_fast_and_fast_without_a_compiler_are_three_kinds_of_trial() -> None:
    made = support.trial()
    kinds = [
        made.model_copy(update={"numerics": Numerics.named(profile, "cpu", compiles=on)})
        for profile, on in (("exact", True), ("fast", True), ("fast", False))
    ]
    assert kinds[0].numerics == Numerics()
    assert len({kind.key for kind in kinds}) == 3
