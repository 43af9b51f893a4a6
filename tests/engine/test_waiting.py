"""A step never waits for its device: nothing in it asks for a value, and nothing is sent piecemeal.

Reading a value is an operation of its own in torch (`aten._local_scalar_dense`), which can be
counted on a CPU. What else waits (copies of memory that is not pinned) only a GPU can tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ablate import Trick
from ablate.core.hook_types import Run
from ablate.core.trial import Numerics
from ablate.data.cache import ensure_cache
from ablate.data.loader import open_data
from ablate.engine.loop import train
from ablate.engine.recorder import Memory
from ablate_tricks.bce_loss import BceLoss
from ablate_tricks.cosine import Cosine
from ablate_tricks.cutmix import Cutmix
from ablate_tricks.dropout import Dropout
from ablate_tricks.ema import Ema
from ablate_tricks.fp16 import Fp16
from ablate_tricks.gradient_clipping import GradientClipping
from ablate_tricks.label_smoothing import LabelSmoothing
from ablate_tricks.mixup import Mixup
from ablate_tricks.sam import Sam
from ablate_tricks.stochastic_depth import StochasticDepth
from ablate_tricks.warmup import Warmup
from tests.helpers import support

# What makes the processor wait for a device: a value, or a shape that depends on values.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal")
STACKS: dict[str, list[Trick]] = {
    "baseline": [],
    "targets": [LabelSmoothing(), Mixup(), Cutmix(), Warmup(epochs=1), Cosine()],
    "model": [StochasticDepth(p=0.2), Dropout(p=0.2), Ema()],
    "gradients": [Sam(), GradientClipping(), BceLoss()],
}


class Waits(TorchDispatchMode):
    """Counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        name = str(func).split(".")[1]
        if name in WAITING:
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


class Between(Memory):
    """What was seen from the end of a step to the end of the next one."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits
        self.steps: list[Counter[str]] = []
        self._before: Counter[str] | None = None

    def check(self, run: Run) -> None:
        seen = Counter(self._waits.seen)
        if self._before is not None:
            self.steps.append(seen - self._before)
        self._before = None if run.step % run.steps_per_epoch == 0 else seen


@pytest.mark.parametrize("tricks", STACKS.values(), ids=list(STACKS))
def test_no_step_asks_for_a_value(tricks: list[Trick]) -> None:
    waits = Waits()
    memory = Between(waits)
    with waits:
        support.run(tricks, memory, limit=60, batch_size=10)
    assert len(memory.steps) == 2 * 5
    assert not sum(memory.steps, Counter())


def test_it_would_be_noticed() -> None:
    waits = Waits()
    with waits:
        assert torch.ones(3).sum() > 2
        assert torch.ones(3).max().item() == 1
    assert waits.seen == {"_local_scalar_dense": 2}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU to wait for")
@pytest.mark.parametrize("tricks", [*STACKS.values(), [Fp16()], [Fp16(), Sam()]])
def test_no_step_waits_for_the_gpu(tricks: list[Trick]) -> None:
    """torch itself raises where something waits, between the end of one step and the next's."""

    class Strict(Memory):
        def check(self, run: Run) -> None:
            last = run.step % run.steps_per_epoch == 0
            torch.cuda.set_sync_debug_mode("default" if last else "error")

    device = torch.device("cuda", 0)
    made = support.trial(limit=60).model_copy(update={"numerics": Numerics.named("fast", "cuda")})
    cached = ensure_cache("digits", None, 8).limited(60)
    try:
        train(
            made,
            tricks,
            lambda augmentations: open_data(
                cached, made.recipe, augmentations, made.seed, device, channels_last=True
            ),
            device,
            Strict(),
        )
    finally:
        torch.cuda.set_sync_debug_mode("default")
