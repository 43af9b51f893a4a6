"""The class's two assignments on real Imagenette images, through the command line.

Small, because three of group 1's five rows are FP16, which a CPU emulates: one epoch of two steps.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import forked
from tests.helpers.data_samples import copy_few
from tests.helpers.environment import ROOT, environment

SMALL = [
    "--set",
    "recipe.model=tests.helpers.small_models:narrow_v1",
    "--limit",
    "40",
    "--seeds",
    "1",
]
SMALL += [
    x for s in ("image_size=32", "batch_size=16", "epochs=1") for x in ("--set", f"recipe.{s}")
]


@pytest.fixture(scope="module")
def root(imagenette_root: Path, tmp_path_factory: pytest.TempPathFactory, long: bool) -> Path:
    """Four images of each class, which are as many as train; with `--long` all that there are."""
    made = tmp_path_factory.mktemp("few")
    return imagenette_root if long else copy_few(imagenette_root, "imagenette2-160", made, 4, 4)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where images are decoded to: a gigabyte of all of them, so it does not stay."""
    folder = tmp_path_factory.mktemp("decoded")
    yield folder
    shutil.rmtree(folder)


def ablate(*arguments: str, root: Path, cache: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return forked.run(
        [sys.executable, "-m", "ablate", *arguments],
        cwd=cwd,
        env=environment(ROOT, ABLATE_DATA=root, ABLATE_CACHE=cache),
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.mark.timeout(600)
def test_both_groups_train_every_row_on_real_images_and_share_the_baseline(
    root: Path, cache: Path, tmp_path: Path
) -> None:
    places = {"root": root, "cache": cache, "cwd": tmp_path}

    def run(name: str) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
        asked = [name, "--dataset", "imagenette", *SMALL]
        done = ablate("run", *asked, **places)
        assert done.returncode == 0, done.stderr
        report = ablate("report", *asked, "--format", "json", **places)
        [table] = json.loads(report.stdout)["tables"]
        return done, table["rows"]

    first, rows = run("group1")
    assert "fp16 on this CPU is slow" in first.stderr
    assert "bf16" in first.stderr
    assert [row["row"] for row in rows] == [
        *("baseline", "+ warmup", "+ fp16", "+ mixup", "+ zero_gamma"),
    ]
    second, others = run("group2")
    assert [row["row"] for row in others] == [
        *("baseline", "+ cosine", "+ label_smoothing", "+ no_bias_decay", "+ resnet_bcd"),
    ]
    assert "1 shared" in second.stderr, "the baseline is group 1's"
    for row in (*rows, *others):
        assert row["n"] == 1
        assert 0 < row["mean"] < 100

    again = ablate("run", "group1", "--dataset", "imagenette", *SMALL, **places)
    assert again.returncode == 0
    assert "nothing to train" in again.stderr
    assert again.stdout == first.stdout
