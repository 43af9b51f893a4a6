"""The `exact` profile gives the same bits twice, and when resumed after an epoch."""

from __future__ import annotations

import torch
from measure import Result
from ours import train_real
from place import Place

from ablate import Trick
from ablate.engine.recorder import Memory
from ablate_tricks.bf16 import Bf16
from ablate_tricks.fp16 import Fp16
from ablate_tricks.mixup import Mixup


def measure(place: Place) -> Result:
    """Raises AssertionError where a bit differs."""
    result = Result()
    model, size, batch = place.pick(
        gpu=("resnet50_v1", 128, 64), cpu=("resnet8", 32, 16), tiny=("resnet8", 16, 8)
    )
    cached = place.cached().limited(place.pick(gpu=1280, cpu=64, tiny=20))
    trial = place.trial(place.recipe(model, size, batch, epochs=2), cached, "exact")
    stacks: dict[str, list[Trick]] = {
        "FP32": [Mixup()], "FP16": [Fp16(), Mixup()], "BF16": [Bf16(), Mixup()]
    }  # fmt: skip
    for name, tricks in stacks.items():
        memory = Memory()
        weights = []
        for recorder in (memory, Memory(), None):
            run = train_real(place, trial, cached, tricks, recorder or Memory(memory.states[0]))
            state = run.model.state_dict()
            weights.append({k: v.detach().cpu().clone() for k, v in state.items()})
        one, two, three = weights
        found = {
            "repeated": all(torch.equal(one[k], two[k]) for k in one),
            "resumed": all(torch.equal(one[k], three[k]) for k in one),
        }
        assert all(found.values()), f"{name}: {found}"
        result.details[name] = found
    result.notes.append("FP32, FP16, BF16: the same bits twice, and resumed after an epoch")
    return result
