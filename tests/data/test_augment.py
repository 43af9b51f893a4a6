"""Crops, flips, normalisation and resizing against torchvision's."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from ablate.core import rng as streams
from ablate.core.hook_types import Ragged
from ablate.core.recipe import Crop
from ablate.data.augment import (
    CROP_DRAWS,
    crop_boxes,
    horizontal_flip,
    normalise,
    random_resized_crop,
)
from ablate.data.resample import centres, crops, resample_batched, resample_each

SHAPES = [(8, 8), (31, 40), (40, 31), (64, 64), (50, 9), (7, 90), (1, 5), (120, 97)]


def ragged(shapes: list[tuple[int, int]], seed: int = 0) -> Ragged:
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, h * w * 3, dtype=np.uint8) for h, w in shapes]
    # smooth ones as well: noise alone would hide an offset of half a pixel
    for index, (h, w) in enumerate(shapes):
        if index % 2:
            ramp = np.linspace(0, 255, h)[:, None, None] * np.linspace(0, 1, w)[None, :, None]
            images[index] = np.repeat(ramp, 3, axis=2).astype(np.uint8).ravel()
    ends = np.cumsum([len(i) for i in images])
    heights, widths = np.array(shapes, dtype=np.int64).T
    flat = torch.from_numpy(np.concatenate(images))
    return Ragged(flat, ends - heights * widths * 3, heights, widths)


def draws(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return streams.uniforms(streams.stream_key("test", seed), np.arange(count), CROP_DRAWS)


@pytest.mark.parametrize("size", [5, 32, 33])
@pytest.mark.parametrize("crop", [Crop(), Crop(scale=(0.6, 1.0)), Crop(scale=(0.01, 0.1))])
def test_crop_is_torchvisions_resized_crop(size: int, crop: Crop) -> None:
    images = ragged(SHAPES * 4)
    u = draws(len(images))
    ours = random_resized_crop(crop).apply(images, u, size)
    boxes = crop_boxes(u, images.heights, images.widths, crop)
    batched = resample_batched(images, crops(*boxes, size), size)
    assert ours.dtype == batched.dtype == torch.uint8
    for index, box in enumerate(zip(*(column.tolist() for column in boxes), strict=True)):
        theirs = tv.resized_crop(images[index], *box, [size, size], antialias=True)
        assert torch.equal(ours[index], theirs)
        assert (batched[index].int() - theirs.int()).abs().max() <= 1


@pytest.mark.parametrize(("resize", "size"), [(37, 32), (37, 31), (16, 16), (20, 13)])
def test_centres_are_torchvisions_resize_and_center_crop(resize: int, size: int) -> None:
    images = ragged([shape for shape in SHAPES if min(shape) > 1])
    views = centres(images.heights, images.widths, resize, size)
    each, batched = resample_each(images, views, size), resample_batched(images, views, size)
    for index in range(len(images)):
        resized = tv.resize(images[index], [resize], antialias=True)
        theirs = tv.center_crop(resized, [size, size])
        assert torch.equal(each[index], theirs)
        assert (batched[index].int() - theirs.int()).abs().max() <= 1


def test_batched_is_torchvisions_float_resize_rounded() -> None:
    """The batched form has no rounding between its passes, as torchvision has none in floats."""
    images = ragged(SHAPES * 4)
    boxes = crop_boxes(draws(len(images)), images.heights, images.widths, Crop())
    ours = resample_batched(images, crops(*boxes, 24), 24)
    for index, box in enumerate(zip(*(column.tolist() for column in boxes), strict=True)):
        theirs = tv.resized_crop(images[index].float(), *box, [24, 24], antialias=True)
        assert (ours[index].float() - theirs).abs().max() <= 0.5 + 1e-3


def test_large_batches_are_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from ablate.data import resample

    images = ragged(SHAPES)
    views = crops(*crop_boxes(draws(8), images.heights, images.widths, Crop()), 16)
    whole = resample_batched(images, views, 16)
    monkeypatch.setattr(resample, "_CHUNK", 2000)
    assert len(resample._chunks(views.height, 48)) > 3
    assert torch.equal(resample_batched(images, views, 16), whole)


@pytest.mark.parametrize(("height", "width"), [(160, 213), (213, 160), (32, 32), (60, 200)])
def test_boxes_have_torchvisions_distribution(height: int, width: int) -> None:
    from scipy.stats import ks_2samp

    crop, count = Crop(scale=(0.3, 1.0)), 3000
    heights, widths = np.full(count, height), np.full(count, width)
    ours = crop_boxes(draws(count, seed=5), heights, widths, crop)
    generator_state = torch.get_rng_state()
    torch.manual_seed(1)
    image = torch.empty(3, height, width)
    theirs = np.array(
        [
            RandomResizedCrop.get_params(image, list(crop.scale), list(crop.ratio))
            for _ in range(count)
        ]
    )
    torch.set_rng_state(generator_state)
    for mine, its in zip(ours, theirs.T, strict=True):
        assert (
            ks_2samp(mine, its, method="asymp").pvalue > 0.01
        )  # streams and seed are fixed: no flakiness
    area = ours[2] * ours[3]
    assert ks_2samp(area, theirs[:, 2] * theirs[:, 3], method="asymp").pvalue > 0.01
    assert (ours[0] + ours[2] <= height).all()
    assert (ours[1] + ours[3] <= width).all()


@pytest.mark.parametrize(("height", "width"), [(10, 1000), (1000, 10), (2, 90), (1, 1), (1, 7)])
def test_fallback_is_torchvisions(height: int, width: int) -> None:
    crop = Crop(scale=(0.95, 1.0))
    ours = crop_boxes(draws(20), np.full(20, height), np.full(20, width), crop)
    image = torch.empty(3, height, width)
    theirs = RandomResizedCrop.get_params(image, list(crop.scale), list(crop.ratio))
    assert set(zip(*(column.tolist() for column in ours), strict=True)) == {theirs}


def test_flip_is_torchvisions_with_its_probability() -> None:
    images = torch.randint(0, 256, (4000, 3, 2, 3), dtype=torch.uint8)
    u = streams.uniforms(streams.stream_key("flip"), np.arange(4000), 1)
    before = images.clone()
    flipped = horizontal_flip(0.3).apply(images, u, 2)
    assert torch.equal(images, before)
    chosen = torch.from_numpy(u[:, 0] < 0.3)
    assert torch.equal(flipped[chosen], tv.horizontal_flip(images[chosen]))
    assert torch.equal(flipped[~chosen], images[~chosen])
    assert abs(chosen.float().mean() - 0.3) < 4 * (0.3 * 0.7 / 4000) ** 0.5
    assert torch.equal(horizontal_flip(0.0).apply(images, u, 2), images)
    assert torch.equal(horizontal_flip(1.0).apply(images, u, 2), tv.horizontal_flip(images))


def test_normalise_is_the_plain_formula_to_the_bit() -> None:
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    images = torch.randint(0, 256, (5, 3, 9, 7), dtype=torch.uint8)
    ours = normalise(mean, std).apply(images, np.empty((5, 0)), 9)
    m, s = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    assert torch.equal(ours, (images.float() - m) / s)
    assert torch.equal(ours, tv.normalize(images.float(), list(mean), list(std)))
    already = images.float()
    normalise(mean, std).apply(already, np.empty((5, 0)), 9)
    assert torch.equal(already, images.float())


def test_augmentations_are_picklable_and_pure() -> None:
    images, u = ragged(SHAPES), draws(len(SHAPES))
    first, second = (random_resized_crop(Crop()).apply(images, u, 16) for _ in range(2))
    assert torch.equal(first, second)
    again = pickle.loads(pickle.dumps(random_resized_crop(Crop())))
    assert torch.equal(again.apply(images, u, 16), first)
    for other in (horizontal_flip(0.5), normalise((1, 2, 3), (4, 5, 6))):
        copy = pickle.loads(pickle.dumps(other))
        assert torch.equal(copy.apply(first, u, 16), other.apply(first, u, 16))
