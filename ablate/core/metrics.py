"""Metrics of a trial: their names, and how they are printed."""

from __future__ import annotations

from dataclasses import dataclass

ECE = "ece"  # expected calibration error: not recorded, computed from stored predictions
_LOWER_IS_BETTER = ("loss", "error", "nll", "brier", "perplexity")


@dataclass(frozen=True)
class Metric:
    """A metric of a trial: its name in `TrialResult.final`, and how it is printed.

    label: "top-1". scale: 100 for shares, stored as fractions and printed in percent.
    """

    name: str
    label: str
    scale: float
    higher_is_better: bool

    @property
    def percent(self) -> bool:
        """Whether it is printed in percent, and its differences in points."""
        return self.scale == 100

    @property
    def accuracy(self) -> bool:
        """Whether it is a share of correct images, whose noise is known beforehand."""
        return self.percent and self.higher_is_better

    @property
    def heading(self) -> str:
        """Label and unit: "top-1 %"."""
        return f"{self.label} %" if self.percent else self.label

    @property
    def points(self) -> str:
        """The unit of a difference, after a number: " points"."""
        return " points" if self.percent else ""


def metric_named(name: str) -> Metric:
    """A metric by its name in `TrialResult.final`; one that is not known is printed as it is."""
    if name in ("top1", "top5"):
        return Metric(name, f"top-{name[3:]}", 100.0, higher_is_better=True)
    if name == ECE:
        return Metric(name, "ECE", 100.0, higher_is_better=False)
    lower = any(word in name.lower() for word in _LOWER_IS_BETTER) or ECE in name.split("_")
    return Metric(name, name.replace("_", " "), 1.0, higher_is_better=not lower)
