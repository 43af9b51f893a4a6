"""FP16 and BF16 against FP32, profile `fast`: losses of two epochs; weights stay FP32."""

from __future__ import annotations

from measure import Result
from ours import train_real
from place import Place

from ablate import Trick
from ablate.engine.recorder import Memory
from ablate_tricks.bf16 import Bf16
from ablate_tricks.fp16 import Fp16


def measure(place: Place) -> Result:
    """In the details."""
    result = Result()
    model, size, batch = place.pick(
        gpu=("resnet50_v1", 128, 64), cpu=("resnet8", 32, 16), tiny=("resnet8", 16, 8)
    )
    cached = place.cached().limited(place.pick(gpu=2560, cpu=64, tiny=20))
    trial = place.trial(place.recipe(model, size, batch, epochs=2), cached, "fast")
    stacks: dict[str, list[Trick]] = {"FP32": [], "FP16": [Fp16()], "BF16": [Bf16()]}
    for name, tricks in stacks.items():
        memory = Memory()
        run = train_real(place, trial, cached, tricks, memory)
        state = run.model.state_dict().values()
        losses = [r["metrics"]["train_loss"] for r in memory.records]
        result.details[name] = {
            "train_loss": losses,
            "top1": memory.records[-1]["metrics"]["top1"],
            "weights": sorted({str(v.dtype) for v in state if v.is_floating_point()}),
            "seconds": [r["seconds"] for r in memory.records],
        }
        result.notes.append(f"{name}: training loss {losses[0]:.4f}, then {losses[1]:.4f}")
    return result
