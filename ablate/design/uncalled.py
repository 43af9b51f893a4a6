"""What is known of data sets of one's own where their functions are not called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ablate.core.trial import DatasetRef, Trial
from ablate.data.builtin import DatasetInfo

_SIDE = 32  # pixels, where nothing is known


@dataclass(frozen=True)
class Uncalled:
    """info: what a recipe gets of it that does not say so itself. ref: as stored trials name it,
    None where there are none."""

    info: DatasetInfo
    ref: DatasetRef | None = None

    def ref_with(self, limit: int | None, image_size: int) -> DatasetRef:
        """The data set as a trial of this limit names it; the key is no real one without `ref`."""
        if self.ref is not None:
            return self.ref.model_copy(update={"limit": limit, "held_out": None, "fold": 0})
        return DatasetRef(
            name=self.info.name,
            fingerprint=f"missing: {self.info.name} at {image_size}",
            decoder="missing",
            limit=limit,
            num_classes=self.info.num_classes,
        )


Own = Mapping[str, Uncalled]  # by the data set's name


def supposed(names: Iterable[str], num_classes: int, image_size: int) -> Own:
    """Data sets that nothing is known of, as if they were such ones."""
    return {
        name: Uncalled(DatasetInfo(name, "a function, not called", num_classes, image_size))
        for name in names
    }


def as_stored(names: Iterable[str], trials: Iterable[Trial]) -> Own:
    """Data sets as stored trials have them: of each the one with the fewest tricks, whose recipe
    has most of its data set."""
    found = dict(supposed(names, 10, _SIDE))
    for trial in sorted(trials, key=lambda trial: -len(trial.tricks)):
        ref, recipe = trial.dataset, trial.recipe
        if ref.name not in found:
            continue
        info = DatasetInfo(ref.name, "as stored", ref.num_classes, recipe.image_size or _SIDE)
        info = replace(
            info,
            crop=recipe.crop or info.crop,
            flip=info.flip if recipe.flip is None else recipe.flip,
            mean=recipe.mean or info.mean,
            std=recipe.std or info.std,
        )
        found[ref.name] = Uncalled(info, ref)
    return found
