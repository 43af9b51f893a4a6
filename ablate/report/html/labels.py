"""Texts beside the points of a chart, moved apart so that none covers another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

# The chart's width is not known here: texts must not meet at a phone's nor at a desktop's.
_WIDTHS = (300, 480)
_CHARACTER = 7.6  # px, at most on average
_LINE = 16.0  # px from text to text
_GAP = 10.0  # px between a point and its text
_TOP, _BOTTOM = 6.0, 6.0  # px that stay free at the chart's ends


@dataclass(frozen=True)
class Label:
    """A text beside the point at x (a share of the width) and y (px). left: on that side of it.

    moved: px from where it would stand to where it stands.
    """

    text: str
    x: float
    y: float
    left: bool = False
    moved: float = 0.0


def placed(labels: Sequence[Label], height: float) -> list[Label]:
    """The labels where they are printed: on the side with room, moved up or down where they meet.

    In the order given.
    """
    found = [replace(label, left=label.x > 0.55) for label in labels]
    order = sorted(range(len(found)), key=lambda i: found[i].y)
    for at, i in enumerate(order):
        above = [found[j].y + _LINE for j in order[:at] if _meet(found[i], found[j])]
        found[i] = replace(found[i], y=max([found[i].y, _TOP, *above]))
    # those that were pushed out below come back up, and push in turn
    for at, i in reversed(list(enumerate(order))):
        below = [found[j].y - _LINE for j in order[at + 1 :] if _meet(found[i], found[j])]
        found[i] = replace(found[i], y=min([found[i].y, height - _BOTTOM, *below]))
    return [
        replace(label, moved=label.y - asked.y) for label, asked in zip(found, labels, strict=True)
    ]


def _meet(a: Label, b: Label) -> bool:
    """Whether the texts stand side by side in some width."""
    for width in _WIDTHS:
        (low_a, high_a), (low_b, high_b) = _span(a, width), _span(b, width)
        if low_a < high_b + 4 and low_b < high_a + 4:
            return True
    return False


def _span(label: Label, width: float) -> tuple[float, float]:
    length = _CHARACTER * len(label.text)
    point = label.x * width
    return (
        (point - _GAP - length, point - _GAP)
        if label.left
        else (
            point + _GAP,
            point + _GAP + length,
        )
    )
