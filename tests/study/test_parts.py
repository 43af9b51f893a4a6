"""Parts that studies extend, tables of the baseline alone, and settings that would do nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.cli.main import main
from ablate.errors import StudyError
from ablate.study import load_study, shipped_studies

Cli = Callable[..., tuple[int, str, str]]

ALONE = """\
[study]
datasets = ["digits"]
seeds    = 2

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 32
image_size = 8

[[ablation]]
name  = "alone"
stack = []

[[ablation]]
name      = "models"
base      = ["cosine"]
stack     = []
over      = [{ model = "resnet8" }, { model = "resnet20" }]
transpose = true
"""
PART = """\
[recipe]
model = "resnet8"
epochs = 7
[tricks]
mixup = { alpha = 0.3 }
"""
WHOLE = """\
extends = "../_part.toml"
[study]
datasets = ["digits"]
stack = ["mixup"]
"""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """`cli("plan", "study.toml")` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("ABLATE_DATA", "ABLATE_STORE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        return main(list(arguments)), *capfd.readouterr()

    return run


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_a_table_of_the_baseline_alone_is_trained_and_reported(tmp_path: Path, cli: Cli) -> None:
    write(tmp_path, "alone.toml", ALONE)
    assert cli("check", "alone.toml")[1] == "alone.toml: ok (3 tables, 3 rows, 2 seeds: 6 trials)\n"
    code, out, _ = cli("plan", "alone.toml", "--limit", "80")
    assert code == 0
    assert "6 trials: ● 0 done, ○ 6 new" in out
    code, out, err = cli("run", "alone.toml", "--limit", "80", "--device", "cpu")
    assert code == 0, err
    # nothing is compared, so nothing is said of comparisons
    for word in ("Holm", "verdict", "Δ", "interval", "tricks"):
        assert word not in out
    code, out, _ = cli("report", "alone.toml", "--limit", "80", "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert [(line["ablation"], line["column"], line["row"]) for line in lines] == [
        ("alone", "", "baseline"),
        ("models", "model resnet8", "cosine"),
        ("models", "model resnet20", "cosine"),
    ]
    for line in lines:
        seeds = [float(line["seed_0"]), float(line["seed_1"])]
        assert float(line["mean"]) == pytest.approx(sum(seeds) / 2)
        assert line["delta"] == line["verdict"] == ""
    for form in ("markdown", "terminal"):
        code, out, _ = cli("report", "alone.toml", "--limit", "80", "--format", form)
        assert code == 0
        assert "resnet20" in out
        assert "Δ" not in out
    code, out, _ = cli("report", "alone.toml", "--limit", "80", "--seeds", "1")
    assert code == 0
    assert "noise" not in out
    code, out, _ = cli("report", "alone.toml", "--limit", "80", "--format", "json")
    assert [table["comparisons"] for table in json.loads(out)["tables"]] == [0, 0, 0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name  = "alone"', 'kind = "leave_one_out"', 'ablation[0].stack: is empty; kind = "leave'),
        ("seeds    = 2", "stack = []", "study.stack: is empty; name at least one trick"),
    ],
)
def test_what_needs_a_trick_refuses_an_empty_stack(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    file = write(tmp_path, "alone.toml", ALONE.replace(old, new))
    with pytest.raises(StudyError) as caught:
        load_study(file)
    assert any(f"{p.key}: {p.message}".startswith(said) for p in caught.value.problems)


def test_a_part_is_checked_and_extended_but_neither_planned_nor_run(
    tmp_path: Path, cli: Cli
) -> None:
    write(tmp_path, "studies/_part.toml", PART)
    write(tmp_path, "studies/inner/whole.toml", WHOLE)
    assert cli("check", "studies/_part.toml") == (
        0,
        "studies/_part.toml: ok (a part for other studies: no rows of its own)\n",
        "",
    )
    for command in ("plan", "run"):
        code, out, err = cli(command, "studies/_part.toml")
        assert (code, out) == (2, "")
        assert err.splitlines()[0] == (
            "studies/_part.toml: is a part for other studies, with no rows of its own"
        )
        assert 'extends = "_part.toml"' in err
    study = load_study(tmp_path / "studies/inner/whole.toml")
    assert (study.name, study.recipe["epochs"]) == ("inner/whole", 7)
    assert study.config("mixup").params == {"alpha": 0.3}
    # mistakes in a part are found in it
    write(tmp_path, "studies/_part.toml", PART.replace("epochs", "epoch"))
    code, out, _ = cli("check", "studies/_part.toml")
    assert code == 2
    assert "studies/_part.toml:3: recipe.epoch: unknown setting" in out


@pytest.mark.parametrize("name", ["paper/table4", "studies/paper/table4.toml", "paper/table4.toml"])
def test_shipped_studies_in_folders_are_found_from_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_study(name).name == "paper/table4"
    assert "paper/table4" in shipped_studies()


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_setting_of_a_trick_that_no_row_has_is_refused(command: str, cli: Cli) -> None:
    code, _, err = cli(command, "quickstart", "--set", "tricks.cutmix.alpha=0.5")
    assert code == 2
    assert err.splitlines()[0] == (
        "--set tricks.cutmix.alpha=0.5: tricks.cutmix: no row of this study has 'cutmix', so this "
        "changes nothing"
    )
    assert "in its rows: warmup, mixup" in err


def test_settings_reach_aliases_bundles_members_and_teachers() -> None:
    for setting in (
        "tricks.warmup.epochs=1",  # a member of a bundle
        "tricks.efficient.set.batch_size=512",  # a bundle
        "tricks.label_smoothing.epsilon=0.2",
    ):
        load_study("paper/table6", overrides=[setting])
    # of table 3's rows none has it, and there is no student for the teacher that has
    with pytest.raises(StudyError):
        load_study("paper/table3", overrides=["tricks.label_smoothing.epsilon=0.2"])
    with pytest.raises(StudyError) as caught:
        load_study("followup/mixing", overrides=["tricks.mixup.alpha=0.3"])
    [problem] = caught.value.problems
    assert problem.hint == "in its rows: mixup_01, mixup_02, mixup_04, mixup_10"


INAPPLICABLE = """\
[study]
datasets = ["digits"]
seeds = 1
stack = ["{trick}"]
[recipe]
model = "{model}"
image_size = 64
"""


@pytest.mark.parametrize(
    ("model", "trick", "reason"),
    [
        ("vgg16", "zero_gamma", "no residual block that ends in a norm"),
        ("mobilenet_v2", "resnet_d", "no shortcuts with a convolution"),
        ("resnet8", "distill", "teacher"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_what_does_not_apply_is_refused_before_anything_is_trained(
    command: str, model: str, trick: str, reason: str, tmp_path: Path, cli: Cli
) -> None:
    write(tmp_path, "mine.toml", INAPPLICABLE.format(trick=trick, model=model))
    code, out, err = cli(command, "mine.toml", "--limit", "100")
    assert (code, out) == (2, "")
    errors = [line for line in err.splitlines() if line.startswith(("mine.toml", "error:"))]
    assert len(errors) == 1
    assert trick in errors[0]
    assert reason in errors[0]
    assert "Traceback" not in err
    assert not list((tmp_path / "ablate-results").glob("trials/*"))


def test_what_is_dropped_is_planned(tmp_path: Path, cli: Cli) -> None:
    text = INAPPLICABLE.format(trick="zero_gamma", model="vgg16")
    text += '[[override]]\nwhen = { model = "vgg16" }\ndrop = ["zero_gamma"]\n'
    write(tmp_path, "mine.toml", text)
    code, out, err = cli("plan", "mine.toml")
    assert code == 0, err
    assert "1 trial: ● 0 done, ○ 1 new" in out
