"""What a training image costs the processor when a GPU augments, against torchvision's pipeline.

On a GPU: the process's CPU time for the engine's training batches, a few at a time, so that no
launch has to wait for the device; waiting for it afterwards is not counted. On a CPU only what the
host does itself: the order, the draws, the boxes and the indices. Launches are missing there, so
that figure is a lower bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from contenders.reference import cycled, folder, train_preset
from measure import Bar, Result, Row, wait
from place import Place
from torch.utils.data import DataLoader

from ablate.baseline import Baseline
from ablate.core import rng
from ablate.data.augment import CROP_DRAWS, crop_boxes
from ablate.data.loader import open_data
from ablate.data.resample import crops


def measure(place: Place) -> Result:
    """CPU seconds per image of both, in turn."""
    torch.set_num_threads(1)
    size, batch = place.pick(gpu=(128, 256), cpu=(128, 256), tiny=(16, 8))
    cuda = place.device.type == "cuda"
    own = on_device(place, size, batch) if cuda else on_host(place, size, batch)
    images = folder(place.images / "train", train_preset(size, "pil"))
    pipeline = cycled(DataLoader(images, batch_size=64 if not place.tiny else 8, shuffle=True))
    ours, theirs = [], []
    for number in range(2 if place.tiny else max(place.repeats, 12) + 2):
        one = own()
        began, count = time.process_time(), 0
        while count < (8 if place.tiny else 256):
            count += len(next(pipeline)[0])
        other = (time.process_time() - began) / count
        if number > (0 if place.tiny else 1):
            ours.append(one)
            theirs.append(other)
    what = "CPU time per image, GPU augments" if cuda else "CPU time per image, host's part alone"
    shares = [a / b for a, b in zip(ours, theirs, strict=True)]
    result = Result(
        [
            Row(
                f"{what} ÷ torchvision's pipeline, {size} px",
                shares,
                bar=Bar("≤", 0.02) if cuda else None,
            ),
            Row(f"{what}, {size} px, batch {batch}", [1e6 * s for s in ours], "µs"),
            Row(f"CPU time per image, PIL pipeline, {size} px", [1e6 * s for s in theirs], "µs"),
        ]
    )
    if not cuda:
        result.notes.append("a lower bound: without a GPU there are no launches to count")
    return result


def on_device(place: Place, size: int, batch: int) -> Callable[[], float]:
    """CPU seconds per image of the real path, two batches at a time."""
    recipe = place.recipe("resnet50", size, batch)
    data = open_data(
        place.cached(), recipe, Baseline().augmentations(recipe), 0, place.device,
        channels_last=True,
    )  # fmt: skip

    def batches() -> Iterator[object]:
        epoch = 0
        while True:
            yield from data.train_batches(epoch, size)
            epoch += 1

    coming = batches()

    def once() -> float:
        wait(place.device)
        began = time.process_time()
        for _ in range(2):
            next(coming)
        took = time.process_time() - began
        wait(place.device)
        return took / (2 * batch)

    return once


def on_host(place: Place, size: int, batch: int) -> Callable[[], float]:
    """CPU seconds per image of one epoch's order, draws, boxes and indices."""
    cached = place.cached()
    split = cached.train
    recipe = place.recipe("resnet50", size, batch)
    crop, flip = recipe.crop, recipe.flip
    assert crop is not None
    assert flip is not None
    epochs = iter(range(10**9))

    def once() -> float:
        began, epoch = time.process_time(), next(epochs)
        order = split.ids[rng.permutation(rng.stream_key(0, "order", epoch), len(split))]
        for start in range(0, len(order), batch):
            ids = order[start : start + batch]
            draws = rng.uniforms(rng.stream_key(0, "augment", "crop", epoch), ids, CROP_DRAWS)
            boxes = crop_boxes(draws, split.heights[ids], split.widths[ids], crop)
            views = crops(*boxes, size)
            stride = split.widths[ids] * 3
            _ = split.offsets[ids] + views.top * stride + views.left * 3
            flips = rng.uniforms(rng.stream_key(0, "augment", "flip", epoch), ids, 1)
            np.flatnonzero(flips[:, 0] < flip)
        return (time.process_time() - began) / len(order)

    return once
