"""Real images, from the decoded cache through augmentation, against batches on the device already.

The same model, batch and format; after each real epoch one of the same number of steps on synthetic
batches, in the same process. The first of each is not counted.
"""

from __future__ import annotations

from measure import Bar, Result, Row, ratios, wait
from ours import Batches, Between, layout, train_on, train_real
from place import Place

from ablate import Trick
from ablate.core.trial import Trial
from ablate_tricks.fp16 import Fp16


def measure(place: Place) -> Result:
    """Images/s of both, and their ratio."""
    result = Result()
    model = place.pick(gpu="resnet50", cpu="resnet8", tiny="resnet8")
    epochs = 1 + (1 if place.tiny else place.repeats)
    cached = place.cached()
    for size, batch in place.pick(
        gpu=((128, 256), (128, 64), (160, 256), (224, 256)), cpu=((32, 16),), tiny=((16, 8),)
    ):
        tricks: list[Trick] = [Fp16()] if place.device.type == "cuda" else []
        trial = place.trial(place.recipe(model, size, batch, epochs=epochs), cached, "fast")
        steps = len(cached.train) // batch
        synthetic: list[float] = []

        def between(
            trial: Trial = trial, steps: int = steps, synthetic: list[float] = synthetic,
            tricks: list[Trick] = tricks,
        ) -> None:  # fmt: skip
            short = trial.recipe.model_copy(update={"epochs": 2 if not place.tiny else 1})
            wait(place.device)
            memory = Between()
            data = Batches(place.device, short, steps, layout(trial))
            train_on(place, trial.model_copy(update={"recipe": short}), data, tricks, memory)
            last = memory.records[-1]
            synthetic.append(last["images"] / last["seconds"])

        memory = Between(between)
        train_real(place, trial, cached, tricks, memory)
        name = f"{model}, {size} px, batch {batch}"
        result.rows += [
            Row(
                f"real ÷ synthetic images/s; {name}",
                ratios(memory.rates, synthetic[1:]),
                bar=Bar("≥", 0.97) if place.gpu else None,
            ),
            Row(f"real; {name}", memory.rates, "images/s"),
            Row(f"synthetic; {name}", synthetic[1:], "images/s"),
        ]
    return result
