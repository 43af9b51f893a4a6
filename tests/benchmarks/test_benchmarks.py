"""The benchmark program in small, and its statistics against scipy's and NumPy's."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binom

from tests.helpers.environment import ROOT

BENCHMARKS = ROOT / "benchmarks"
QUICK = ("step", "gpu_data", "augment", "real")


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import measure
    finally:
        sys.path.remove(str(BENCHMARKS))
    return measure


def run(out: Path, *options: str) -> str:
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--tiny", "--device", "cpu"]
    done = subprocess.run(
        [*command, "--out", str(out), *options],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_parts_run_in_small_and_the_same_call_continues(tmp_path: Path) -> None:
    parts = [x for name in QUICK for x in ("--part", name)]
    run(tmp_path, *parts)
    written = {}
    for name in QUICK:
        document = json.loads((tmp_path / f"{name}.json").read_text())
        assert document["rows"], name
        assert all(v > 0 for row in document["rows"] for v in row["values"]), name
        assert document["torch"]
        assert "run.py" in document["command"]
        written[name] = (tmp_path / f"{name}.json").stat().st_mtime_ns
    # Both computed the same: a ratio of two different trainings would say nothing.
    details = json.loads((tmp_path / "step.json").read_text())["details"]
    assert len(details) == 2
    for stack in details.values():
        assert stack["largest difference of a weight after three steps"] < 1e-3

    again = run(tmp_path, *parts)
    assert again.count("done before") == len(QUICK)
    assert written == {n: (tmp_path / f"{n}.json").stat().st_mtime_ns for n in QUICK}
    report = (tmp_path / "report.md").read_text()
    assert all(f"| {name} |" in report for name in QUICK)


def test_every_part_is_a_file_that_measures() -> None:
    tree = ast.parse((BENCHMARKS / "run.py").read_text())
    named = {
        constant.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("CPU", "GPU")
        for constant in ast.walk(node.value)
        if isinstance(constant, ast.Constant)
    }
    files = {path.stem for path in (BENCHMARKS / "parts").glob("*.py")} - {"__init__"}
    assert named == files
    for name in files:
        part = ast.parse((BENCHMARKS / "parts" / f"{name}.py").read_text())
        assert any(isinstance(n, ast.FunctionDef) and n.name == "measure" for n in part.body), name


@pytest.mark.parametrize("n", [6, 8, 12, 20, 21, 60, 200])
def test_interval_of_the_median_covers_95_percent_and_little_more(
    measure: ModuleType, n: int
) -> None:
    low, high = measure.Row("x", list(range(n))).interval()  # the values are their own ranks
    # The median lies between the ranks i and n − 1 − i if so many of n coins show heads.
    covered = binom.cdf(high, n, 0.5) - binom.cdf(low, n, 0.5)
    assert covered >= 0.95
    assert measure.Row("x", range(5)).interval() is None
    # one rank further in would cover less
    assert binom.cdf(high - 1, n, 0.5) - binom.cdf(low + 1, n, 0.5) < 0.95


def test_quartiles_are_numpys(measure: ModuleType) -> None:
    values = np.random.default_rng(0).normal(size=11)
    row = measure.Row("x", values.tolist())
    assert row.quartiles() == pytest.approx(np.percentile(values, [25, 75]))
    assert row.median == pytest.approx(np.median(values))
    assert measure.Bar("≤", 2).met(2)
    assert not measure.Bar("≥", 2).met(1.99)


def test_what_coordinating_costs_is_told_apart_from_starting_and_from_printing() -> None:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from long_study import Sample, summarised
    finally:
        sys.path.remove(str(BENCHMARKS))
    # 8 s to start, 0.01 s and 0.02 MiB a trial, then 2 s and 30 MiB for the table
    samples = [Sample(float(t), t, 500, 300 + t / 50, 8 + t / 100) for t in range(1001)]
    samples.append(Sample(1001.0, 1000, 540, 350, 20.0))
    found = summarised({"samples": samples, "seconds": 1002.0, "cpu_all": 1020.0})
    assert found["compared_after"] == 100
    assert found["growth_mib"] == pytest.approx(18)
    assert found["mib_at_the_end"] == 350
    assert found["percent"] == pytest.approx(100 * 20 / 1020, abs=0.01)
    assert found["cpu_of_a_trial"] == pytest.approx(1)
