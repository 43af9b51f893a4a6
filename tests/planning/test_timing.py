"""Estimates from trials whose times were made up: what an image, an evaluation and a start take."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ablate.core.trial import DatasetRef, Trial
from ablate.data.fingerprint import identify
from ablate.planning.timing import Timings, sizes
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store
from tests.helpers.data_samples import write_images
from tests.helpers.small_stores import make_trial

TRAIN, EVAL, START = 0.05, 0.01, 3.0  # seconds of an image, and of everything before the first
BATCH = 4


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "decoded"))
    monkeypatch.setattr("platform.node", lambda: "lab-7")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store", create=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """60 images to train on, 15 to evaluate on."""
    return write_images(tmp_path / "animals", ("ant", "bee", "cat"), 20, 5)


def ref(folder: Path, limit: int | None = None, held_out: int | None = None) -> DatasetRef:
    found = identify(f"imagefolder:{folder}", image_size=32, root=None).ref(limit)
    return found.model_copy(update={"held_out": held_out})


def trial(data: DatasetRef, *tricks: str, epochs: int = 5, seed: int = 0) -> Trial:
    made = make_trial(seed, *tricks, epochs=epochs, batch_size=BATCH)
    return made.model_copy(update={"dataset": data})


def seconds(train: int, tested: int, epochs: int) -> float:
    """Of an epoch, start included, by hand."""
    return train * TRAIN + tested * EVAL + START / epochs


def trained(store: Store, done: Trial, train: int, tested: int, *, evaluated: bool = True) -> None:
    """Store it with the times that so many images take; evaluated: as no older release did."""
    store.register(done, "a trial")
    with Attempt.begin(store.path, done.key) as attempt:
        for epoch in range(1, done.recipe.epochs + 1):
            more = {"eval_seconds": tested * EVAL} if evaluated else {}
            times = {"seconds": train * TRAIN, "images": train} | more
            attempt.record("epoch", epoch=epoch, metrics={"top1": 0.5}, **times)
        attempt.save_environment({"host": "lab-7", "device_name": "cpu"})
        attempt.finish("done", examples=tested)
    end = attempt.path / "done.json"
    document = json.loads(end.read_text())
    took = timedelta(seconds=seconds(train, tested, done.recipe.epochs) * done.recipe.epochs)
    document["finished"] = (datetime.fromisoformat(document["started"]) + took).isoformat()
    end.write_text(json.dumps(document))


def estimate(store: Store, wanted: Trial) -> float | None:
    return Timings(store, ["cpu"]).epoch_seconds(wanted)


def test_of_a_limited_run_the_whole_follows(store: Store, folder: Path) -> None:
    trained(store, trial(ref(folder, limit=12), epochs=2), 12, 12)
    found = estimate(store, trial(ref(folder), epochs=5))
    # An unknown number of images stood in as 1: this was the time of one image.
    assert found == pytest.approx(seconds(60, 15, 5), rel=0.01)


def test_of_the_whole_a_limited_run_follows(store: Store, folder: Path) -> None:
    trained(store, trial(ref(folder), epochs=5), 60, 15)
    found = estimate(store, trial(ref(folder, limit=12), epochs=2))
    assert found == pytest.approx(seconds(12, 12, 2), rel=0.01)


def test_tricks_that_were_not_trained_take_what_the_data_takes(store: Store, folder: Path) -> None:
    trained(store, trial(ref(folder)), 60, 15)
    assert estimate(store, trial(ref(folder), "mixup")) == pytest.approx(seconds(60, 15, 5))
    trained(store, trial(ref(folder, limit=12), "mixup"), 24, 24)  # which takes twice as long
    found = estimate(store, trial(ref(folder), "mixup"))
    assert found == pytest.approx(seconds(60, 15, 5), rel=0.01)


def test_a_tenth_held_out(store: Store, folder: Path) -> None:
    trained(store, trial(ref(folder)), 60, 15)
    found = estimate(store, trial(ref(folder, held_out=10)))
    # 6 of 60 are evaluated on; of 54 a batch of four leaves two over
    assert found == pytest.approx(seconds(52, 6, 5), rel=0.01)


def test_a_copy_counts_by_its_own_images(store: Store, tmp_path: Path) -> None:
    from tests.helpers.data_samples import WOOF

    write_images(tmp_path / "root" / "imagewoof2-160", WOOF, 4, 2)
    here = identify("imagewoof", image_size=128, root=tmp_path / "root").ref(None)
    found = sizes(trial(here))
    assert found is not None
    assert (found.train, found.eval) == (40, 20)  # not the published 9,025 and 3,929
    gone = here.model_copy(update={"fingerprint": "elsewhere"})
    published = sizes(trial(gone))
    assert published is not None
    assert (published.train, published.eval) == (9024, 3929)


def test_no_estimate_where_a_size_or_a_time_is_unknown(store: Store, folder: Path) -> None:
    own = DatasetRef(name="pkg:data", fingerprint="f", decoder="d", num_classes=3)
    trained(store, trial(ref(folder)), 60, 15)
    timings = Timings(store, ["cpu"])
    assert timings.epoch_seconds(trial(own)) is None
    assert timings.untold
    assert timings.used == 0
    # Its own time is known, whatever its size is.
    trained(store, trial(own), 60, 15)
    assert estimate(store, trial(own)) == pytest.approx(seconds(60, 15, 5), rel=0.01)


def test_old_lines_without_times_of_evaluation_tell_nothing_of_other_sizes(
    store: Store, folder: Path
) -> None:
    trained(store, trial(ref(folder, limit=12)), 12, 12, evaluated=False)
    assert estimate(store, trial(ref(folder))) is None
    again = estimate(store, trial(ref(folder, limit=12)))
    assert again == pytest.approx(seconds(12, 12, 5), rel=0.01)


def test_a_resumed_trial_counts_with_its_evaluations(store: Store, folder: Path) -> None:
    done = trial(ref(folder))
    trained(store, done, 60, 15)
    end = next(store.path.rglob("done.json"))
    end.write_text(json.dumps(json.loads(end.read_text()) | {"continues": "another"}))
    assert estimate(store, done) == pytest.approx(60 * TRAIN + 15 * EVAL)


def test_test_images_of_a_plan_are_those_that_are_there(folder: Path, tmp_path: Path) -> None:
    """A limit of 30 leaves 15 evaluation images, not 30, to judge seeds by."""
    from ablate.planning.plan import make_plan
    from ablate.study import load_study

    (tmp_path / "my.toml").write_text(
        f'[study]\ndatasets = ["imagefolder:{folder}"]\nseeds = 2\nstack = ["warmup"]\n'
        '[recipe]\nmodel = "resnet8"\nepochs = 1\nimage_size = 32\nbatch_size = 6\n'
    )
    study = load_study(tmp_path / "my.toml", limit=30)
    plan = make_plan(study, store=tmp_path / "none", command="plan")
    assert {one.images for one in plan.resolutions} == {15}
