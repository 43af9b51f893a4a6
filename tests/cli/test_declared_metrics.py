"""Metrics that a trick declares, and such that nobody does, from a real run to the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.cli_process import Cli, run_here

TRICK = '''
"""Measures what it makes up."""
from ablate import Metric, Trick, hookimpl


class Judge(Trick):
    measures = (
        Metric("wrong", "error rate", "%", 100.0, higher_is_better=False, share_of="examples"),
        Metric("latency", unit="ms", scale=1000.0, higher_is_better=False),
    )

    @hookimpl
    def extra_metrics(self, run):
        share = min(1.0, float(next(run.model.parameters()).detach().abs().mean()))
        return {"wrong": share, "latency": share / 10, "lossless": share}

    @hookimpl(wrapper=True)
    def encode_targets(self, labels, num_classes):
        return 0.9 * (yield) + 0.1 / num_classes
'''
STUDY = """\
[study]
datasets = ["digits"]
seeds    = 2
stack    = ["judge", "mixup"]
plugins  = ["judge.py"]

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 16
image_size = 8
lr         = 0.1
"""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose trick is no longer there: what it declared is kept with its numbers."""
    folder = tmp_path_factory.mktemp("judged")
    (folder / "study.toml").write_text(STUDY)
    (folder / "judge.py").write_text(TRICK)
    done = run_here("run", "study.toml", "--limit", "40", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "judge.py").unlink()
    (folder / "study.toml").unlink()
    return folder / "ablate-results"


def test_a_declared_error_rate_is_a_share_of_which_less_is_better(cli: Cli, judged: Path) -> None:
    done = cli("report", "study", "--store", judged, "--metric", "wrong")
    assert done.returncode == 0, done.stderr
    assert "error rate %" in done.stdout.splitlines()[0]
    said = " ".join(done.stdout.split())
    assert "error rate is not the declared metric (top1): exploratory; lower counts as gain" in said
    assert " points" in said
    done = cli("report", "study", "--store", judged, "--metric", "wrong", "--format", "json")
    (table,) = json.loads(done.stdout)["tables"]
    kept = [t["metrics"]["wrong"] for t in table["rows"][1]["trials"]]
    assert (table["unit"], table["margin"]) == ("percent", 0.5)  # the study's, in points of images
    assert table["rows"][1]["mean"] == pytest.approx(100 * np.mean(kept))


def test_a_name_that_nobody_declares_has_a_direction_that_is_said(cli: Cli, judged: Path) -> None:
    done = cli("report", "study", "--store", judged, "--metric", "lossless")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert (
        "lossless is not the declared metric (top1): exploratory; higher counts as gain, which "
        "nothing declares" in said
    )


def test_two_rows_side_by_side_know_it_too(cli: Cli, judged: Path) -> None:
    done = cli("diff", "study:judge", "study:mixup", "--store", judged)
    assert done.returncode == 0, done.stderr
    assert "error rate %" in done.stdout
    assert "latency ms" in done.stdout


def test_a_declaration_that_cannot_hold_is_one_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    for declared, said in (
        ('Metric("top1")', "'top1': it is measured in every training"),
        ('Metric("x", scale=0)', "'x': scale must be a number above 0"),
        ('"wrong"', "'wrong': it is no Metric"),
    ):
        (tmp_path / "judge.py").write_text(
            f"from ablate import Metric, Trick\nclass Judge(Trick):\n    measures = ({declared},)\n"
        )
        done = cli("check", tmp_path / "study.toml")
        assert done.returncode == 2
        assert said in done.stderr + done.stdout
        assert "Traceback" not in done.stderr
