"""A trial's batches: which images, in which order, the same bits whoever makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from ablate.core import rng
from ablate.core.hook_types import Augmentation
from ablate.core.recipe import Crop, Recipe
from ablate.data.augment import crop_boxes, horizontal_flip, normalise, random_resized_crop
from ablate.data.cache import ensure_cache
from ablate.data.catalogue import dataset_info
from ablate.data.dataset import CachedDataset
from ablate.data.device_copy import Mapped, Resident, Sent
from ablate.data.loader import RawBatch, TrialData, open_data
from ablate.errors import AblateError
from tests.helpers.data_samples import write_images

CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path: Path) -> CachedDataset:
    """46 training and 22 evaluation images of two classes, of many sizes."""
    folder = write_images(tmp_path / "two", ("a", "b"), 23, 11)
    return ensure_cache(f"imagefolder:{folder}", None, 16)


def recipe(**changes: Any) -> Recipe:
    plain = Recipe(
        model="any",
        batch_size=8,
        image_size=16,
        eval_size=16,
        eval_resize=18,
        crop=Crop(),
        flip=0.5,
        mean=(120.0, 110.0, 100.0),
        std=(60.0, 50.0, 40.0),
    )
    return plain.model_copy(update=changes)


def baseline(recipe: Recipe) -> list[Augmentation]:
    assert recipe.crop
    assert recipe.flip is not None
    assert recipe.mean
    assert recipe.std
    return [
        normalise(recipe.mean, recipe.std),
        random_resized_crop(recipe.crop),
        horizontal_flip(recipe.flip),
    ]


def opened(data: CachedDataset, *more: Augmentation, seed: int = 0, **options: Any) -> TrialData:
    r = options.pop("recipe", recipe())
    return open_data(data, r, [*baseline(r), *more], seed, CPU, **options)


def same(ours: Sequence[RawBatch], theirs: Sequence[RawBatch]) -> bool:
    return len(ours) == len(theirs) and all(
        np.array_equal(a.ids, b.ids)
        and torch.equal(a.images, b.images)
        and torch.equal(a.labels, b.labels)
        for a, b in zip(ours, theirs, strict=True)
    )


def test_counts(data: CachedDataset) -> None:
    trial = opened(data)
    assert (trial.num_classes, trial.train_count, trial.eval_count) == (2, 46, 22)
    assert trial.steps_per_epoch == 5


def test_batches_are_torchvisions_operations_one_image_at_a_time(data: CachedDataset) -> None:
    r = recipe()
    (epoch, seed, n) = (3, 7, 46)
    order = rng.permutation(rng.stream_key(seed, "order", epoch), n)
    everyone = np.arange(n)
    crop_u = rng.uniforms(rng.stream_key(seed, "augment", "crop", epoch), everyone, 22)
    flip_u = rng.uniforms(rng.stream_key(seed, "augment", "flip", epoch), everyone, 1)
    train = data.train
    boxes = np.stack(crop_boxes(crop_u, train.heights, train.widths, Crop()), axis=1)
    batches = list(opened(data, seed=seed).train_batches(epoch, 16))
    assert len(batches) == 5
    for number, batch in enumerate(batches):
        assert batch.ids.tolist() == order[8 * number : 8 * number + 8].tolist()
        assert batch.ids.dtype == np.int64
        assert (batch.images.dtype, batch.labels.dtype) == (torch.float32, torch.int64)
        assert batch.labels.tolist() == train.labels[batch.ids].tolist()
        for image, index in zip(batch.images, batch.ids.tolist(), strict=True):
            native = torch.from_numpy(train.image(index).copy()).permute(2, 0, 1)
            expected = tv.resized_crop(native, *boxes[index].tolist(), [16, 16], antialias=True)
            if flip_u[index, 0] < 0.5:
                expected = tv.horizontal_flip(expected)
            expected = tv.normalize(expected.float(), list(r.mean or ()), list(r.std or ()))
            assert torch.equal(image, expected)


def test_order(data: CachedDataset) -> None:
    orders = {}
    for seed in (0, 1):
        for epoch in (0, 1):
            batches = opened(data, seed=seed).train_batches(epoch, 16)
            ids = np.concatenate([batch.ids for batch in batches])
            assert len(set(ids.tolist())) == 40  # each image at most once
            orders[seed, epoch] = ids.tolist()
    assert len({tuple(order) for order in orders.values()}) == 4


def test_size_may_change_by_epoch(data: CachedDataset) -> None:
    trial = opened(data)
    small, large = (list(trial.train_batches(1, size)) for size in (9, 24))
    assert small[0].images.shape == (8, 3, 9, 9)
    assert large[0].images.shape == (8, 3, 24, 24)
    assert np.array_equal(small[2].ids, large[2].ids)


def test_workers_make_the_same_bits_and_touch_no_generator(data: CachedDataset) -> None:
    state = torch.get_rng_state()
    alone, helped = opened(data, seed=4), opened(data, seed=4, workers=2)
    for epoch, size in ((0, 16), (1, 16), (2, 20)):
        expected = list(alone.train_batches(epoch, size))
        assert same(list(helped.train_batches(epoch, size)), expected)
    started = helped.train_batches(3, 16)
    next(started)
    del started  # stopped in the middle of an epoch, as an interrupted trial does
    assert same(list(helped.train_batches(0, 16)), list(alone.train_batches(0, 16)))
    pairs = zip(helped.clean_batches(6), alone.clean_batches(6), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    helped.close()
    helped.close()
    assert torch.equal(torch.get_rng_state(), state)


def test_digits_with_workers() -> None:
    info = dataset_info("digits")
    sizes = {"batch_size": 64, "image_size": 32, "eval_size": 32, "eval_resize": 37}
    r = recipe(**sizes, crop=info.crop, flip=0.0, mean=info.mean, std=info.std)
    cached = ensure_cache("digits", None, 32).limited(200)
    alone, helped = (opened(cached, recipe=r, workers=workers) for workers in (0, 2))
    expected = list(alone.train_batches(0, 32))
    assert same(list(helped.train_batches(0, 32)), expected)
    helped.close()
    pixels = torch.cat([batch.images for batch in expected])
    assert abs(pixels.mean()) < 0.2
    assert 0.7 < pixels.std() < 1.1


def double(images: Tensor, u: np.ndarray[Any, Any], size: int) -> Tensor:
    return images * 2 + torch.from_numpy(u[:, :1, None, None]).float()


def unchanged(images: Tensor, u: np.ndarray[Any, Any], size: int) -> Tensor:
    return images


def fails(images: Tensor, u: np.ndarray[Any, Any], size: int) -> Tensor:
    raise AblateError("augmentation 'fails' cannot go on")


def forgets(images: Tensor, u: np.ndarray[Any, Any], size: int) -> None:
    return None


def shrinks(images: Tensor, u: np.ndarray[Any, Any], size: int) -> Tensor:
    return images[:, :, 1:]


def test_an_augmentation_more_shifts_no_other_ones_draws(data: CachedDataset) -> None:
    plain = list(opened(data).train_batches(0, 16))
    idle = Augmentation("colour", "idle", 9, unchanged)
    assert same(list(opened(data, idle).train_batches(0, 16)), plain)
    last = Augmentation("erase", "double", 1, double)
    doubled = list(opened(data, last).train_batches(0, 16))
    stream = rng.stream_key(0, "augment", "double", 0)
    for batch, other in zip(plain, doubled, strict=True):
        u = rng.uniforms(stream, batch.ids, 1)
        assert torch.equal(other.images, double(batch.images, u, 16))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (fails, "augmentation 'fails' cannot go on"),
        (forgets, "augmentation 'odd' returned NoneType, expected a tensor"),
        (
            shrinks,
            r"returned torch.float32 \[8, 3, 15, 16\], expected torch.float32 \[8, 3, 16, 16\]",
        ),
    ],
)
def test_an_augmentation_that_fails_is_one_line(
    data: CachedDataset, workers: int, function: Any, message: str
) -> None:
    trial = opened(data, Augmentation("erase", "odd", 1, function), workers=workers)
    with pytest.raises(AblateError, match=message):
        next(trial.train_batches(0, 16))
    trial.close()


def test_pipelines_that_cannot_work(data: CachedDataset) -> None:
    r = recipe()
    with pytest.raises(AblateError, match="'x' has the slot 'color', expected one of geometry, "):
        opened(data, Augmentation("color", "x", 0, unchanged))
    with pytest.raises(AblateError, match="no augmentation of the slot 'geometry'"):
        open_data(data, r, baseline(r)[:1], 0, CPU)


def test_no_full_batch_is_an_error(data: CachedDataset) -> None:
    with pytest.raises(AblateError, match=r"recipe\.batch_size 64 is more than the 46 training"):
        opened(data, recipe=recipe(batch_size=64))
    with pytest.raises(AblateError, match=r"recipe\.batch_size 8 is more than the 6 training"):
        opened(data.limited(6))
    assert opened(data, recipe=recipe(batch_size=46)).steps_per_epoch == 1


def test_limit_keeps_ids_and_their_draws(data: CachedDataset) -> None:
    limited = opened(data.limited(16))
    assert (limited.train_count, limited.eval_count, limited.steps_per_epoch) == (16, 16, 2)
    seen, everyone = (
        {
            index: image
            for batch in trial.train_batches(0, 16)
            for index, image in zip(batch.ids.tolist(), batch.images, strict=True)
        }
        for trial in (limited, opened(data))
    )
    both = set(seen) & set(everyone)
    assert len(seen) == 16
    assert len(both) > 8
    assert all(torch.equal(seen[i], everyone[i]) for i in both)


@pytest.mark.parametrize("batch_size", [8, 11, 40])
def test_evaluation_is_torchvisions_and_padded(data: CachedDataset, batch_size: int) -> None:
    r = recipe(batch_size=batch_size, eval_resize=23, eval_size=20)
    trial = opened(data, recipe=r)
    images, labels = [], []
    for batch, numbers, valid in trial.eval_batches():
        assert batch.shape == (batch_size, 3, 20, 20)
        assert numbers.shape == (batch_size,)
        images.append(batch[:valid])
        labels.append(numbers[:valid])
    assert torch.cat(labels).tolist() == data.eval.labels.tolist()
    for index, image in enumerate(torch.cat(images)):
        native = torch.from_numpy(data.eval.image(index).copy()).permute(2, 0, 1)
        resized = tv.resize(native, [23], antialias=True)
        cut = tv.center_crop(resized, [20, 20]).float()
        assert torch.equal(image, tv.normalize(cut, list(r.mean or ()), list(r.std or ())))
    again = [batch for batch, _, _ in trial.eval_batches()]
    assert torch.equal(torch.cat(again)[: len(data.eval)], torch.cat(images))


def test_evaluation_images_are_never_larger_than_their_source(data: CachedDataset) -> None:
    with pytest.raises(AblateError, match=r"eval_size 16 is more than recipe\.eval_resize 15"):
        opened(data, recipe=recipe(eval_resize=15))


def test_clean_batches_are_fixed_and_not_those_trained_on(data: CachedDataset) -> None:
    trial = opened(data)
    first, again = trial.clean_batches(7), trial.clean_batches(7)
    assert len(first) == 7  # more than an epoch has
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({tuple(batch.flatten().tolist()) for batch in first}) == 7
    trained = [batch.images for epoch in (0, 1) for batch in trial.train_batches(epoch, 16)]
    assert not any(torch.equal(a, b) for a in first for b in trained)
    assert trial.clean_batches(1, size=9)[0].shape == (8, 3, 9, 9)


def test_channels_last(data: CachedDataset) -> None:
    plain, strided = opened(data), opened(data, channels_last=True)
    ours, theirs = next(strided.train_batches(0, 16)), next(plain.train_batches(0, 16))
    assert torch.equal(ours.images, theirs.images)
    assert ours.images.is_contiguous(memory_format=torch.channels_last)
    assert theirs.images.is_contiguous()
    evaluated = next(iter(strided.eval_batches()))[0]
    assert evaluated.is_contiguous(memory_format=torch.channels_last)


def test_every_store_gives_the_same_images(data: CachedDataset) -> None:
    split = data.limited(20).train
    ids = [split.ids[:8], split.ids[[19, 3, 3]], split.ids[8:16], split.ids[16:], split.ids[:1]]
    stores = (Mapped(split), Resident(split, CPU), Sent(split, CPU))
    made = [list(store.batches(ids)) for store in stores]
    for batches in zip(*made, strict=True):
        for index in range(len(batches[0])):
            first, *others = (images[index] for images in batches)
            assert all(torch.equal(first, other) for other in others)
    stopped: Iterator[Any] = stores[2].batches(ids)
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]


def test_unresolved_recipe_is_our_mistake(data: CachedDataset) -> None:
    r = recipe()
    with pytest.raises(ValueError, match="not resolved"):
        open_data(data, r.model_copy(update={"mean": None}), baseline(r), 0, CPU)
