"""The benchmark of large stores, on a small one: it writes what is asked for, and reads it back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.helpers.environment import ROOT


def test_a_small_store_is_written_and_timed(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "scale.py"), "--trials", "20"]
    command += ["--rows", "50", "--repeats", "2", "--out", str(tmp_path / "out.json")]
    command += ["--store", str(tmp_path / "made"), "--only", "report json", "--only", "status"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["store"]["trials"] == 20
    assert document["store"]["metric_rows"] == 1000
    assert document["reindex"]["bytes"] > 0
    assert {"date", "command", "hardware", "versions"} <= document.keys()
    assert list(document["commands"]) == ["report json", "status"]
    for figures in document["commands"].values():
        assert len(figures["seconds"]) == 2
        rounded = figures["median"]  # to thousandths, the others are not
        assert figures["least"] - 0.0005 <= rounded <= figures["most"] + 0.0005
    assert "| `ablate status` |" in done.stdout

    report = [sys.executable, "-m", "ablate", "report", "scale", "--format", "json"]
    shown = subprocess.run(
        report, cwd=tmp_path / "made", capture_output=True, text=True, check=True
    ).stdout
    tables = json.loads(shown)["tables"]
    assert [table["dataset"] for table in tables] == ["imagenette", "imagewoof"]
    assert [row["n"] for table in tables for row in table["rows"]] == [2] * 10
    written = [
        json.loads(path.read_text())["final"]["top1"]
        for path in (tmp_path / "made").glob("ablate-results/trials/*/*/done.json")
    ]
    values = [t["value"] for table in tables for row in table["rows"] for t in row["trials"]]
    assert sorted(values) == sorted(100 * value for value in written)
