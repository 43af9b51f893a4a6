"""Images per second of the engine on batches that are on the device, in each number format.

ResNet-50 at 128, 160 and 224 pixels, profile `fast`, FP16 and BF16, batch 64 and 256, without other
tricks: the ceiling that real data is held against. The first epoch (compiling, choosing kernels) is
not counted.
"""

from __future__ import annotations

from measure import Bar, Result, Row
from ours import Batches, Between, layout, train_on
from place import Place

from ablate_tricks.bf16 import Bf16
from ablate_tricks.fp16 import Fp16


def measure(place: Place) -> Result:
    """One row for each size, batch and format."""
    result = Result()
    model = place.pick(gpu="resnet50", cpu="resnet8", tiny="resnet8")
    steps = place.pick(gpu=60, cpu=5, tiny=2)
    for size in place.pick(gpu=(224, 160, 128), cpu=(32,), tiny=(16,)):
        for batch in place.pick(gpu=(256, 64), cpu=(16,), tiny=(8,)):
            for name, trick in {"BF16": Bf16(), "FP16": Fp16()}.items():
                epochs = 1 + (1 if place.tiny else place.repeats)
                recipe = place.recipe(model, size, batch, epochs=epochs)
                trial = place.trial(recipe, place.cached(), "fast")
                memory = Between()
                data = Batches(place.device, recipe, steps, layout(trial))
                train_on(place, trial, data, [trick], memory)
                main = place.gpu and size == 224 and batch == 256
                result.rows.append(
                    Row(
                        f"{model}, {size} px, batch {batch}, {name}",
                        memory.rates,
                        "images/s",
                        Bar("≥", 5700) if main else None,
                    )
                )
    return result
