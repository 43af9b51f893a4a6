"""The tenths of train that settings are chosen on: which images, and never a test image."""

from __future__ import annotations

import dataclasses
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from ablate.core.recipe import Recipe
from ablate.core.trial import DatasetRef, Numerics, Trial, TrickSpec
from ablate.data import catalogue
from ablate.data.arrays import ImageArrays, digits
from ablate.data.cache import ensure_cache, open_cache
from ablate.data.dataset import CachedDataset
from ablate.data.evaluation import EvalImages
from ablate.data.loader import open_data
from ablate.data.splits import held_out, limited
from ablate.engine.loop import train
from ablate.engine.recorder import Memory
from ablate.errors import AblateError
from tests.helpers.data_samples import write_images
from tests.helpers.support import CPU, recipe


def digits_with(limit: int | None = None, one_in: int | None = 10, fold: int = 0) -> CachedDataset:
    return ensure_cache("digits", None, 8).limited(limit).holding_out(one_in, fold)


@pytest.mark.parametrize("limit", [None, 200, 37])
def test_every_class_gives_a_tenth_and_nothing_is_in_both(limit: int | None) -> None:
    whole, parts = digits_with(limit, None), digits_with(limit)
    assert not set(parts.train.ids) & set(parts.eval.ids)
    assert sorted([*parts.train.ids, *parts.eval.ids]) == whole.train.ids.tolist()
    labels = digits().train_labels
    in_all = Counter(np.asarray(labels)[whole.train.ids].tolist())
    in_tenth = Counter(np.asarray(labels)[parts.eval.ids].tolist())
    for name, count in in_all.items():
        assert in_tenth[name] >= 1
        assert abs(in_tenth[name] - count / 10) <= 1  # a class of four gives one
    assert np.array_equal(parts.eval.labels, whole.train.labels)  # indexed as train's


def test_an_unbalanced_class_neither_vanishes_nor_gives_it_all() -> None:
    labels = np.repeat([0, 1, 2, 3], [1, 2, 15, 1000])
    ids = np.arange(len(labels))
    taken = Counter(labels[held_out(labels, ids)].tolist())
    assert taken == {1: 1, 2: 2, 3: 100}  # of one image none can be spared; 1.5 rounds up
    with pytest.raises(AblateError, match="no class has two"):
        held_out(np.arange(5), np.arange(5))


@pytest.mark.parametrize("limit", [None, 200])
def test_the_tenths_are_disjoint_and_together_all_of_train(limit: int | None) -> None:
    whole = digits_with(limit, None).train.ids.tolist()
    labels = np.asarray(digits().train_labels)
    folds = [digits_with(limit, fold=fold) for fold in range(10)]
    tenths = [parts.eval.ids.tolist() for parts in folds]
    assert sorted(i for tenth in tenths for i in tenth) == whole  # each image in one of them
    for parts, tenth in zip(folds, tenths, strict=True):
        assert sorted([*parts.train.ids.tolist(), *tenth]) == whole
        in_all, in_tenth = (Counter(labels[ids].tolist()) for ids in (whole, tenth))
        assert all(abs(in_tenth[name] - count / 10) <= 1 for name, count in in_all.items())
    again = pickle.loads(pickle.dumps(folds[3]))
    assert np.array_equal(again.eval.ids, tenths[3])


def test_a_small_class_gives_one_image_to_each_part_and_keeps_one() -> None:
    labels = np.repeat([0, 1, 2, 3, 4], [1, 2, 9, 10, 11])
    ids = np.arange(len(labels))
    parts = [held_out(labels, ids, fold=fold) for fold in range(10)]
    for part in parts:
        taken = Counter(labels[part].tolist())
        assert taken[0] == 0
        assert all(taken[name] == 1 for name in (1, 2, 3))
        assert taken[4] in (1, 2)
    held = Counter(i for part in parts for i in part.tolist())
    assert sorted(held) == ids[1:].tolist()  # all but the image that is alone
    assert all(held[i] == 1 for i in ids[12:])  # classes of ten and more: each image once
    with pytest.raises(ValueError, match="fold"):
        held_out(labels, ids, fold=10)


def test_the_images_are_the_same_whoever_asks_and_a_fixed_choice() -> None:
    ids = digits_with().eval.ids
    again = pickle.loads(pickle.dumps(digits_with()))  # as a loader's process gets it
    assert np.array_equal(again.eval.ids, ids)
    assert np.array_equal(again.train.ids, digits_with().train.ids)
    # the order of a class's draws, by another way: SplitMix64 of the documented stream
    from ablate.core import rng as streams

    labels = np.asarray(digits().train_labels)
    zeros = np.flatnonzero(labels == 0)
    draws = {
        i: streams.uniforms(streams.stream_key("held out"), np.array([i]), 1).item() for i in zeros
    }
    smallest = sorted(zeros, key=lambda i: draws[i])[: round(len(zeros) / 10)]
    assert sorted(smallest) == [i for i in ids if labels[i] == 0]


def test_splits_of_the_same_length_are_told_apart(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "two", ("a", "b"), 20, 4)
    cached = ensure_cache(f"imagefolder:{folder}", None, 16)
    nine, four = cached.holding_out(10), cached.holding_out(10).eval
    limited_to = cached.limited(len(nine.train))
    assert len(limited_to.train) == len(nine.train)
    assert limited_to.train.address != nine.train.address  # what stays on a GPU between trials
    assert len(cached.eval) > len(four)
    assert len({cached.eval.address, four.address, cached.train.address}) == 3

    def shown(data: CachedDataset) -> torch.Tensor:
        return EvalImages(data, 18, 16, CPU).all()

    test, tenth = shown(cached.limited(len(four))), shown(nine)  # both write their file
    assert len(test) == len(tenth) == 4
    assert not torch.equal(test, tenth)
    assert torch.equal(shown(nine), tenth)
    assert len(sorted(cached.folder.glob("eval-*"))) == 2  # type: ignore[union-attr]


def test_held_out_images_are_evaluated_as_test_images_are(tmp_path: Path) -> None:
    """A folder whose test images are copies of the held-out ones shows the same pixels."""
    folder = write_images(tmp_path / "two", ("a", "b"), 20, 4)
    cached = ensure_cache(f"imagefolder:{folder}", None, 16).holding_out(10)
    for file in folder.glob("val/*/*"):
        file.unlink()
    for index in cached.eval.ids:
        path = folder / cached.eval.paths[index]
        (folder / "val" / path.parent.name / path.name).write_bytes(path.read_bytes())
    copied = ensure_cache(f"imagefolder:{folder}", None, 16)
    assert len(copied.eval) == 4
    assert torch.equal(EvalImages(cached, 18, 16, CPU).all(), EvalImages(copied, 18, 16, CPU).all())


def test_two_parts_are_told_apart_on_disk_and_on_a_device(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "two", ("a", "b"), 20, 4)
    cached = ensure_cache(f"imagefolder:{folder}", None, 16)
    one, other = (cached.holding_out(10, fold) for fold in (0, 1))
    assert len(one.eval) == len(other.eval) == 4
    assert one.eval.address != other.eval.address
    assert one.train.address != other.train.address
    first, second = (EvalImages(data, 18, 16, CPU).all() for data in (one, other))
    assert not torch.equal(first, second)
    assert torch.equal(EvalImages(one, 18, 16, CPU).all(), first)


def trained(name: str, ref: DatasetRef, limit: int | None = 100, seed: int = 0) -> Memory:
    torch.set_num_threads(1)
    made = recipe(epochs=2, lr=0.05)
    memory = Memory()
    cached = open_cache(ref.model_copy(update={"name": name, "limit": limit}), None)
    trial = Trial(recipe=made, dataset=ref, tricks=(), numerics=Numerics(), seed=seed)
    train(trial, (), lambda a: open_data(cached, made, a, seed, CPU), CPU, memory)
    return memory


@pytest.mark.parametrize("seed", [0, 1, 9])
def test_neither_test_images_nor_their_labels_reach_a_trial_that_chooses(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same training images with other test images, with shuffled labels: the same numbers."""
    plain = digits()
    rng = np.random.default_rng(0)
    poisoned = dataclasses.replace(
        plain,
        eval_images=rng.integers(0, 256, np.asarray(plain.eval_images).shape, dtype=np.uint8),
        eval_labels=rng.permutation(np.asarray(plain.eval_labels)),
    )
    sets: dict[str, ImageArrays] = {"a:plain": plain, "a:poisoned": poisoned}
    monkeypatch.setattr(catalogue, "load_arrays", sets.__getitem__)
    monkeypatch.setattr(catalogue, "check_name", lambda name: None)
    refs = {name: ensure_cache(name, None, 8).ref() for name in sets}
    assert refs["a:plain"].fingerprint != refs["a:poisoned"].fingerprint
    part = {"held_out": 10, "fold": seed}
    found, other = (
        trained(name, ref.model_copy(update=part), seed=seed) for name, ref in refs.items()
    )
    measured = [record["metrics"] for record in found.records]
    assert measured == [record["metrics"] for record in other.records]
    assert found.tested is not None
    assert len(found.tested.labels) == 10  # a tenth of the hundred
    # the poison does work where test images are looked at
    first, second = (trained(name, ref) for name, ref in refs.items())
    assert [r["metrics"] for r in first.records] != [r["metrics"] for r in second.records]


def test_keys_are_what_they_were_before_anything_could_be_held_out() -> None:
    """Keys computed by the version before this one."""
    trial = Trial(
        recipe=Recipe(model="resnet18_small", epochs=2),
        dataset=DatasetRef(
            name="digits", fingerprint="f" * 64, decoder="pillow-1", limit=200, num_classes=10
        ),
        tricks=(
            TrickSpec(name="mixup", label="m", source="x", params={"alpha": 0.2}, behaviour="v1"),
        ),
        numerics=Numerics(),
        seed=0,
    )
    assert trial.key == "70fbfe198f0b84d04b6ef29126d815a1d6b38bb256e79a551b47883504eb612b"

    def held(fold: int) -> Trial:
        part = trial.dataset.model_copy(update={"held_out": 10, "fold": fold})
        return trial.model_copy(update={"dataset": part})

    # by the version before there was a second part: what seed 0 chose by is what it chooses by
    assert held(0).key == "4556a21f5703f6a16f05f2b46d7af69231c966f73d6736a17996890165db45bd"
    assert len({trial.key, *(held(fold).key for fold in range(10))}) == 11
    for fold in (0, 4):
        again = Trial.model_validate_json(held(fold).model_dump_json())
        assert (again.key, again.dataset.fold) == (held(fold).key, fold)
    assert "fold" not in held(0).model_dump_json()  # releases that know no fold can read it
    without = trial.dataset.model_copy(update={"limit": None})
    key = trial.model_copy(update={"dataset": without}).key
    assert key == "bb035f15c87b2e22a021556eacc15272d68eacb1ca45f2b4774e20880ef2e1cc"


def test_a_limit_that_leaves_one_image_a_class_is_refused() -> None:
    labels = np.asarray(digits().train_labels, dtype=np.int64)
    assert len(limited(labels, 10, "train")) == 10
    with pytest.raises(AblateError, match="too few to hold some out"):
        _ = digits_with(10).train
