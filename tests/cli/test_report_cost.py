"""The cost of a trained study: recorded with each trial, printed without torch or tricks."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from ablate import Study
from ablate.execution.runner import Runner
from ablate.store.store import Store
from ablate.util.devices import Device
from tests.helpers.cli_process import Cli, run_here
from tests.helpers.tiny_studies import Silent, equal, outcome

STUDY = """\
[study]
datasets = ["digits"]
seeds    = 1
stack    = ["mixup", "squeeze_excitation"]

[recipe]
model      = "resnet8"
epochs     = 2
batch_size = 16
image_size = 8
"""

# ResNet-8 at 8 pixels by hand, layer by layer: weights, then weights × places where they apply.
PARAMETERS = (
    (432 + 32)
    + 2 * (2304 + 32)
    + (4608 + 64 + 9216 + 64 + 512 + 64)
    + (18432 + 128 + 36864 + 128 + 2048 + 128)
    + 650
)
MACS = 64 * (432 + 2 * 2304) + 16 * (4608 + 9216 + 512) + 4 * (18432 + 36864 + 2048) + 640
# Two matrices with biases in each of three blocks: C channels to C/16 and back, at one place.
SQUEEZE = [(2 * c * s + s + c, 2 * c * s) for c, s in ((16, 1), (32, 2), (64, 4))]
WITH_SQUEEZE = (PARAMETERS + sum(p for p, _ in SQUEEZE), MACS + sum(m for _, m in SQUEEZE))
EXPECTED = [(PARAMETERS, MACS), (PARAMETERS, MACS), WITH_SQUEEZE]
IMAGES = 32  # of 40, two full batches


@pytest.fixture(scope="module")
def costed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("costed")
    (folder / "study.toml").write_text(STUDY)
    done = run_here("run", "study.toml", "--limit", "40", cwd=folder)
    assert done.returncode == 0, done.stderr
    for end in (folder / "ablate-results").glob("trials/*/*/done.json"):
        document = json.loads(end.read_text())  # times count, however busy this machine is
        document["curves"]["processor_share"] = 1.0
        end.write_text(json.dumps(document))
    return folder


def report(cli: Cli, folder: Path, *options: str) -> str:
    done = cli("report", "study", "--no-plugins", "--store", folder / "ablate-results", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_format_has_the_cost_that_was_trained(cli: Cli, costed: Path) -> None:
    (table,) = json.loads(report(cli, costed, "--format", "json"))["tables"]
    rows = table["rows"]
    assert [(row["parameters"], row["macs"]) for row in rows] == EXPECTED
    timed = [row for row in rows if row["epoch_seconds"] is not None]
    assert timed  # whatever else the machine does: the quietest trial has its time
    assert len(timed) == len(rows) or any("the machine was busy" in x for x in table["notes"])
    for row in timed:
        assert row["images_per_second"] * row["epoch_seconds"] == pytest.approx(IMAGES)
    lines = list(csv.DictReader(io.StringIO(report(cli, costed, "--format", "csv"))))
    assert [(int(x["parameters"]), int(x["macs"])) for x in lines] == EXPECTED
    shown = report(cli, costed, "--columns", "cost").splitlines()
    assert shown[3].split()[:3] == ["baseline", "0.0780", "0.000782"]
    assert shown[5].split()[1:4] == ["squeeze_excitation", "0.0788", "0.000783"]
    assert "| M params | GMACs |" in report(cli, costed, "--format", "markdown")


def test_python_has_it(costed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(costed)
    results = Study.load("study.toml", limit=40).results(store="ablate-results")
    assert [(row["parameters"], row["macs"]) for row in results.rows()] == EXPECTED
    speeds = [row["images_per_second"] for row in results.rows()]
    assert all(speed is None or speed > 0 for speed in speeds)
    assert any(speeds)  # a busy machine hides times, but not that of the quietest trial
    assert [(row.parameters, row.macs) for row in results.tables[0].rows] == EXPECTED


def test_attempts_without_the_figures_print_a_dash(cli: Cli, costed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(costed, folder)
    for end in (folder / "ablate-results").glob("trials/*/*/done.json"):
        document = json.loads(end.read_text())
        del document["summary"]["parameters"], document["summary"]["macs"]
        end.write_text(json.dumps(document))
    rows = json.loads(report(cli, folder, "--format", "json"))["tables"][0]["rows"]
    assert [(row["parameters"], row["macs"]) for row in rows] == [(None, None)] * 3
    assert report(cli, folder, "--columns", "cost").splitlines()[3].split()[:3] == [
        "baseline",
        "–",
        "–",
    ]
    assert "GMACs" not in report(cli, folder)


def test_other_columns_are_refused(cli: Cli) -> None:
    done = cli("report", "study", "--columns", "costs")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --columns 'costs': known: auto, cost, all\n  --columns all\n"


def test_a_trial_trains_to_the_same_numbers_whatever_is_recorded_with_it(costed: Path) -> None:
    """The worker by hand, without the figure."""
    store = Store.open(costed / "ablate-results", create=False)
    resolved = store.latest_study("study")
    assert resolved is not None
    key = resolved.tables[0].rows[2].keys[0]
    other = Store.open(costed / "other", create=True)
    one = resolved.model_copy(update={"order": (key,)})
    Runner(one, other, [Device("cpu", 1)], Silent()).run()
    assert equal(outcome(store, key), outcome(other, key))
    result = other.result(key)
    assert result is not None
    assert result.summary["parameters"] == WITH_SQUEEZE[0]
    assert result.summary["macs"] is None


def test_a_file_is_written_as_its_name_ends_and_a_wrong_format_reads_no_store(
    cli: Cli, costed: Path, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    report(cli, costed, "-o", str(table))
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["row"] for row in rows][:2] == ["baseline", "'+ mixup"]
    text = tmp_path / "table.json"
    report(cli, costed, "-o", str(text), "--format", "markdown")
    assert text.read_text().startswith("### ")
    refused = cli("report", "--format", "pdf", "--store", tmp_path / "nowhere")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: unknown format 'pdf'")
