"""Other questions to the same trials, through the real command line, on real trainings."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import special
from scipy import stats as scipy_stats

from ablate import Study
from ablate.errors import AblateError
from tests.helpers.cli_process import Cli, run_here

TRICK = '''
"""Counts what a network weighs."""
from ablate import Trick, hookimpl


class Weigh(Trick):
    @hookimpl
    def extra_metrics(self, run):
        return {"weight_norm": float(sum(p.detach().norm() ** 2 for p in run.model.parameters()))}

    @hookimpl(wrapper=True)
    def encode_targets(self, labels, num_classes):
        return 0.9 * (yield) + 0.1 / num_classes
'''
STUDY = """\
[study]
datasets = ["digits"]
seeds    = 3
stack    = ["weigh", "mixup"]
plugins  = ["weigh.py"]

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 16
image_size = 8
lr         = 0.1
"""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    (folder / "study.toml").write_text(STUDY)
    (folder / "weigh.py").write_text(TRICK)
    done = run_here("run", "study.toml", "--limit", "40", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def report(cli: Cli, folder: Path, *options: str) -> str:
    done = cli("report", "study", "--store", folder / "ablate-results", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tables(cli: Cli, folder: Path, *options: str) -> dict:
    return json.loads(report(cli, folder, *options, "--format", "json"))["tables"][0]


def predictions(folder: Path, key: str) -> dict[str, np.ndarray]:
    (path,) = folder.glob(f"ablate-results/trials/{key}/*/predictions.npz")
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def test_every_recorded_metric_can_be_asked_for(cli: Cli, asked: Path) -> None:
    plain = tables(cli, asked)
    for name in ("top5", "loss", "train_loss"):
        table = tables(cli, asked, "--metric", name)
        scale = 100 if name == "top5" else 1
        for row in table["rows"]:
            values = [trial["metrics"][name] * scale for trial in row["trials"]]
            assert row["mean"] == pytest.approx(np.mean(values))
        assert table["declared_metric"] == "top1"
        assert len(table["rows"]) == len(plain["rows"])


def test_calibration_from_stored_scores(cli: Cli, asked: Path) -> None:
    table = tables(cli, asked, "--metric", "ece")
    for row in table["rows"]:
        for trial in row["trials"]:
            stored = predictions(asked, trial["key"])
            p = special.softmax(stored["scores"].astype(float), axis=1)
            sure, right = p.max(axis=1), p.argmax(axis=1) == stored["labels"]
            total = 0.0
            for low in range(15):
                inside = (sure > low / 15) & (sure <= (low + 1) / 15)
                if inside.any():
                    total += abs(right[inside].mean() - sure[inside].mean()) * inside.mean()
            assert trial["value"] == pytest.approx(100 * total, abs=1e-6)


def test_a_hooks_metric_is_one_of_them(cli: Cli, asked: Path) -> None:
    out = report(cli, asked, "--metric", "weight_norm")
    assert "weight norm" in out.splitlines()[0]
    assert "! baseline: no weight norm of seeds 0, 1, 2" in out
    assert "weight_norm" in report(cli, asked, "--metric", "weight_norm", "--format", "csv")


def test_refusals_are_one_line_and_what_there_is(cli: Cli, asked: Path) -> None:
    store = ("--store", asked / "ablate-results")
    for options, said in (
        (("--metric", "acc"), "measured: ece, loss, top1, top5, train_loss, weight_norm"),
        (("--metric", "lss"), "did you mean 'loss'?"),
        (("--baseline", "mixupp"), "did you mean 'mixup'?"),
        (("--baseline", "9"), "its number, 0 to 2"),
        (("--baseline", "1", "--compare", "paper"), "do not go together"),
        (("--metric", "x\x1b[31m\u202e"), "was not measured"),
    ):
        done = cli("report", "study", *store, *options)
        assert done.returncode == 2
        assert done.stdout == ""
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert "\x1b[31m" not in done.stderr
        assert len(done.stderr.splitlines()) <= 2


def test_images_classes_and_the_row_asked_for_together(cli: Cli, asked: Path) -> None:
    options = ("--baseline", "weigh", "--new-images", "--per-class")
    table = tables(cli, asked, *options)
    images, classes = table["blocks"]
    assert (images["name"], classes["name"]) == ("new_images", "classes")
    assert [line["line"] for line in images["lines"]] == ["baseline", "+ mixup"]
    assert [line["line"] for line in classes["lines"]] == list("0123456789")
    rows = [[predictions(asked, t["key"]) for t in row["trials"]] for row in table["rows"]]
    right = np.array([[p["scores"].argmax(1) == p["labels"] for p in row] for row in rows])
    labels = rows[0][0]["labels"]
    apart = right[2].mean() - right[1].mean()
    assert images["lines"][1]["cells"][1]["value"] == pytest.approx(100 * apart)
    for c, line in enumerate(classes["lines"]):
        mine = right[:, :, labels == c].mean(axis=(1, 2)) * 100
        assert [cell["value"] for cell in line["cells"]] == pytest.approx(
            [mine[1], mine[0] - mine[1], mine[2] - mine[1]]
        )
    for kind in ("terminal", "markdown", "csv", "latex"):
        text = report(cli, asked, *options, "--format", kind)
        assert "new images too" in text
    assert "Δ to + weigh" in report(cli, asked, *options)


def test_two_checkpoints(cli: Cli, asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(asked)
    done = cli("report", "study.toml", "--limit", "40", "--seeds", "1", "--mcnemar")
    assert done.returncode == 0, done.stderr
    assert "it compares two checkpoints, not two recipes" in done.stdout
    table = json.loads(
        cli(
            *("report", "study.toml", "--limit", "40", "--seeds", "1", "--mcnemar"),
            *("--format", "json"),
        ).stdout
    )["tables"][0]
    a, b = (predictions(asked, row["trials"][0]["key"]) for row in table["rows"][1::-1])
    only_a, only_b = (
        int(np.sum((x["scores"].argmax(1) == x["labels"]) & (y["scores"].argmax(1) != y["labels"])))
        for x, y in ((a, b), (b, a))
    )
    expected = scipy_stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1
    assert table["blocks"][0]["lines"][0]["cells"][0]["p"] == pytest.approx(expected)
    assert re.search(r"--seeds 1 .*--mcnemar", table["command"])


def test_a_damaged_file_is_named(cli: Cli, asked: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(asked, tmp_path / "copy")
    path = sorted(folder.glob("ablate-results/trials/*/*/predictions.npz"))[0]
    path.write_bytes(path.read_bytes()[:200])
    assert report(cli, folder) == report(cli, asked)
    done = cli("report", "study", "--store", folder / "ablate-results", "--metric", "ece")
    assert done.returncode == 2
    assert f"{path} is damaged" in done.stderr.replace("\n", "")


def test_the_same_from_python(cli: Cli, asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(asked)
    results = Study.load("study.toml", limit=40).results()
    ece = results.metric("ece")
    assert [row["mean"] for row in ece.rows()] == [
        row["mean"] for row in tables(cli, asked, "--metric", "ece")["rows"]
    ]
    assert ece.tables[0].metric.name == "ece"
    assert results.tables[0].metric.name == "top1"  # as it was
    both = results.baseline("weigh").new_images().per_class()
    assert [block.name for block in both.tables[0].blocks] == ["new_images", "classes"]
    assert both.tables[0].against == "+ weigh"
    assert any("--seeds 1" in note for note in results.mcnemar().tables[0].notes)
    with pytest.raises(AblateError, match="was not measured"):
        results.metric("nothing")
    with pytest.raises(AblateError, match="do not go together"):
        results.compare("paper").baseline("weigh")
