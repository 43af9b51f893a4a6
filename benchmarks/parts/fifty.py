"""Fifty 20-epoch trainings of ResNet-50 at 128 px on Imagenette, ours against timm's as a script.

Not fifty are trained but a few: a study of four through `ablate run`, and three runs of contender
(b), each a process as its users start it. Printed are the fixed cost and what each further training
costs, and fixed + 50 × further. Ours: fixed is what the run takes beside its trainings, the compile
and one start of torch among them; further is the mean time from one trial's end to the next.
Theirs: every run is a process, so fixed is 0. Its flags: channels last, FP16, a loader process a
core; with and without `--torchcompile`, the faster counts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from measure import Bar, Result, Row
from place import Place

from parts.epoch import arguments

STUDY = """\
[study]
name     = "fifty"
datasets = ["{dataset}"]
seeds    = 2

[recipe]
model      = "{model}"
epochs     = {epochs}
batch_size = {batch}
image_size = {size}

[[ablation]]
name  = "main"
base  = {base}
stack = ["label_smoothing"]
"""
SCRIPT = Path(__file__).resolve().parent.parent / "contenders" / "timm_script.py"
MANY = 50


def measure(place: Place) -> Result:
    """Seconds of both, and their ratio."""
    model, size, batch, epochs = place.pick(
        gpu=("resnet50", 128, 64, 20), cpu=("resnet18", 32, 32, 2), tiny=("resnet18", 32, 20, 1)
    )
    cuda = place.device.type == "cuda"
    place.cached()
    file = place.out / "fifty.toml"
    file.write_text(
        STUDY.format(
            dataset=place.dataset, model=model, epochs=epochs, batch=batch, size=size,
            base='["fp16"]' if cuda else '["zero_gamma"]',
        )
    )  # fmt: skip
    fixed, each = ours(place, file)
    common = arguments(
        *("--data-dir", place.images, "--model", model, "--epochs", epochs, "--img-size", size),
        *("--batch-size", batch, "--smoothing", 0.1, "--device", place.device),
        *("--workers", os.cpu_count() if place.gpu else 0, "--output", place.out / "timm"),
        *(["--amp-dtype", "float16", "--channels-last"] if cuda else []),
    )
    variants: dict[str, list[str]] = {"eager": common}
    if place.gpu:
        variants["--torchcompile"] = [*common, "--torchcompile"]
    theirs = {name: [alone(options, 0)] for name, options in variants.items()}
    best = min(theirs, key=lambda name: theirs[name][0])
    seeds = (1,) if place.tiny else (1, 2)
    theirs[best] += [alone(variants[best], seed) for seed in seeds]
    mine, other = fixed + MANY * each, MANY * sum(theirs[best]) / len(theirs[best])
    bar = Bar("≤", 0.25) if place.gpu else None
    return Result(
        [
            Row(f"{MANY} trainings ÷ timm's, {best}", [mine / other], bar=bar),
            Row("ours: fixed", [fixed], "s"),
            Row("ours: each further training", [each], "s"),
            *(Row(f"timm's run, {name}", values, "s") for name, values in theirs.items()),
            Row(f"ours: fixed + {MANY} × further", [mine], "s"),
            Row(f"timm's: {MANY} × a run", [other], "s"),
        ],
        [f"{model}, {size} px, batch {batch}, {epochs} epochs; one study of four trainings"],
    )


def ours(place: Place, file: Path) -> tuple[float, float]:
    """(fixed, for each further training) seconds of `ablate run` on an empty store."""
    store = place.out / "fifty-store"
    shutil.rmtree(store, ignore_errors=True)
    command = [sys.executable, "-m", "ablate", "run", str(file), "--store", str(store)]
    began = time.time()
    done = subprocess.run(
        [*command, "--device", str(place.device)], capture_output=True, text=True, check=False
    )
    whole = time.time() - began
    if done.returncode:
        raise RuntimeError(f"ablate run ended with {done.returncode}: {done.stderr[-2000:]}")
    ends = sorted(path.stat().st_mtime for path in store.glob("trials/*/*/done.json"))
    each = (ends[-1] - ends[0]) / (len(ends) - 1)
    return whole - len(ends) * each, each


def alone(options: list[str], seed: int) -> float:
    """Seconds of one run of contender (b)."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, str(SCRIPT), *options, "--seed", str(seed)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - began
