"""A study of 6 rows × 3 seeds through `ablate run`, against 18 runs of torchvision's recipe.

The same model, images, sizes, batch, epochs and tricks. The contender's runs are processes of their
own, as its users start them: one after the other with a loader process for each further core, or as
many at once as there are cores, one thread each and no loader processes. What is faster in the
first round counts, and is what the later rounds repeat.
Ours trains as many at once as there are cores. The first of our studies also decodes the images
once; that is in its time, and the later ones find them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from measure import Bar, Result, Row, ratios
from place import Place

from parts.epoch import arguments

STUDY = """\
[study]
name     = "benchmark"
datasets = ["{dataset}"]
seeds    = {seeds}
stack    = ["warmup", "cosine", "label_smoothing", "mixup", "no_bias_decay"]

[recipe]
model      = "{model}"
epochs     = {epochs}
batch_size = {batch}
lr         = 0.1
image_size = {size}

[tricks]
warmup = {{ epochs = 1 }}
"""
# The rows' options under the recipe's names, each with those of the row above.
ROWS: tuple[list[str], ...] = (
    [],
    ["--lr-warmup-epochs", "1"],
    ["--lr-scheduler", "cosineannealinglr"],
    ["--label-smoothing", "0.1"],
    ["--mixup-alpha", "0.2"],
    ["--norm-weight-decay", "0"],
)
AFTER = "one after the other, loader processes on the other cores"
AT_ONCE = "as many at once as cores, one thread each"
SCRIPT = Path(__file__).resolve().parent.parent / "contenders" / "reference.py"


def measure(place: Place) -> Result:
    """Both ways of the contender and ours, in turn."""
    model, size, batch, epochs, seeds = place.pick(
        gpu=("resnet8", 32, 64, 3, 3), cpu=("resnet8", 32, 64, 3, 3), tiny=("resnet8", 16, 10, 1, 1)
    )
    seeds = place.seeds or seeds
    place.use_own_cache()
    cores = os.cpu_count() or 1
    file = place.out / "study.toml"
    file.write_text(
        STUDY.format(
            dataset=place.dataset, seeds=seeds, model=model, epochs=epochs, batch=batch, size=size
        )
    )
    common = arguments(
        *("--data-path", place.images, "--model", model, "--epochs", epochs, "--lr", 0.1),
        *("--batch-size", batch, "--train-crop-size", size, "--val-crop-size", size),
        *("--val-resize-size", round(size * 256 / 224), "--output-dir", place.out / "reference"),
    )
    rows = ROWS[: 2 if place.tiny else len(ROWS)]
    runs = [
        [*common, *(o for row in rows[: n + 1] for o in row), "--seed", str(seed)]
        for n in range(len(rows))
        for seed in range(seeds)
    ]
    shutil.rmtree(place.out / "decoded", ignore_errors=True)
    ways = {
        AFTER: ([[*run, "--workers", str(max(1, cores - 1))] for run in runs], 1),
        AT_ONCE: ([[*run, "--threads", "1"] for run in runs], cores),
    }
    ours: list[Taken] = []
    theirs: dict[str, list[Taken]] = {way: [] for way in ways}
    for number in place.rounds():
        began = time.monotonic()
        ours.append(taken(lambda: study(place, file)))
        for way, (commands, at_once) in list(ways.items()):
            theirs[way].append(taken(lambda c=commands, n=at_once: separate(c, n)))  # type: ignore[misc]
        print(f"  {ours[-1]}, { ({way: t[-1] for way, t in theirs.items()}) }", flush=True)
        if len(ways) > 1:  # the slower way is not tried again
            slower = max(ways, key=lambda way: theirs[way][0].wall)
            del ways[slower]
        if number > 0 and place.left < 1.5 * (time.monotonic() - began):
            break  # n says how many rounds there were time for
    (faster,) = ways
    best = theirs[faster]
    trainings = f"{len(runs)} trainings of {model}, {size} px, batch {batch}, {epochs} epochs"
    return Result(
        [
            Row(
                "a study ÷ separate runs, the faster way",
                ratios([t.wall for t in ours], [t.wall for t in best]),
                bar=Bar("≤", 0.5),
            ),
            Row("the same in CPU time", ratios([t.cpu for t in ours], [t.cpu for t in best])),
            Row("the study (the first run decodes)", [t.wall for t in ours], "s"),
            *(
                Row(f"separate runs, {way}", [t.wall for t in times], "s")
                for way, times in theirs.items()
            ),
        ],
        [
            f"{trainings}, {len(list(place.images.glob('train/*/*')))} training and "
            f"{len(list(place.images.glob('val/*/*')))} test images; both evaluate and keep a "
            "checkpoint after every epoch",
        ],
    )


@dataclass(frozen=True)
class Taken:
    """Seconds, and seconds of all its processes' CPU time."""

    wall: float
    cpu: float


def taken(work: Callable[[], None]) -> Taken:
    """Of this work, all in child processes."""
    began, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    spent = after.children_user + after.children_system
    return Taken(time.perf_counter() - began, spent - before.children_user - before.children_system)


def study(place: Place, file: Path) -> None:
    """`ablate run` on an empty store."""
    store = place.out / "study-store"
    shutil.rmtree(store, ignore_errors=True)
    command = [sys.executable, "-m", "ablate", "run", str(file), "--store", str(store)]
    done = subprocess.run(
        [*command, "--device", str(place.device)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"ablate run ended with {done.returncode}: {done.stderr[-2000:]}")


def separate(runs: list[list[str]], at_once: int) -> None:
    """All runs, each a process of its own."""

    def one(run: list[str]) -> None:
        subprocess.run([sys.executable, str(SCRIPT), *run], check=True, stdout=subprocess.DEVNULL)

    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(one, runs))
