"""The shipped studies beside the paper, and the whole way through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ablate.design import resolve
from ablate.errors import AblateError
from ablate.report.published.data import paper
from ablate.report.published.match import whole
from ablate.study import load_study
from tests.helpers.cli_process import Done, run_here
from tests.helpers.environment import ROOT

STUDIES = ROOT / "studies"
MODELS = ["ResNet-50", "Inception-V3", "MobileNet"]
BRANCHES = ["distill", None, "mixup", "distill + mixup"]
REFINED = ["efficient", "cosine", "label_smoothing", *BRANCHES]

# table: (columns in order, the published step of each row; None for control rows)
EXPECTED = {
    2: (MODELS, ["baseline"]),
    3: (MODELS, ["baseline", None, "efficient"]),
    4: (
        ["batch 256", "batch 1024"],
        ["linear_scaling", "warmup", "zero_gamma", "no_bias_decay", "fp16"],
    ),
    5: (["ResNet-50"], ["efficient", "resnet_b", "resnet_c", "resnet_d"]),
    6: (["ResNet-50-D", "Inception-V3", "MobileNet"], REFINED),
    7: (["ResNet-50-D"], ["efficient", None, "best"]),
}


@pytest.mark.parametrize("edition", ["paper", "imagenette"])
@pytest.mark.parametrize("number", EXPECTED)
def test_every_table_of_the_paper_finds_its_figures(edition, number, tmp_path):
    study = load_study(STUDIES / edition / f"table{number}.toml", bundled_only=True)
    resolved = resolve(
        study, data_root=tmp_path, device_type="cuda", command="", allow_missing_data=True
    )
    columns, steps = EXPECTED[number]
    datasets = len(study.datasets)
    assert len(resolved.tables) == datasets * len(columns)
    for table, column in zip(resolved.tables, columns * datasets, strict=True):
        found = whole(paper(), resolved, table)
        assert found.published.number == number
        assert found.published.columns[found.column].label == column
        lines = found.published.rows
        assert [None if i is None else lines[i].step for i in found.cells] == steps


TOY = """\
[study]
datasets = ["digits"]
seeds    = 2

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 16
image_size = 8
lr         = 0.1

[tricks]
linear_scaling = { base = 16 }
warmup         = { epochs = 0.5 }

[[ablation]]
name  = "table4"
base  = ["linear_scaling"]
stack = ["warmup"]
"""


def ablate(*arguments: str) -> Done:
    return run_here(*arguments, cwd=Path.cwd())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.toml").write_text(TOY, encoding="utf-8")
    store = str(folder / "store")
    done = ablate("run", str(folder / "toy.toml"), "--limit", "200", "--store", store, "-q")
    assert done.returncode == 0, done.stderr
    return folder, store


def test_a_trained_study_is_reported_beside_the_paper_from_its_store_alone(trained):
    folder, store = trained
    (folder / "toy.toml").rename(folder / "gone")
    try:
        shown = ("--compare", "paper", "--columns", "all")
        done = ablate("report", "toy", *shown, "--store", store)
        found = ablate("report", "toy", "--compare", "paper", "--json", "--store", store)
        plain = ablate("report", "toy", "--json", "--store", store)
    finally:
        (folder / "gone").rename(folder / "toy.toml")
    assert done.returncode == found.returncode == 0, done.stderr
    [document], [before] = (json.loads(x.stdout)["tables"] for x in (found, plain))
    first, second = document["rows"]
    line = paper().table(4).rows[1]
    assert second["published"]["top1"] == float(line.top1[0])  # 16 is nearer to 256 than to 1,024
    delta = float(line.top1[0] - paper().table(4).rows[0].top1[0])
    assert second["published"]["delta"] == pytest.approx(delta)
    low, high = (before["rows"][1]["delta"][end] for end in ("low", "high"))
    assert second["published"]["inside"] == (low <= delta <= high)
    assert first["published"]["delta"] is None
    assert f"{line.top1[0]}°" in done.stdout
    assert "Differs: digits 8 px, 200 images a split, resnet8, batch 16, 1 epoch," in done.stdout
    assert "2 seeds" in done.stdout


def test_another_name_and_nothing_to_compare_are_one_line_and_exit_code_2(trained):
    folder, store = trained
    done = ablate("report", "toy", "--compare", "papr", "--store", store)
    assert done.returncode == 2
    assert done.stderr == "error: --compare 'papr'; did you mean 'paper'?\n"
    # the baseline alone, which is trained already
    other = TOY.replace('name  = "table4"', 'name  = "mine"').replace('["warmup"]', "[]")
    (folder / "other.toml").write_text(other, encoding="utf-8")
    options = ("--limit", "200", "--store", store)
    assert ablate("run", str(folder / "other.toml"), *options, "-q").returncode == 0
    done = ablate("report", "other", "--compare", "paper", "--store", store)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no row of other adds what the paper measured: table 3:")
    assert done.stderr.count("\n") == 1
    # of every study: those that have something are shown, the others named
    done = ablate("report", "--compare", "paper", "--store", store)
    assert done.returncode == 0
    assert "other: the paper has no row of digits" in done.stderr
    assert "arXiv 1812.01187 table 4" in done.stdout


def test_from_python(trained):
    from ablate import Study

    folder, store = trained
    results = Study.load(folder / "toy.toml", limit=200).results(store=store)
    found = results.compare("paper")
    assert found.rows()[1]["published"]["table"] == 4
    assert "paper top-1 %" in found.to_markdown()
    assert "published" not in results.rows()[1]
    assert "paper" not in str(results)
    with pytest.raises(AblateError, match="did you mean 'paper'"):
        results.compare("papr")
