"""`ablate verify`: real retrainings through the command line, and comparisons with planted ones."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ablate.session.retrain import cheapest
from ablate.session.verify import compare
from ablate.store import attempt_reader
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store, TrialResult
from tests.helpers.cli_process import STUDY, Cli, run_cli
from tests.helpers.small_stores import IMAGES, MACHINE, make_trial, new_store, train


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def keys(folder: Path) -> list[str]:
    return Store.open(folder / "ablate-results", create=False).keys()


def kept(folder: Path, row: str) -> Path:
    """The finished attempt of a row's first seed."""
    done = run_cli("logs", f"study:{row}/digits/0", "--path", cwd=folder)
    assert done.returncode == 0, done.stderr
    return Path(folder, done.stdout.strip()).parent


def test_a_finished_trial_trains_to_the_same_bits_again(
    cli: Cli, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    results = store / "ablate-results"
    before = contents(results)
    done = cli("verify", "study:mixup/digits/0", "--store", results)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "identical: 1 epoch, 400 scores\n"  # 40 images × 10 classes
    assert " digits · + mixup · seed 0 · 1 epoch · exact numerics on cpu" in done.stderr
    assert contents(results) == before
    assert list(scratch.iterdir()) == []


def test_a_trial_of_before_a_metric_was_added_is_still_confirmed(cli: Cli, store: Path) -> None:
    attempt = kept(store, "baseline")
    start, line = (attempt / "metrics.jsonl").read_text().splitlines()
    record = json.loads(line)
    ending = json.loads((attempt / "done.json").read_text())
    del record["metrics"]["top5"], ending["final"]["top5"]
    (attempt / "metrics.jsonl").write_text(f"{start}\n{json.dumps(record)}\n")
    (attempt / "done.json").write_text(json.dumps(ending))
    done = cli("verify", "study:baseline/digits/0", "--store", store / "ablate-results")
    assert done.returncode == 0, done.stdout
    assert done.stdout == "identical: 1 epoch, 400 scores\n"
    assert "measured now and not then: top5" in done.stderr


def test_a_changed_result_is_found_and_told(cli: Cli, store: Path) -> None:
    """One bit of one score, one metric of the only epoch, and another version on record."""
    attempt = kept(store, "warmup")
    start, line = (attempt / "metrics.jsonl").read_text().splitlines()
    record = json.loads(line)
    true = record["metrics"]["train_loss"]
    record["metrics"]["train_loss"] = true + 0.25
    (attempt / "metrics.jsonl").write_text(f"{start}\n{json.dumps(record)}\n")
    with np.load(attempt / "predictions.npz") as arrays:
        saved = dict(arrays)
    saved["scores"].view(np.uint32)[3, 5] ^= 1
    np.savez(attempt / "predictions.npz", **saved)
    environment = json.loads((attempt / "environment.json").read_text())
    now = environment["torch"]
    (attempt / "environment.json").write_text(json.dumps(environment | {"torch": "1.0.0"}))

    place = ("--store", store / "ablate-results")
    done = cli("verify", "study:warmup/digits/0", *place)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "differs from epoch 1 of 1 on"
    assert lines[1] == "the kept ending and the kept last epoch say different numbers"
    assert lines[3].split() == ["train_loss", "1", repr(true + 0.25), repr(true), "0.25"]
    assert lines[4].startswith("1 of 400 scores differ, by up to ")
    assert lines[4].endswith("; 0 of 40 predictions are another class")
    assert lines[5] == f"the likely reason: torch 1.0.0 → {now}"


@pytest.mark.long
def test_a_student_is_taught_by_the_kept_teacher(tmp_path: Path) -> None:
    text = STUDY.replace('["warmup", "mixup"]', '["distill"]').replace(
        "seeds    = 2", "seeds    = 1"
    )
    text = text.replace("warmup = { epochs = 0.5 }", 'distill = { teacher = "@big" }')
    (tmp_path / "study.toml").write_text(f'{text}\n[trial.big]\nrecipe.model = "resnet8"\n')
    done = run_cli("run", "study.toml", "--limit", "40", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_cli("verify", "study:distill/digits/0", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["identical"]
    assert document["scores"] == 400


# ---------------------------------------------------------------------------------- comparing


def attempt(
    store: Store,
    curve: list[float],
    scores: np.ndarray,
    seed: int = 0,
    more: Mapping[str, float] | None = None,
    **machine: object,
) -> TrialResult:
    trial = make_trial(seed)
    store.register(trial, "digits · seed 0")
    attempt_reader.retire(store.path, trial.key)
    with Attempt.begin(store.path, trial.key) as written:
        for epoch, loss in enumerate(curve, 1):
            metrics = {"loss": loss, "top1": 0.5, **(more or {})}
            written.record("epoch", epoch=epoch, metrics=metrics, seconds=1.0)
        written.save_environment(MACHINE | machine)
        written.save_predictions(range(IMAGES), [0] * IMAGES, scores)
        written.finish("done", examples=IMAGES)
    result = store.result(trial.key)
    assert result is not None
    return result


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Store, Store]:
    return new_store(tmp_path / "a"), new_store(tmp_path / "b")


def test_equal_attempts_are_identical_also_where_a_number_is_not_finite(
    pair: tuple[Store, Store],
) -> None:
    scores = np.random.default_rng(0).random((IMAGES, 10), dtype=np.float32)
    found = compare(*(attempt(s, [1.0, math.nan, 0.5], scores) for s in pair))
    assert found.identical
    assert (found.epochs, found.scores, found.recorded) == (3, IMAGES * 10, {})


def test_a_metric_that_came_later_is_nothing_to_compare(pair: tuple[Store, Store]) -> None:
    scores = np.zeros((IMAGES, 10), dtype=np.float32)
    before, now = (
        attempt(store, [1.0, 0.5], scores, more=more)
        for store, more in zip(pair, ({}, {"recall": 0.5}), strict=True)
    )
    found = compare(before, now)
    assert (found.identical, found.unkept) == (True, ("recall",))
    lost = compare(now, before)  # what is kept and cannot be told again is not confirmed
    assert (lost.identical, lost.unkept) == (False, ())
    assert [(m.metric, m.stored, m.now) for m in lost.metrics] == [("recall", 0.5, None)]


def test_size_and_place_of_differences_are_numpys(pair: tuple[Store, Store]) -> None:
    generator = np.random.default_rng(1)
    mine = generator.random((IMAGES, 10), dtype=np.float32)
    other = mine.copy()
    other[2] = generator.random(10, dtype=np.float32)
    other[7, 3] += np.float32(2)  # becomes the best class
    curves = [1.0, 0.9, 0.8, 0.7], [1.0, 0.9, 0.85, 0.6]
    one, two = pair
    found = compare(
        attempt(one, curves[0], mine),
        attempt(two, curves[1], other, torch="2.9.0", host="elsewhere"),
    )
    assert not found.identical
    (metric,) = found.metrics
    assert (metric.metric, metric.epoch, metric.stored, metric.now) == ("loss", 3, 0.8, 0.85)
    assert metric.largest == pytest.approx(np.abs(np.subtract(*curves)).max())
    assert found.scores_differ == int((mine != other).sum())
    assert found.largest_score == pytest.approx(np.abs(mine.astype(float) - other).max())
    assert found.predictions_differ == int((mine.argmax(1) != other.argmax(1)).sum()) > 0
    assert found.recorded == {"torch": ("2.8.0", "2.9.0"), "host": ("lab-7", "elsewhere")}


def test_what_is_missing_or_damaged_is_no_identity(pair: tuple[Store, Store]) -> None:
    scores = np.ones((IMAGES, 10), dtype=np.float32)
    one, two = pair
    short, whole = attempt(one, [1.0], scores), attempt(two, [1.0, 0.5], scores)
    assert compare(short, whole).missing[0] == "1 epochs are kept, training gives 2"
    (short.lines.parent / "predictions.npz").write_bytes(b"PK\x03\x04 nothing")
    assert "the kept predictions cannot be read" in compare(short, whole).missing[1]


# ----------------------------------------------------------------------------- what is refused


def test_without_an_address_it_is_the_cheapest(tmp_path: Path) -> None:
    store = new_store(tmp_path / "ablate-results")
    train(store, make_trial(0), 0.8, seconds=2.0)
    quick = train(store, make_trial(1), 0.8, seconds=0.5)
    train(store, make_trial(2), 0.8, seconds=0.1, status="failed")
    train(store, make_trial(3, teacher="f" * 64), 0.8, seconds=0.1)  # whose teacher is gone
    assert cheapest(store) == quick


def test_refusals(cli: Cli, tmp_path: Path) -> None:
    store = new_store(tmp_path / "ablate-results")

    def said(*arguments: str) -> str:
        done = cli("verify", *arguments)
        assert done.returncode == 2, done
        return done.stderr.splitlines()[0]

    assert said() == "error: no finished trial in ablate-results can be trained again here"
    failed = train(store, make_trial(0), 0.8, status="failed")
    assert said(failed[:8]) == (
        f"error: {failed[:6]} digits · seed 0 is failed: only a finished trial can be verified"
    )
    student = train(store, make_trial(1, teacher="f" * 64), 0.8)
    assert "the weights of its teacher ffffff are not in ablate-results" in said(student)
    trial = make_trial(2)
    old = trial.model_copy(update={"engine": 0})
    assert "its engine was 0, this one is 1" in said(train(store, old, 0.8))
    key = train(store, trial, 0.8)
    assert "was trained on cpu and its key says so" in said(key, "--device", "cuda")
    assert said("nothing") == "error: no trial starts with 'nothing'"
