"""Whole epochs on real images, from file or cache to updated weights: ours, timm's, torchvision's.

At equal model, batch, image size, precision and augmentation (random-resized crop and flip), label
smoothing and mixup on in all three. After each of our epochs each contender does one, so all share
what the machine does meanwhile. The first epoch of each is not counted. Evaluation is not in it.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from contenders import reference, timm_script
from measure import Result, Row, ratios
from ours import Between, train_real
from place import Place

from ablate.models import build_model
from ablate_tricks.fp16 import Fp16
from ablate_tricks.label_smoothing import LabelSmoothing
from ablate_tricks.mixup import Mixup

SMOOTHING, ALPHA = 0.1, 0.2


def measure(place: Place) -> Result:
    """Images per second of training, and ours over theirs."""
    result = Result()
    model = place.pick(gpu="resnet50", cpu="resnet18", tiny="resnet18")
    batch = place.pick(gpu=64, cpu=32, tiny=8)
    rounds = 1 if place.tiny else place.repeats
    for size in place.pick(gpu=(128, 160, 224), cpu=(32,), tiny=(32,)):
        rates = compared(place, model, size, batch, rounds)
        name = f"{model}, {size} px, batch {batch}"
        for other in ("timm", "torchvision"):
            of = ratios(rates["ablate"], rates[other])
            result.rows.append(Row(f"training images/s ÷ {other}'s; {name}", of))
        for side, values in rates.items():
            result.rows.append(Row(f"{side}; {name}", values, "images/s"))
    workers = worker_count(place)
    result.notes.append(
        f"threads of each training: {threads(place)}; loader processes of the contenders: {workers}"
    )
    return result


def worker_count(place: Place) -> int:
    """Loader processes of a contender: all cores of a GPU's machine, the others of a CPU's."""
    return int(place.pick(gpu=os.cpu_count() or 1, cpu=max(1, (os.cpu_count() or 1) - 1), tiny=0))


def threads(place: Place) -> int:
    """Of every side's training process."""
    return 1 if not place.gpu else torch.get_num_threads()


def compared(
    place: Place, model: str, size: int, batch: int, rounds: int
) -> dict[str, list[float]]:
    """Images per second of every epoch but the first."""
    torch.set_num_threads(threads(place))
    cuda, workers = place.device.type == "cuda", worker_count(place)
    common: list[Any] = ["--model", model, "--batch-size", batch, "--workers", workers]
    resize = round(size * 256 / 224)
    theirs = arguments(
        *("--data-path", place.images, *common, "--train-crop-size", size, "--label-smoothing"),
        *(SMOOTHING, "--mixup-alpha", ALPHA, "--val-crop-size", size, "--val-resize-size", resize),
        *("--epochs", rounds + 1, *(["--amp", "--channels-last"] if cuda else [])),
    )
    torch.manual_seed(0)
    tv = reference.Reference(
        build_model(model, 10), reference.parser().parse_args(theirs), place.device, classes=10
    )
    theirs = arguments(
        *("--data-dir", place.images, *common, "--img-size", size, "--smoothing", SMOOTHING),
        *("--mixup", ALPHA, "--epochs", rounds + 1),
        *(["--amp-dtype", "float16", "--channels-last"] if cuda else []),
    )
    timm = timm_script.TimmTraining(timm_script.parser().parse_args(theirs), place.device)
    rates: dict[str, list[float]] = {"ablate": [], "timm": [], "torchvision": []}

    def others() -> None:
        for name, training in (("timm", timm), ("torchvision", tv)):
            images, seconds = training.epoch()
            rates[name].append(images / seconds)

    cached = place.cached()
    trial = place.trial(place.recipe(model, size, batch, epochs=rounds + 1), cached)
    tricks = [LabelSmoothing(epsilon=SMOOTHING), Mixup(alpha=ALPHA), *([Fp16()] if cuda else [])]
    memory = Between(others)
    train_real(place, trial, cached, tricks, memory)
    rates = {name: values[1:] for name, values in rates.items()}
    return rates | {"ablate": memory.rates}


def arguments(*values: Any) -> list[str]:
    """As a command line has them."""
    return [str(value) for value in values]
