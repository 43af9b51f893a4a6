"""A process that may open few files, write small ones, or have little memory; odd folders."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.helpers.cli_process import ABLATE, run_cli
from tests.helpers.environment import environment
from tests.helpers.fault_table import Proved

STUDY = """\
[study]
datasets = ["digits"]
seeds    = 1
stack    = ["mixup"]

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 16
image_size = 8
"""


def limited(limit: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f'ulimit {limit} && "$@"', "bash", *ABLATE, *arguments],
        cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def numbers(store: Path) -> list[str]:
    files = sorted(store.glob("trials/*/2*/done.json"))
    return [json.loads(file.read_text())["curves"]["digests"] for file in files]


def test_limits_and_a_folder_that_duckdb_cannot_use_cost_no_trial(
    tmp_path: Path, proved: Proved
) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    run = ("run", "study.toml", "--limit", "40", "--device", "cpu")
    assert run_cli(*run, "--store", "whole", cwd=tmp_path).returncode == 0
    whole = numbers(tmp_path / "whole")
    assert len(whole) == 2
    cases = {"-n 64": "files", "-f 700": "blocks", "-n 1000": "is it?"}
    for limit, name in cases.items():
        done = limited(limit, *run, "--store", name, cwd=tmp_path)
        assert done.returncode == 0, (limit, done.stderr)
        assert numbers(tmp_path / name) == whole, limit
        asked = run_cli("query", "select count(*) n from trials where status = 'done'",
                        "--format", "csv", "--store", name, cwd=tmp_path)  # fmt: skip
        assert asked.stdout == "n\n2\n", asked.stderr
    refused = run_cli("reindex", "--store", "is it?", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: cannot write is it?/results.duckdb: ")
    proved(
        "disks", "few files may be open, files may not grow, or DuckDB takes the path for another",
        "ulimit -n 64, ulimit -f 700, a store in a folder `is it?`; run, query, reindex",
        2 * len(cases) + 1, "nothing: the spool is read",
    )  # fmt: skip


@pytest.mark.parametrize("command", ["plan", "run"])
def test_too_little_memory_to_import_is_said_in_a_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    done = limited("-v 1500000", command, "study.toml", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "error: not enough memory for importing its libraries" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("crash-*"))
