"""Real trainings with a planted strong, a useless and a harmful trick get the three right verdicts.

Three seeds are enough for a margin of 3 points on 360 test images; ten for 1.5. Both with `--long`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.environment import ROOT

STUDY = ROOT / "tests" / "helpers" / "planted.toml"


def report(store: Path, *options: str) -> dict[str, Any]:
    """The table of the study, trained by the real command line."""
    ablate = [sys.executable, "-m", "ablate"]
    chosen = [str(STUDY), *options, "--store", str(store)]
    run = subprocess.run([*ablate, "run", *chosen, "-q"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    printed = subprocess.run(
        [*ablate, "report", *chosen, "--json"], capture_output=True, text=True, check=True
    )
    (table,) = json.loads(printed.stdout)["tables"]
    return table  # type: ignore[no-any-return]


def verdicts(table: dict[str, Any]) -> dict[str, str]:
    return {row["row"]: row["verdict"] for row in table["rows"]}


RIGHT = {
    "baseline": "",
    "planted_strong": "gain",
    "planted_useless": "equivalent",
    "planted_harmful": "loss",
}


@pytest.mark.long
def test_three_seeds_tell_a_large_gain_a_large_loss_and_nothing_apart(tmp_path: Path) -> None:
    table = report(tmp_path / "store", "--seeds", "3", "--set", "protocol.margin=3")
    assert verdicts(table) == RIGHT
    strong, useless, harmful = (row["delta"] for row in table["rows"][1:])
    assert strong["low"] > 0 > harmful["high"]
    # every tenth digit is a 0, and is taught to be a 1
    assert harmful["low"] < -10 < harmful["high"]
    assert useless["low"] < 0 < useless["high"] or abs(useless["delta"]) < 3
    # the useless trick trains another network, it does not train the same one again
    rows = {row["row"]: [trial["value"] for trial in row["trials"]] for row in table["rows"]}
    assert rows["planted_useless"] != rows["baseline"]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_ten_seeds_say_it_within_a_smaller_margin(tmp_path: Path) -> None:
    table = report(tmp_path / "store")
    assert table["margin"] == 1.5
    assert verdicts(table) == RIGHT
