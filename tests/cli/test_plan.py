"""`plan`: sharing, near misses, time, and the smallest difference the seeds can see."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ablate.cli.main import main
from ablate.core.recipe import Recipe
from ablate.design import resolve
from ablate.planning.plan_text import hook_lines
from ablate.planning.power import family, resolutions, seeds_to_show
from ablate.planning.work import survey
from ablate.study import load_study
from ablate.tricks.discovery import load_catalogue
from tests.helpers.cli_process import STUDY
from tests.helpers.moderated import smallest_seen

SEEDS = (2, 3, 5, 10)


@pytest.fixture
def four_tricks(tmp_path: Path) -> Path:
    text = STUDY.replace('"digits"', '"imagenette", "imagewoof"')
    text = text.replace('"warmup", "mixup"', '"warmup", "fp16", "mixup", "zero_gamma"')
    path = tmp_path / "four.toml"
    path.write_text(text)
    return path


def test_smallest_differences_are_those_of_the_moderated_t(four_tricks: Path) -> None:
    """Five rows and their total, by scipy's non-central t; the law counts for 2.5, its df are 4."""
    for seeds in SEEDS:
        study = load_study(four_tricks, seeds=seeds)
        resolved = resolve(study, data_root=four_tricks.parent, command="", allow_missing_data=True)
        imagenette, imagewoof = resolutions(resolved, None)
        assert imagenette.comparisons == imagewoof.comparisons == 5
        assert imagenette.noise == pytest.approx(100 * math.sqrt(0.1 / (2 * 3925)))
        assert imagewoof.noise == pytest.approx(100 * math.sqrt(0.2 / (2 * 3929)))
        for n, value in imagenette.by_seeds.items():
            own = (n - 1) / (2.5 + n - 1)
            df = min(4 + n - 1, 1 / ((1 - own**2) / (4 * (n - 1)) + own**2 / (n - 1)))
            se = imagenette.noise * math.sqrt(2 / n)
            assert value == pytest.approx(smallest_seen(se, df, 5), rel=1e-4)


def test_rows_of_the_same_trials_are_no_comparison(four_tricks: Path) -> None:
    study = load_study(four_tricks)
    resolved = resolve(study, data_root=four_tricks.parent, command="", allow_missing_data=True)
    table = resolved.tables[0]
    rows = list(table.rows)
    assert family(table) == (5, 5)
    # as linear scaling at batch 256: the second row is the baseline's trials
    rows[1] = rows[1].model_copy(update={"keys": rows[0].keys, "same_as": 0})
    assert family(table.model_copy(update={"rows": tuple(rows)})) == (4, 4)
    # one trick: the total is the same comparison
    assert family(table.model_copy(update={"rows": table.rows[:2]})) == (2, 1)


def test_seeds_that_are_shown_begin_with_the_declared() -> None:
    assert seeds_to_show(3) == (3, 5, 10, 20)
    assert seeds_to_show(4) == (4, 5, 10, 20)
    assert seeds_to_show(1)[0] == 2


def in_process(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """The command line in this process, which has torch already."""
    code = main([str(argument) for argument in arguments])
    return code, *capfd.readouterr()


def test_plan_of_missing_data_shows_rows_and_says_so(
    four_tricks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    empty = four_tricks.parent
    store = empty / "no-store"
    code, out, _ = in_process(capfd, "plan", four_tricks, "--data", empty, "--store", store)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "four · resnet8 · 1 epoch · batch 16 · lr 0.025 · 8 px · seeds 0–1 · exact"
    assert lines[1] == f"store {store}"
    assert lines[3].split() == [
        "row", "changes", "from", "the", "row", "above", "imagenette", "imagewoof",
    ]  # fmt: skip
    assert lines[5].split() == ["0", "baseline", "○○", "○○"]
    assert "γ 1 → 0 in 3 batch norms" in lines[9]  # counted on the model
    assert "20 trials: ● 0 done, ○ 20 new" in lines
    assert any(line.startswith("Time unknown here: ") for line in lines)
    assert any("imagenette (160 px) is not in" in line for line in lines)
    assert any(line.startswith("! fp16 on this CPU is slow") and "bf16" in line for line in lines)


def test_sharing_time_and_near_misses(
    store: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store)
    monkeypatch.delenv("ABLATE_STORE", raising=False)
    other = STUDY.replace('"warmup", "mixup"', '"mixup"')
    (store / "other.toml").write_text(other)
    _, shared, _ = in_process(capfd, "plan", "other.toml", "--limit", "40")
    assert "4 trials: ● 0 done, ◆ 2 shared (baseline, trained by study), ○ 2 new" in shared
    assert "About " in shared
    assert "from 6 trials of this model and size on it" in shared
    changed = ("--set", "recipe.weight_decay=0.5")
    _, near, _ = in_process(capfd, "plan", "study.toml", "--limit", "40", *changed)
    assert "6 stored trials differ only in recipe.weight_decay (0.0001 there, 0.5 here)" in near
    document = json.loads(in_process(capfd, "plan", "study.toml", "--limit", "40", "--json")[1])
    assert len(document["done"]) == 6
    assert document["new"] == []
    assert not (store / "ablate-results" / "studies" / "other").exists()  # plan writes nothing


def test_a_trick_that_does_nothing_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = STUDY.replace('"mixup"]', '"zero_gamma"]').replace("resnet8", "vgg11_bn")
    (tmp_path / "vgg.toml").write_text(text)
    for command in ("plan", "run"):
        code, out, err = in_process(capfd, command, "vgg.toml", "--store", tmp_path / "store")
        assert code == 2
        assert "zero_gamma has no effect on vgg11_bn" in err
        assert out == ""


def test_hooks_of_a_row_in_execution_order() -> None:
    catalogue = load_catalogue(bundled_only=True)
    tricks = [catalogue.load(n).cls() for n in ("zero_gamma", "mixup", "fp16", "warmup")]
    lines = hook_lines(tricks, Recipe(model="resnet50_v1"))
    assert lines == [
        "build  build_model     resnet50_v1 (zoo)     step  augmentations   crop → flip → norm",
        "       init_model      recipe → zero_gamma         encode_targets  one-hot",
        "       build_schedule  step → warmup               batch_mixers    mixup",
        "       precision       fp16 *                      forward, loss, optimizer: default",
    ]


def test_work_without_a_store_is_all_new(four_tricks: Path) -> None:
    study = load_study(four_tricks)
    resolved = resolve(study, data_root=four_tricks.parent, command="", allow_missing_data=True)
    work = survey(resolved, None)
    assert work.counts() == "20 trials, 20 to train"
    assert work.to_train == resolved.order
