"""The CPU's data path on one core against torchvision's pipelines, on the same JPEGs, in turn.

From the image on disk (theirs: a JPEG, decoded every time; ours: its pixels in the decoded cache)
to a normalised float32 batch of random-resized, flipped crops. One thread, no worker processes.
The page cache is warm for both; what decoding once costs us is in the notes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from contenders.reference import cycled, folder, train_preset
from measure import Bar, Result, Row, ratios
from place import Place
from torch.utils.data import DataLoader

from ablate.baseline import Baseline
from ablate.data.loader import open_data

CPU = torch.device("cpu")


def ours(place: Place, size: int, batch: int) -> Iterator[Any]:
    """The engine's training batches, epoch after epoch."""
    recipe = place.recipe("resnet8", size, batch)
    data = open_data(place.cached(), recipe, Baseline().augmentations(recipe), 0, CPU)
    epoch = 0
    while True:
        yield from data.train_batches(epoch, size)
        epoch += 1


def theirs(place: Place, size: int, batch: int, backend: str) -> Iterator[Any]:
    """Torchvision's, with no workers."""
    images = folder(place.images / "train", train_preset(size, backend), backend)
    return cycled(DataLoader(images, batch_size=batch, shuffle=True, drop_last=True))


def timed(batches: Iterator[Any], count: int) -> tuple[float, float]:
    """(wall, CPU) seconds for the next `count` batches."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        next(batches)
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(place: Place) -> Result:
    """Images per second of each, and the ratios."""
    torch.set_num_threads(1)
    result = Result()
    began = time.perf_counter()
    decoded = place.cached()
    result.notes.append(
        f"decoding {len(decoded.train) + len(decoded.eval)} images once, before: "
        f"{time.perf_counter() - began:.1f} s (0 if an earlier part did it)"
    )
    batch = 64 if not place.tiny else 8
    rounds, count = (2, 1) if place.tiny else (max(place.repeats, 12), 6)
    for size in (16,) if place.tiny else (128, 160, 224):
        sides = {
            "ablate": ours(place, size, batch),
            "PIL": theirs(place, size, batch, "pil"),
            "tensor": theirs(place, size, batch, "tensor"),
        }
        wall: dict[str, list[float]] = {name: [] for name in sides}
        cpu: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(rounds + 1):
            for name, batches in sides.items():
                took = timed(batches, count)
                if number:  # in the first round files are read and memory is taken
                    wall[name].append(took[0])
                    cpu[name].append(took[1])
        images = count * batch
        bar = Bar("≥", 2.5) if size in (16, 128) else None
        result.rows += [
            Row(
                f"images/s ÷ PIL pipeline, {size} px", ratios(wall["PIL"], wall["ablate"]), bar=bar
            ),
            Row(f"the same in CPU time, {size} px", ratios(cpu["PIL"], cpu["ablate"])),
            Row(f"images/s ÷ tensor pipeline, {size} px", ratios(wall["tensor"], wall["ablate"])),
            *(
                Row(f"{name}, {size} px", [images / s for s in seconds], "images/s")
                for name, seconds in cpu.items()
            ),
        ]
        result.details[f"{size} px"] = {"wall": wall, "cpu": cpu, "images": images}
    result.notes.append("images/s of one side are per second of CPU time: the machine is shared")
    return result
