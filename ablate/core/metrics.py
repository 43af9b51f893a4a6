"""Metrics of a trial: what each is, declared with it, and how it is printed.

A name says nothing: unit, direction and what a number is a share of are asked of the `Metric`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LONGEST: Final = 60  # characters of a name or label, which heads a column
_LONGEST_UNIT: Final = 12
_OWN_LOSS: Final = "train_loss/"  # a named extra loss is kept under this and its name


@dataclass(frozen=True)
class Metric:
    """A metric of a trial, as whoever measures it declares it.

    name: in `TrialResult.final`. label: printed, the name without one. unit: printed after a value,
    "%" or "ms"; a difference in % is in points. scale: what is stored times this is printed.
    share_of: "examples" for a share of the test images, stored as a fraction, whose noise is known
    beforehand; of one where lower is better the value itself is the error rate. margin: within
    which a difference is negligible, in the unit printed, where nobody says another; None for none.
    among: an image counts as right where its class is among so many highest scores. prose: as a
    sentence names it. beside: the metric that tables print beside it, where it was measured.
    declared: False where only the name is known.
    """

    name: str
    label: str = ""
    unit: str = ""
    scale: float = 1.0
    higher_is_better: bool = True
    share_of: Literal["examples"] | None = None
    margin: float | None = None
    among: int | None = None
    prose: str = ""
    beside: str = "top1"
    declared: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.name.replace("_", " "))
        object.__setattr__(self, "prose", self.prose or self.label)

    def problem(self) -> str | None:
        """What is wrong with a declaration that is not ours; None for one that can be printed."""
        given: Any = self  # by who need not keep to types
        texts = (
            ("name", given.name, _LONGEST),
            ("label", given.label, _LONGEST),
            ("prose", given.prose, _LONGEST),
            ("beside", given.beside, _LONGEST),
            ("unit", given.unit, _LONGEST_UNIT),
        )
        for what, text, longest in texts:
            if not isinstance(text, str) or not text.isprintable() or len(text) > longest:
                return f"{what} must be printable text of at most {longest} characters"
        if not given.name.strip():
            return "it has no name"
        if given.name in KNOWN or given.name.startswith(_OWN_LOSS):
            return "it is measured in every training and declared there; take another name"
        if not _is_positive(given.scale):
            return "scale must be a number above 0"
        if given.margin is not None and not _is_positive(given.margin):
            return "margin must be None or a number above 0"
        if not isinstance(given.higher_is_better, bool):
            return "higher_is_better must be True or False"
        if given.share_of not in (None, "examples"):
            return 'share_of must be None or "examples"'
        if given.among is not None or given.declared is not True:
            return "among and declared are not for others to say"
        return None

    @property
    def percent(self) -> bool:
        """Whether it is printed in percent, and its differences in points."""
        return self.unit == "%"

    @property
    def better(self) -> Literal["higher", "lower"]:
        """Which values count as gain, in a word."""
        return "higher" if self.higher_is_better else "lower"

    @property
    def heading(self) -> str:
        """Label and unit: "top-1 %"."""
        return f"{self.label}{self.after}"

    @property
    def after(self) -> str:
        """The unit of a value, after a number: " %"."""
        return f" {self.unit}" if self.unit else ""

    @property
    def points(self) -> str:
        """The unit of a difference, after a number: " points"."""
        return " points" if self.percent else self.after

    @property
    def difference(self) -> str:
        """What a difference is in: "points of top-1", "ms of latency", "loss"."""
        return f"{self.points.strip()} of {self.label}" if self.unit else self.label

    @property
    def unit_word(self) -> str:
        """The unit as files have it: "percent"."""
        return "percent" if self.percent else self.unit

    @property
    def of_examples(self) -> bool:
        """Whether it is a share of test images, whose noise is known beforehand."""
        return self.share_of == "examples"

    def right(self, values: Floats) -> Floats:
        """Of a share of examples, the shares that are right."""
        return values if self.higher_is_better else 1 - values

    def error(self, value: float) -> float:
        """Of a share of examples, the error rate."""
        return min(1.0, max(0.0, 1 - value if self.higher_is_better else value))

    def text(self, value: float) -> str:
        """A value while it trains, without its unit: "24.1"; four figures if not in percent."""
        return f"{self.scale * value:.1f}" if self.percent else f"{self.scale * value:.4g}"

    def document(self) -> dict[str, Any]:
        """As JSON has it: what differs from the defaults."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) != f.default}

    @classmethod
    def read(cls, document: Any) -> Metric | None:
        """From what `document` gave; None if it is not that."""
        try:
            found = cls(**document)
        except (TypeError, AttributeError):
            return None
        return None if found.problem() else found


def _is_positive(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < 1e300  # an int may be more than a float holds


TOP1: Final = Metric(
    *("top1", "top-1", "%", 100.0),
    share_of="examples",
    margin=0.5,
    among=1,
    prose="top-1 accuracy",
    beside="top5",
)
TOP5: Final = Metric(
    *("top5", "top-5", "%", 100.0),
    share_of="examples",
    margin=0.5,
    among=5,
    prose="top-5 accuracy",
)
LOSS: Final = Metric("loss", higher_is_better=False)
TRAIN_LOSS: Final = Metric("train_loss", higher_is_better=False)
# expected calibration error: not recorded, computed from stored predictions
ECE: Final = Metric("ece", "ECE", "%", 100.0, higher_is_better=False)

# What every training measures at the end of an epoch, in the order in which it is listed.
MEASURED: Final = {metric.name: metric for metric in (TOP1, TOP5, LOSS, TRAIN_LOSS)}
KNOWN: Final = {**MEASURED, ECE.name: ECE}


def metric_named(name: str, declared: Iterable[Metric] = ()) -> Metric:
    """A metric by its name in `TrialResult.final`.

    declared: by the tricks that measured. A name that nobody declared, or not all alike, has no
    unit, and higher counts as gain.
    """
    if name in KNOWN:
        return KNOWN[name]
    if name.startswith(_OWN_LOSS):
        return Metric(name, higher_is_better=False)
    found = {metric for metric in declared if metric.name == name}
    return found.pop() if len(found) == 1 else Metric(name, declared=False)
