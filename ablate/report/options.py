"""What a reader asks of trained trials beyond the study's own question."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of a report that change what is compared, or add to it.

    metric: name of another than the study's. baseline: a row, by label or number, that all others
    are compared with. new_images, per_class, mcnemar: blocks made from stored predictions.
    """

    metric: str | None = None
    baseline: str | None = None
    new_images: bool = False
    per_class: bool = False
    mcnemar: bool = False

    @property
    def exploratory(self) -> bool:
        """Whether something else is compared than the study declares."""
        return self.metric is not None or self.baseline is not None

    @property
    def predictions(self) -> bool:
        """Whether a block needs stored predictions."""
        return self.new_images or self.per_class or self.mcnemar

    def arguments(self) -> list[str]:
        """As typed after `ablate report`."""
        words = [] if self.metric is None else ["--metric", self.metric]
        words += [] if self.baseline is None else ["--baseline", self.baseline]
        flags = {
            "--new-images": self.new_images,
            "--per-class": self.per_class,
            "--mcnemar": self.mcnemar,
        }
        return words + [flag for flag, given in flags.items() if given]
