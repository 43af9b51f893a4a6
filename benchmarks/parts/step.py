"""The engine's step against a loop written by hand, on the same batches, block by block in turn.

Both train the same model from the same weights; after every block of steps the other one goes on.
The pairs' order alternates, so that a machine that drifts does not favour one. That both compute
the same is checked first: their weights after three steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from contenders.bare import DECAY, SMOOTHING, Bare
from measure import Bar, Result, Row, ratios, wait
from ours import Batches, Between, layout, train_on
from place import Place

from ablate import Trick
from ablate.core.recipe import Recipe
from ablate.core.rng import Draws
from ablate.core.trial import Trial
from ablate.data.loader import RawBatch
from ablate_tricks.cosine import Cosine
from ablate_tricks.ema import Ema
from ablate_tricks.fp16 import Fp16
from ablate_tricks.label_smoothing import LabelSmoothing
from ablate_tricks.mixup import Mixup
from ablate_tricks.no_bias_decay import NoBiasDecay
from ablate_tricks.warmup import Warmup

ALPHA, SHARE = 0.2, 0.25  # of mixup; of the training that warms up
SKIPPED = 2  # pairs at the beginning: kernels are chosen and memory is taken


class Turns(Batches):
    """Hands the engine a block of batches, then lets the bare loop do the same block."""

    def __init__(self, place: Place, trial: Trial, pairs: int, block: int) -> None:
        super().__init__(place.device, trial.recipe, pairs * block, layout(trial))
        self.place, self.pairs, self.block = place, pairs, block
        self.bare: Bare | None = None
        self.seconds: dict[str, list[float]] = {"engine": [], "bare": []}
        self.cpu: dict[str, list[float]] = {"engine": [], "bare": []}

    def train_batches(self, epoch: int, size: int) -> Iterator[RawBatch]:
        """Pair by pair; what happens between two yields of a block is the engine's step."""
        for pair in range(self.pairs):
            block = [
                self.batches[i % len(self.batches)]
                for i in range(pair * self.block, (pair + 1) * self.block)
            ]
            for side in ("engine", "bare") if pair % 2 else ("bare", "engine"):
                wait(self.place.device)
                began, cpu = time.perf_counter(), time.process_time()
                if side == "engine":
                    yield from block
                else:
                    assert self.bare is not None
                    for raw in block:
                        self.bare.step(raw.images, raw.labels)
                wait(self.place.device)
                self.seconds[side].append(time.perf_counter() - began)
                self.cpu[side].append(time.process_time() - cpu)


def compared(
    place: Place, recipe: Recipe, tricks: Sequence[Trick], dtype: Any, pairs: int, block: int
) -> tuple[Turns, float]:
    """(what every block took, largest difference of a weight at the end)."""
    trial = place.trial(recipe, place.cached())
    data = Turns(place, trial, pairs, block)
    total = data.steps_per_epoch
    five = len(tricks) > 2
    data.bare = Bare(
        recipe, place.device, layout(trial), dtype,
        compiled=trial.numerics.compiled, five=five, total=total,
        warmup=round(SHARE * total) if five else 0,
        mix=[
            Draws(0, "trick", "mixup", "mix", 0, i).beta(ALPHA, ALPHA) for i in range(total)
        ] if five else (),
    )  # fmt: skip
    run = train_on(place, trial, data, tricks, Between())
    theirs = data.bare.model.state_dict()
    differences = [
        float((value.double() - theirs[name].double()).abs().max())
        for name, value in run.model.state_dict().items()
    ]
    return data, max(differences)


def stacks(half: bool) -> dict[str, list[Trick]]:
    """What is compared, in FP32 or FP16."""
    first: list[Trick] = [Fp16()] if half else []
    five = [
        LabelSmoothing(epsilon=SMOOTHING), Mixup(alpha=ALPHA), Warmup(epochs=SHARE), Cosine(),
        NoBiasDecay(), Ema(decay=DECAY),
    ]  # fmt: skip
    return {"no tricks": first, "five tricks": [*first, *five]}


def measure(place: Place) -> Result:
    """Both stacks, at every size."""
    result = Result()
    pairs, block = place.pick(gpu=(20, 40), cpu=(200, 4), tiny=(3, 2))
    sizes: list[tuple[str, int, int, bool]] = place.pick(
        gpu=[("resnet50", s, b, h) for s in (128, 160, 224) for b in (64, 256) for h in (0, 1)],
        cpu=[("resnet8", 32, 12, False)],
        tiny=[("resnet8", 16, 8, False)],
    )
    for model, size, batch, half in sizes:
        recipe = place.recipe(model, size, batch)
        dtype = torch.float16 if half else None
        name = f"{model}, {size} px, batch {batch}{', FP16' if half else ''}"
        for stack, tricks in stacks(half).items():
            _, difference = compared(place, recipe, tricks, dtype, pairs=1, block=3)
            assert half or place.device.type == "cuda" or difference < 1e-3, difference
            turns, _ = compared(place, recipe, tricks, dtype, pairs + SKIPPED, block)
            seconds = {side: values[SKIPPED:] for side, values in turns.seconds.items()}
            cpu = ratios(turns.cpu["engine"][SKIPPED:], turns.cpu["bare"][SKIPPED:])
            bar = Bar("≤", 1.02 if stack == "no tricks" else 1.05)
            of = ratios(seconds["engine"], seconds["bare"])
            milliseconds = [1000 * s / block for s in seconds["bare"]]
            small = place.device.type == "cpu" or (size == 128 and batch == 64)
            result.rows += [
                Row(f"engine ÷ bare loop, {stack}; {name}", of, bar=bar if small else None),
                Row(f"the same in this process's CPU time, {stack}; {name}", cpu),
                Row(f"the bare loop's step, {stack}; {name}", milliseconds, "ms"),
            ]
            result.details[f"{stack}; {name}"] = {
                "largest difference of a weight after three steps": difference,
                "steps a block": block,
                "seconds": seconds,
            }
    result.notes.append(
        "five tricks: label smoothing, mixup, warmup with cosine, no bias decay, EMA; the bare "
        "loop does the same arithmetic on the same batches"
    )
    return result
