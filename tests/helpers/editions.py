"""The distinct variants of the Imagenette editions and the assignments, small enough for a CPU.

A variant is a model and a set of tricks with their parameters, and of which model it learns. Rows
that differ in nothing else (a control row's epochs, a column's batch size, `linear_scaling`, which
acts when planning) are one variant here: what they set is what has to shrink.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ablate.core.trial import DatasetRef, Trial
from ablate.data.fingerprint import dataset_ref
from ablate.design import resolve
from ablate.models.catalogue import model_image_size
from ablate.study import load_study
from ablate.study.finder import shipped_folder

IMAGES, BATCH = 10, 4  # of either split; two batches of four, the odd ones are dropped
PIXELS, RESIZED = 64, 73  # Inception has a size of its own
SMALL = (
    "epochs=1",
    f"batch_size={BATCH}",
    f"image_size={PIXELS}",
    f"eval_size={PIXELS}",
    f"eval_resize={RESIZED}",
)
ASSIGNMENTS = ("group1", "group2", "bag_of_tricks")


@dataclass(frozen=True)
class Variant:
    """name: of the row where it stands first. trial: what is trained, on Imagenette, seed 0."""

    name: str
    trial: Trial

    @property
    def parts(self) -> frozenset[str]:
        """The model, and each trick with its parameters."""
        return frozenset({self.trial.recipe.model, *self.trial.tricks_key()})

    @property
    def half(self) -> bool:
        """Whether it computes in FP16, ten times as slow on a CPU."""
        return is_half(self.trial)


def is_half(trial: Trial) -> bool:
    return any(spec.name == "fp16" for spec in trial.tricks)


def files() -> list[Path]:
    """The editions, then the assignments."""
    folder = shipped_folder()
    return [
        *sorted((folder / "imagenette").glob("[!_]*.toml")),  # a part is no study
        *(folder / f"{name}.toml" for name in ASSIGNMENTS),
    ]


def variants(root: Path) -> dict[str, Variant]:
    """Every distinct variant by its trial's key, a teacher before who learns from it."""
    # One data set for all: Imagewoof's images are not at hand, and a variant is the same network
    # with the same tricks on either (both have ten classes).
    ref = dataset_ref("imagenette", image_size=PIXELS, data_root=root, limit=IMAGES)
    found: dict[tuple[str, ...], Variant] = {}
    for file in files():
        study = load_study(
            file, overrides=[f"recipe.{setting}" for setting in SMALL], seeds=1, limit=IMAGES
        )
        resolved = resolve(study, data_root=root, command="tests", allow_missing_data=True)
        here: dict[str, str] = {}  # key in the study → key of the variant
        for key in resolved.order:
            planned = resolved.trials[key]
            teacher = here.get(planned.teacher or "")
            trial = small(planned, ref).model_copy(update={"teacher": teacher})
            identity = (trial.recipe.model, teacher or "", *trial.tricks_key())
            name = f"{study.name} · {resolved.labels[key]}"
            here[key] = found.setdefault(identity, Variant(name, trial)).trial.key
    return {variant.trial.key: variant for variant in found.values()}


def small(trial: Trial, ref: DatasetRef) -> Trial:
    """With what `--set` cannot say: the data set, a size for one model, and one learning rate for
    all, so that weights that differ tell of the tricks and not of the table they stand in.

    It is low because the batches are small: after a large step the running statistics of two
    batches of four fit the weights so badly that evaluation overflows in FP16 (mobilenet_v1).
    """
    settings: dict[str, object] = {"lr": 1e-3}
    size = model_image_size(trial.recipe.model)
    if size is not None:
        settings |= {"image_size": size, "eval_size": 96, "eval_resize": 110}
    # hardly any image where each is large, or computed in FP16, which a CPU does slowly
    if size is not None or (is_half(trial) and trial.recipe.model.startswith("resnet")):
        settings["batch_size"] = 2
        ref = ref.model_copy(update={"limit": 4})
    recipe = trial.recipe.model_copy(update=settings)
    return trial.model_copy(update={"recipe": recipe, "dataset": ref})


def cover(found: Mapping[str, Variant]) -> dict[str, Variant]:
    """A few variants with every model and every trick in every configuration at least once.

    From the cheapest on, each that brings a model or a trick that was not there yet, and whom it
    learns from.
    """

    def cost(key: str) -> tuple[bool, bool, int]:
        variant = found[key]
        recipe = variant.trial.recipe
        return (recipe.image_size or 0) > PIXELS, variant.half, len(variant.trial.tricks)

    chosen: set[str] = set()
    seen: set[str] = set()
    for key in sorted(found, key=cost):  # stable: the editions' own order otherwise
        if not found[key].parts <= seen:
            needed = {key, found[key].trial.teacher or key}
            chosen |= needed
            seen |= frozenset().union(*(found[k].parts for k in needed))
    return {key: variant for key, variant in found.items() if key in chosen}


def names_of(trial: Trial) -> dict[str, str]:
    """Each trick's name and parameters."""
    return {spec.name: json.dumps(spec.params, sort_keys=True) for spec in trial.tricks}
