"""What type checkers see of ablate's public names; `nox -s types` runs mypy --strict on it.

A line with `type: ignore[…]` must be an error, else mypy says that its comment is unused. So a
public name that became `Any` is found. Nothing here runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import torch
from torch import Tensor, nn

from ablate import (
    Augmentation,
    Batch,
    Draws,
    Factors,
    ImageArrays,
    LocalFile,
    Mixer,
    NoEffect,
    Outputs,
    Precision,
    Recipe,
    Results,
    Run,
    Schedule,
    Study,
    TrainBatches,
    Trial,
    Trick,
    check_teacher,
    hookimpl,
    load_teacher,
    query,
    stream_key,
    upload,
)
from ablate.models import (
    BlurPool,
    build_model,
    squeeze_and_excite,
)
from ablate.models.surgery import Handles, conv_like, handles, replace
from ablate.testing import Hooks, check_trick, tiny_batch, train_tiny


class Half(Trick):
    """Half the rate, and as much else as has a type."""

    share: float = 0.5
    weights: LocalFile | None = None

    @hookimpl
    def build_schedule(self, recipe: Recipe) -> Schedule:
        assert_type(recipe.epochs, int)
        _ = recipe.epohcs  # type: ignore[attr-defined]
        return lambda step, start, total: Factors(lr=self.share)

    @hookimpl
    def batch_mixers(self, recipe: Recipe) -> Mixer:
        def apply(images: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
            assert_type(draws.number(), float)
            return images, targets

        return Mixer("none", apply)

    @hookimpl
    def extra_losses(self, run: Run, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        assert_type(outputs.logits, Tensor)
        assert_type(batch.images, Tensor)
        assert_type(run.step, int)
        assert_type(run.model, nn.Module)
        raise NoEffect("half", "nothing")


Factors(lr="not a number")  # type: ignore[arg-type]
Factors(rate=0.5)  # type: ignore[call-arg]
Precision(dtype=16)  # type: ignore[arg-type]
Outputs()  # type: ignore[call-arg]
Mixer("none")  # type: ignore[call-arg]
Augmentation("colour", "none", "three", lambda images, draws, size: images)  # type: ignore[arg-type]
Recipe(model=5)  # type: ignore[arg-type, call-arg]
Draws(1.5)  # type: ignore[arg-type]
stream_key(1.5)  # type: ignore[arg-type]
Study.load(5)  # type: ignore[arg-type]
query(5)  # type: ignore[arg-type]
handles("resnet18")  # type: ignore[arg-type]
check_trick("mixup")  # type: ignore[arg-type]
BlurPool("two")  # type: ignore[arg-type]
ImageArrays(train_images=5)  # type: ignore[arg-type, call-arg]
upload([1.0], torch.device("cpu"))  # type: ignore[arg-type]
check_teacher(1, 2, 3)  # type: ignore[arg-type]
load_teacher(1)  # type: ignore[arg-type, call-arg]

assert_type(Study.load("my.toml"), Study)
assert_type(Study.load(Path("my.toml")).run(), Results)
assert_type(query("from trials"), list[dict[str, Any]])
assert_type(stream_key(0, "crop"), int)
assert_type(upload(np.zeros(1), torch.device("cpu")), Tensor)
assert_type(build_model("resnet18", 10), nn.Module)
assert_type(handles(build_model("resnet18", 10)), Handles)
assert_type(squeeze_and_excite(build_model("resnet18", 10)), int)
assert_type(check_trick(Half, share=0.3), frozenset[str])
assert_type(train_tiny([Half()]).weights, dict[str, Tensor])
replace(nn.Sequential(), "0", conv_like(nn.Conv2d(1, 1, 1)))
Hooks([Half()]).extra_losses(batch=tiny_batch())
Hooks(Half())  # type: ignore[arg-type]
assert_type(tiny_batch(), Batch)


def given(batches: TrainBatches, trial: Trial) -> None:
    assert_type(trial.seed, int)
    assert_type(trial.recipe, Recipe)
