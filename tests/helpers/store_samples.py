"""A trial to store."""

from __future__ import annotations

from ablate.core.recipe import Recipe
from ablate.core.trial import DatasetRef, Numerics, Trial, TrickSpec


def make_trial(seed: int = 0, *tricks: str) -> Trial:
    specs = (
        TrickSpec(
            name=name, label=name, source="ablate-study", params={"alpha": 0.2}, behaviour="1"
        )
        for name in tricks
    )
    return Trial(
        recipe=Recipe(model="resnet18_small", epochs=3),
        dataset=DatasetRef(name="digits", fingerprint="0" * 64, decoder="d1", num_classes=10),
        tricks=tuple(specs),
        numerics=Numerics(),
        seed=seed,
    )
