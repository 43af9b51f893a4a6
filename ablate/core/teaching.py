"""How good a teacher is itself, and whether its classes are in another order than the data's.

Nothing else tells: weights fit a model whatever class each output stands for. timm sorts class
folders naturally (1, 2, 10), torchvision and ablate by text (1, 10, 2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST = 2000  # classes for which every order is tried
_EACH = 5  # images a class, below which an order of one's own choice fits by chance


@dataclass(frozen=True)
class Taught:
    """top1: of the teacher on the evaluation images, of so many classes. reordered: with its
    classes in another order, where that is clearly better. order: which one, "natural" or "other".
    """

    top1: float
    classes: int
    reordered: float | None = None
    order: str = ""

    def summary(self) -> dict[str, Any]:
        """For the record of a trial that learned from it."""
        return {
            "teacher_top1": self.top1,
            "teacher_classes": self.classes,
            "teacher_reordered": self.reordered,
            "teacher_order": self.order,
        }

    @classmethod
    def read(cls, summary: Mapping[str, Any]) -> Taught | None:
        """From what `summary` gave; None if it is not there, or not that."""
        top1, classes = summary.get("teacher_top1"), summary.get("teacher_classes")
        better, order = summary.get("teacher_reordered"), summary.get("teacher_order")
        if not _is_share(top1) or type(classes) is not int or classes < 2:
            return None
        known = _is_share(better) and order in ("natural", "other")
        return cls(float(top1), classes, *((float(better), str(order)) if known else ()))  # type: ignore[arg-type] # checked

    @property
    def near_chance(self) -> bool:
        """Whether it knows hardly more than nothing."""
        chance = 1 / self.classes
        return self.top1 < chance + min(2 * chance, (1 - chance) / 4)

    def warning(self, trained: bool = False) -> str:
        """What is wrong, why, and what to do; "" if nothing is known to be. trained: by a trial."""
        found = f"its teacher is right for {self.top1:.1%} of the evaluation images"
        mend = "put the rows of its classifier in the order of the sorted class folders"
        if self.reordered is not None:
            how = {
                "natural": "sorted naturally (1, 2, 10) as timm does, here they are by text "
                "(1, 10, 2)",
                "other": "in another order than the class folders here",
            }[self.order]
            return f"{found}, for {self.reordered:.1%} with its classes {how}: {mend}"
        if not self.near_chance:
            return ""
        chance = f"{found}, chance is {1 / self.classes:.1%}"
        if trained:
            return f"{chance}: it has learned too little to teach, train it for longer"
        return (
            f"{chance}: are its classes in another order (timm sorts folders naturally, "
            f"torchvision and ablate by text), or its mean, std and image size others? "
            f"If the order, {mend}"
        )


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and 0 <= value <= 1


def natural_order(classes: Sequence[str]) -> NDArray[np.int64]:
    """Which class, of those sorted by text, each output of a naturally sorted model stands for."""

    def key(index: int) -> list[int | str]:
        parts = re.split(r"(\d+)", classes[index].lower())
        return [int(part) if part.isdecimal() else part for part in parts]

    return np.array(sorted(range(len(classes)), key=key), dtype=np.int64)


def taught(
    scores: NDArray[np.floating[Any]], labels: NDArray[np.int64], classes: Sequence[str]
) -> Taught:
    """From a teacher's scores [N, K] of the evaluation images and their labels [N].

    classes: their names in the order of the labels.
    """
    predicted, count, number = scores.argmax(1), len(classes), len(labels)
    top1 = float((predicted == labels).mean())
    # What may be luck: four standard errors of a share.
    better = top1 + 0.05 + 4 * 0.5 / number**0.5
    natural = float((natural_order(classes)[predicted] == labels).mean())
    if natural > better:
        return Taught(top1, count, natural, "natural")
    if count <= _MOST and number >= _EACH * count:
        from scipy.optimize import linear_sum_assignment

        together = np.zeros((count, count), dtype=np.int64)
        np.add.at(together, (predicted, labels), 1)
        best = float(together[linear_sum_assignment(-together)].sum() / number)
        if best > better + 0.15:
            return Taught(top1, count, best, "other")
    return Taught(top1, count)
